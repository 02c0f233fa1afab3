// How the values of options are read: each function takes a whole value or says why it can't. Used by the table in
// mount_options.cpp; the numbers also elsewhere in this folder.
#pragma once

#include <charconv>
#include <chrono>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "cli/mount_options.h"

namespace nerofs::cli {

// Why a value can't be taken ("must be 1 to 64"); empty when it was. Never holds the value.
using complaint = std::string;

// All of the text, decimal digits only.
template <class T>
bool whole_number(std::string_view text, T& number) {
    const auto [end, failed] = std::from_chars(text.data(), text.data() + text.size(), number);
    return failed == std::errc() && end == text.data() + text.size();
}

// One of a few words.
template <class T>
complaint take_word(std::string_view value, std::initializer_list<std::pair<std::string_view, T>> words, T& into) {
    std::string known;
    for (const auto& [word, meaning] : words) {
        if (word == value) {
            into = meaning;
            return {};
        }
        const bool last = word == (words.end() - 1)->first;
        known.append(known.empty() ? "" : last ? " or " : ", ").append(word);
    }
    return "must be " + known;
}

template <class T>
complaint take_word(std::string_view value, std::initializer_list<std::pair<std::string_view, T>> words,
                    std::optional<T>& into) {
    T meaning{};
    complaint why = take_word(value, words, meaning);
    if (why.empty()) into = meaning;
    return why;
}

complaint take_number(std::string_view value, unsigned least, unsigned most, std::optional<unsigned>& into);
complaint take_seconds(std::string_view value, unsigned least, unsigned most,
                       std::optional<std::chrono::seconds>& into);
complaint take_text(std::string_view value, std::string& into);                    // anything but nothing
complaint take_bytes(std::string_view value, std::optional<std::uint64_t>& into);  // 4096, 64K, 10M, 20G, 1T
complaint take_path(std::string_view value, std::string& into);                    // absolute
complaint take_digest(std::string_view value, std::string& into);
complaint take_platform(std::string_view value, std::optional<oci_platform>& into);
complaint take_username(std::string_view value, std::string& into);
complaint take_endpoint(std::string_view value, std::string& into);
complaint take_region(std::string_view value, std::string& into);

}  // namespace nerofs::cli
