// What the tests of the client share: one that talks to an origin, and answers as return values.
#pragma once

#include <gtest/gtest.h>

#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "http/client.h"
#include "support/origin/bytes.h"
#include "support/origin/origin.h"

namespace nerofs::http {

using namespace std::chrono_literals;
using test::fault_kind;
using test::origin;
using test::random_bytes;

inline url url_of(std::string_view text) {
    return parse_url(text).value();
}

// Bytes that a sink has taken; fails the test when they don't follow each other.
struct taken {
    std::uint64_t first = UINT64_MAX;
    std::string bytes;

    byte_sink sink() {
        return [this](std::uint64_t offset, std::span<const std::byte> some) -> status {
            if (first == UINT64_MAX) first = offset;
            EXPECT_EQ(offset, first + bytes.size());
            bytes.append(reinterpret_cast<const char*>(some.data()), some.size());
            return {};
        };
    }
};

inline std::future<outcome> begin(client& c, request r, client::id* which = nullptr) {
    auto promise = std::make_shared<std::promise<outcome>>();
    const client::id id = c.start(std::move(r), [promise](outcome o) { promise->set_value(std::move(o)); });
    if (which) *which = id;
    return promise->get_future();
}

inline outcome ask(client& c, request r) {
    return begin(c, std::move(r)).get();
}

// An origin with a blob at /blob, and a client.
struct served {
    explicit served(std::size_t bytes = 100'000, client_options options = {})
        : blob(random_bytes(bytes)), c(client::make(std::move(options)).value()) {
        o.add_file("/blob", blob);
    }
    request get(std::string_view path = "/blob") const {
        request r;
        r.target = url_of(o.url(path));
        return r;
    }
    request range(std::uint64_t first, std::uint64_t last, std::string_view path = "/blob") const {
        request r = get(path);
        r.range = byte_range{first, last};
        return r;
    }
    std::string part(std::uint64_t first, std::uint64_t last) const { return blob.substr(first, last - first + 1); }

    std::string blob;
    origin o;
    std::unique_ptr<client> c;
};

inline test::fault fault_of(fault_kind kind, std::uint64_t amount = 0, std::uint64_t times = 1) {
    return {.kind = kind, .amount = amount, .times = times};
}

inline void expect_failure(const outcome& o, error_kind kind, failure_cause cause, std::string_view text) {
    ASSERT_FALSE(o);
    EXPECT_EQ(o.error().why.kind, kind) << to_string(o.error().why.kind);
    EXPECT_EQ(o.error().cause, cause) << static_cast<int>(o.error().cause);
    EXPECT_NE(o.error().why.text.find(text), std::string::npos) << o.error().why.text;
}

}  // namespace nerofs::http
