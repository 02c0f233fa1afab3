// One request on its way: a libcurl easy handle and what has come in. Internal to this folder.
#pragma once

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "http/answer.h"
#include "http/client.h"
#include "http/request.h"

namespace nerofs::http {

class transfer {
  public:
    transfer(client::id id, request what, completion done);
    transfer(const transfer&) = delete;
    ~transfer();

    client::id id() const { return id_; }
    const request& asked() const { return asked_; }

    // Why this request can't be sent at all, if so. Before open().
    std::optional<failure> objection(const client_options& options) const;

    // Makes the easy handle. False when there is no memory for it.
    bool open(const client_options& options, time_point now);
    bool is_open() const { return easy_ != nullptr; }
    void* easy() const { return easy_; }

    // The next moment at which check() has something to say.
    time_point due() const;
    // Why the transfer has to end now: its deadline, or too little progress.
    std::optional<failure> check(time_point now);

    // A failure in this request's words.
    failure make_failure(error_kind kind, failure_cause cause, std::string_view why) const;

    // After the easy handle was taken off the multi handle. `curl_code` is how that ended.
    outcome finish(int curl_code);
    // Ends it with a failure from outside.
    outcome give_up(failure f);
    void complete(outcome o);

    // Called by libcurl.
    std::size_t on_header(std::string_view line);
    std::size_t on_body(std::span<const std::byte> bytes);
    void on_sent();

    // Gives the sink what has come for it. libcurl brings bodies in pieces of 16 KiB: together they cost less. False
    // when the sink refuses, once.
    bool flush();

  private:
    bool set_options(const client_options& options);
    bool judge_head();
    std::string words_of(int curl_code) const;
    failure told(failure f) const;
    outcome finish_body(int curl_code);
    timing measure() const;

    client::id id_;
    request asked_;
    completion done_;
    void* easy_ = nullptr;
    void* header_list_ = nullptr;
    std::array<char, 256> error_text_{};  // CURL_ERROR_SIZE

    time_point created_;
    time_point opened_;
    time_point window_start_;
    std::uint64_t window_bytes_ = 0;
    std::uint64_t uploaded_ = 0;  // in windows before this one
    bool sent_ = false;

    std::size_t head_bytes_ = 0;
    fields fields_;
    bool malformed_ = false;
    std::optional<verdict> verdict_;
    std::uint64_t received_ = 0;  // of the body, delivered or in body_
    std::uint64_t discarded_ = 0;
    std::uint64_t delivered_ = 0;  // taken by the sink
    std::vector<std::byte> unflushed_;
    std::string body_;
    std::optional<error> sink_error_;
};

}  // namespace nerofs::http
