// What the tests of range_source share.
#pragma once

#include <gtest/gtest.h>

#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "source/range_source.h"
#include "support/origin/bytes.h"
#include "support/origin/origin.h"
#include "support/reading.h"

namespace nerofs::source {

using namespace std::chrono_literals;
using test::always;
using test::begin;
using test::begin_all;
using test::expect_all;
using test::fault_kind;
using test::in;
using test::origin;
using test::random_bytes;
using test::read;
using test::reading;
using test::readings;

inline result<blob_facts> probe(range_source& s, std::size_t keep = 1, http::time_point deadline = in(20s)) {
    std::promise<result<blob_facts>> done;
    s.probe(keep, deadline, [&](result<blob_facts> facts) { done.set_value(std::move(facts)); });
    return done.get_future().get();
}

// Fast, and the same each time.
inline range_source_options quick() {
    range_source_options o;
    o.retry = {2ms, 20ms, 1000ms};
    o.progress = {1, 1s};
    o.random = [] { return 0.5; };
    return o;
}

// An origin with a blob in a registry and as a file, and a source of one of them.
struct sourced {
    explicit sourced(std::size_t bytes = 200'000, http::client_options options = {})
        : blob(random_bytes(bytes)), c(http::client::make(std::move(options)).value()) {
        o.add_file("/blob", blob);
        digest = o.add_blob("a/b", blob);
    }
    std::string registry_path() const { return "/v2/a/b/blobs/" + digest; }
    range_source& open(std::string_view path, range_source_options options = quick(),
                       std::shared_ptr<authorizer> who = nullptr) {
        s = std::make_unique<range_source>(*c, http::parse_url(o.url(path)).value(), std::move(who),
                                           std::move(options));
        return *s;
    }
    std::string part(std::uint64_t offset, std::uint64_t length) const { return blob.substr(offset, length); }

    std::string blob;
    std::string digest;
    origin o;
    std::unique_ptr<http::client> c;
    std::unique_ptr<range_source> s;
};

inline test::fault fault_of(fault_kind kind, std::uint64_t amount = 0, std::uint64_t times = 1,
                            std::string path_part = "") {
    return {.kind = kind, .amount = amount, .path_part = std::move(path_part), .times = times};
}

}  // namespace nerofs::source
