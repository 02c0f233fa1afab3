// Reads of a byte_source: begun, waited for, and compared.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "source/byte_source.h"

namespace nerofs::test {

inline http::time_point in(std::chrono::milliseconds time) {
    return std::chrono::steady_clock::now() + time;
}

// A read that has been started, and what has come of it.
struct reading {
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::string bytes{};
    std::promise<source::read_result> promise{};
    std::future<source::read_result> result = promise.get_future();
    source::byte_source::id number = 0;
};
using readings = std::vector<std::shared_ptr<reading>>;

inline std::shared_ptr<reading> begin(source::byte_source& s, std::uint64_t offset, std::uint64_t length,
                                      http::time_point deadline = in(std::chrono::seconds(20))) {
    const auto into = std::make_shared<reading>();  // kept by the callbacks, too
    into->offset = offset;
    into->length = length;
    source::read_request what{.offset = offset, .length = length, .sink = {}, .deadline = deadline};
    what.sink = [into](std::uint64_t at, std::span<const std::byte> some) -> status {
        EXPECT_EQ(at, into->offset + into->bytes.size());
        into->bytes.append(reinterpret_cast<const char*>(some.data()), some.size());
        return {};
    };
    into->number = s.read(std::move(what), [into](source::read_result how) {
        EXPECT_EQ(how.delivered, into->bytes.size());
        into->promise.set_value(std::move(how));
    });
    return into;
}

// The bytes, or the error's text in brackets.
inline std::string read(source::byte_source& s, std::uint64_t offset, std::uint64_t length,
                        http::time_point deadline = in(std::chrono::seconds(20))) {
    const auto r = begin(s, offset, length, deadline);
    const status how = r->result.get().how;
    return how ? r->bytes : "[" + std::string(to_string(how.error().kind)) + ": " + how.error().text + "]";
}

// So many reads, one behind the other, of so many bytes each.
inline readings begin_all(source::byte_source& s, unsigned count, std::uint64_t length = 1000) {
    readings all;
    for (unsigned i = 0; i < count; ++i) all.push_back(begin(s, i * length, length));
    return all;
}

// That each brings what the blob has there.
inline void expect_all(const readings& all, const std::string& blob) {
    for (const auto& r : all) {
        const status how = r->result.get().how;
        EXPECT_TRUE(how) << how.error().message();
        EXPECT_EQ(r->bytes, blob.substr(r->offset, r->length));
    }
}

}  // namespace nerofs::test
