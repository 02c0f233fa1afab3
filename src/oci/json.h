// JSON as registries, token servers and credential files write it, read into plain values under limits. For this folder
// only; the parser's own types don't show.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace nerofs::oci {

struct json_member;

// A value. Texts are wiped when it goes or moves, as they may be secrets.
class json {
  public:
    enum class kind : std::uint8_t { null, boolean, number, text, list, object };

    json();
    explicit json(kind k);
    json(json&& other) noexcept;
    json& operator=(json&& other) noexcept;
    ~json();

    kind what() const { return kind_; }
    bool is(kind k) const { return kind_ == k; }

    // A whole number from 0 to 2^64 - 1.
    std::optional<std::uint64_t> whole_number() const;
    // Empty for everything that is no text.
    std::string_view text() const { return text_; }
    // Empty for everything that is no list.
    const std::vector<json>& items() const { return items_; }
    // Empty for everything that is no object. In the order written; each name once.
    const std::vector<json_member>& members() const { return members_; }
    // The member of that name; nullptr when there is none, or it is null, or this is no object.
    const json* find(std::string_view name) const;

  private:
    friend class json_builder;
    kind kind_ = kind::null;
    bool whole_ = false;
    std::uint64_t number_ = 0;
    std::string text_;
    std::vector<json> items_;
    std::vector<json_member> members_;
};

struct json_member {
    std::string name;
    json value;
};

struct json_limits {
    std::size_t bytes = 4u << 20;
    std::size_t depth = 32;
    std::size_t values = 65536;  // names not counted
};

// Error: corrupt, "WHAT: why"; never any of the content.
result<json> parse_json(std::span<const std::byte> bytes, std::string_view what, const json_limits& limits = {});

}  // namespace nerofs::oci
