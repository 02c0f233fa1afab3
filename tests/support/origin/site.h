// What the origin has and who may have it: files, a registry, tokens, signed URLs. No sockets. Internal to the origin.
#pragma once

#include <chrono>
#include <map>
#include <mutex>
#include <string>

#include "support/origin/message.h"
#include "support/origin/origin.h"

namespace nerofs::test {

// Any thread.
class site {
  public:
    site(std::string address, std::string storage_address)
        : address_(std::move(address)), storage_address_(std::move(storage_address)) {}

    void add_file(const std::string& path, content bytes, std::string type);
    std::string add_blob(const std::string& repository, content bytes);
    std::string add_manifest(const std::string& repository, const std::string& tag, const std::string& media_type,
                             std::string bytes);
    void set_referrers(bool on);
    void set_auth(origin_auth auth);
    void set_redirects(origin_redirects redirects);
    void pass_time(std::chrono::milliseconds time);

    http_answer answer(const http_request& request);

  private:
    struct resource {
        content bytes;
        std::string type;
        std::string etag;
    };
    struct token {
        std::chrono::steady_clock::time_point ends;
        std::string scope;
    };

    struct referrer {
        std::string type;
        std::string digest;
        std::size_t size;
    };

    std::chrono::steady_clock::time_point now() const { return std::chrono::steady_clock::now() + passed_; }
    http_answer give_token(http_request request);
    // A 401, or nothing when the request may go on.
    std::optional<http_answer> refuse(const http_request& request, const std::string& scope);
    bool basic_is_right(const http_request& request) const;
    http_answer from_storage(const http_request& request);
    http_answer redirect_to_storage(const std::string& digest);
    std::string signature(const std::string& digest, const std::string& ends) const;
    http_answer registry(const http_request& request);
    http_answer take_blob(const http_request& request, const std::string& repository);
    http_answer take_manifest(const http_request& request, const std::string& repository, const std::string& name);
    http_answer list_referrers(const http_request& request, const std::string& repository, const std::string& subject);

    const std::string address_;
    const std::string storage_address_;
    std::mutex mutex_;
    std::map<std::string, resource> files_;
    std::map<std::string, resource> blobs_;                   // by digest
    std::map<std::string, resource> manifests_;               // by "repository@digest"
    std::map<std::string, std::string> tags_;                 // "repository:tag" -> digest
    std::map<std::string, std::vector<referrer>> referring_;  // by "repository@subject"
    std::map<std::string, bool> has_;                         // "repository@digest" of blobs
    bool referrers_ = false;
    origin_auth auth_;
    origin_redirects redirects_;
    std::map<std::string, token> tokens_;
    std::chrono::milliseconds passed_{0};
    std::uint64_t next_ = 1;
};

}  // namespace nerofs::test
