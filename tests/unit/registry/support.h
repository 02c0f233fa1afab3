// What the tests of the registry client share.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "oci/digest_check.h"
#include "oci/document.h"
#include "registry/blob.h"
#include "registry/resolve.h"
#include "support/origin/bytes.h"
#include "support/origin/origin.h"
#include "support/reading.h"

namespace nerofs::registry {

using namespace std::chrono_literals;
using test::always;
using test::begin;
using test::begin_all;
using test::expect_all;
using test::fault_kind;
using test::origin;
using test::origin_auth;
using test::random_bytes;
using test::read;
using test::readings;

inline constexpr std::string_view oci_manifest = "application/vnd.oci.image.manifest.v1+json";
inline constexpr std::string_view oci_index = "application/vnd.oci.image.index.v1+json";

inline patience within(std::chrono::milliseconds time, std::stop_token stop = {}) {
    return {std::chrono::steady_clock::now() + time, std::move(stop)};
}

inline std::string sha256_of(std::string_view bytes) {
    return oci::digest_of(std::as_bytes(std::span(bytes.data(), bytes.size()))).to_string();
}

// As the OCI image specification writes them.
inline std::string manifest_of(std::string_view layer_digest, std::size_t layer_size) {
    return R"({"schemaVersion":2,"mediaType":")" + std::string(oci_manifest) +
           R"(","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":")" + sha256_of("{}") +
           R"(","size":2},"layers":[{"mediaType":"application/vnd.erofs.layer.v1","digest":")" +
           std::string(layer_digest) + R"(","size":)" + std::to_string(layer_size) + "}]}";
}

struct index_entry {
    std::string bytes;
    std::string platform;  // JSON
    std::string media_type = std::string(oci_manifest);
};
inline std::string index_of(const std::vector<index_entry>& entries) {
    std::string list;
    for (const index_entry& e : entries)
        list += (list.empty() ? "" : ",") + std::string(R"({"mediaType":")") + e.media_type + R"(","digest":")" +
                sha256_of(e.bytes) + R"(","size":)" + std::to_string(e.bytes.size()) + R"(,"platform":)" + e.platform +
                "}";
    return R"({"schemaVersion":2,"mediaType":")" + std::string(oci_index) + R"(","manifests":[)" + list + "]}";
}

inline oci::found_credential password(std::string user, std::string_view word) {
    oci::found_credential found;
    found.value = oci::credential{std::move(user), oci::secret(word), {}};
    found.origin = {oci::credential_kind::given, {}, {}};
    return found;
}

// A registry with the image a/b:1 of one layer, and a session with it.
struct registered {
    explicit registered(std::size_t bytes = 100'000, http::client_options options = {})
        : blob(random_bytes(bytes)), c(http::client::make(std::move(options)).value()) {
        blob_digest = o.add_blob("a/b", blob);
        manifest = manifest_of(blob_digest, blob.size());
        manifest_digest = o.add_manifest("a/b", "1", std::string(oci_manifest), manifest);
    }

    // Fast, and the same each time.
    session_options options(const std::string& name = "a/b:1", oci::found_credential who = {}) const {
        session_options s;
        s.image = oci::parse_reference(o.host() + "/" + name).value();
        s.who = std::move(who);
        s.retry = {2ms, 20ms, 1000ms};
        s.progress = {1, 2s};
        s.random = [] { return 0.5; };
        return s;
    }
    std::shared_ptr<session> open(const std::string& name = "a/b:1", oci::found_credential who = {}) {
        return session::make(*c, options(name, std::move(who)));
    }
    result<resolved_image> resolve(const std::string& name = "a/b:1", oci::found_credential who = {}) {
        return registry::resolve(*open(name, std::move(who)), {"linux", "amd64", {}, {}, {}}, within(20s));
    }

    std::string blob;
    std::string blob_digest;
    std::string manifest;
    std::string manifest_digest;
    origin o;
    std::unique_ptr<http::client> c;
};

inline result<resolved_image> resolve(session& s, const patience& p = within(20s)) {
    return resolve(s, {"linux", "amd64", {}, {}, {}}, p);
}

inline result<opened_blob> open_layer(const std::shared_ptr<session>& s, const resolved_image& image) {
    const oci::descriptor& layer = image.manifest.layers.at(0).blob;
    return open_blob(s, layer.digest, layer.size, within(20s),
                     {.retry = {2ms, 20ms, 1000ms}, .random = [] { return 0.5; }});
}

template <class T>
void expect_error(const result<T>& r, error_kind kind, const std::string& text, const std::string& hint = "") {
    ASSERT_FALSE(r);
    EXPECT_EQ(r.error().kind, kind) << r.error().message();
    EXPECT_EQ(r.error().text, text);
    EXPECT_EQ(r.error().hint, hint);
}

// Whether it comes true within a while.
template <class Predicate>
bool soon(Predicate&& it) {
    const auto end = std::chrono::steady_clock::now() + 20s;
    while (!it() && std::chrono::steady_clock::now() < end) std::this_thread::sleep_for(1ms);
    return it();
}

inline std::size_t with_status(const origin& o, int status, std::string_view path_part = "") {
    std::size_t n = 0;
    for (const auto& r : o.log()) n += r.status == status && r.path.find(path_part) != std::string::npos;
    return n;
}

}  // namespace nerofs::registry
