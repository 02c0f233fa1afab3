// What the tests of this folder share.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

namespace nerofs::oci {

inline std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text.data(), text.size()));
}

inline std::string sample(const std::string& name) {
    std::ifstream file(std::string(NEROFS_TEST_DATA "/oci/") + name, std::ios::binary);
    EXPECT_TRUE(file) << name;
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The message of what should have failed.
template <class T>
std::string message_of(const T& answer) {
    return answer ? std::string("no error") : answer.error().message();
}

}  // namespace nerofs::oci
