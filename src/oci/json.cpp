#include "oci/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "oci/secret.h"
#include "oci/text.h"

namespace nerofs::oci {

// Here and not in the class, where a member isn't complete yet.
json::json() = default;
json::json(kind k) : kind_(k) {}

json::json(json&& other) noexcept
    : kind_(other.kind_),
      whole_(other.whole_),
      number_(other.number_),
      text_(std::move(other.text_)),
      items_(std::move(other.items_)),
      members_(std::move(other.members_)) {
    wipe(other.text_);
}

json& json::operator=(json&& other) noexcept {
    if (this != &other) {
        wipe(text_);
        kind_ = other.kind_;
        whole_ = other.whole_;
        number_ = other.number_;
        text_ = std::move(other.text_);
        items_ = std::move(other.items_);
        members_ = std::move(other.members_);
        wipe(other.text_);
    }
    return *this;
}

json::~json() {
    wipe(text_);
}

std::optional<std::uint64_t> json::whole_number() const {
    if (kind_ != kind::number || !whole_) return std::nullopt;
    return number_;
}

const json* json::find(std::string_view name) const {
    for (const json_member& member : members_)
        if (member.name == name) return member.value.is(kind::null) ? nullptr : &member.value;
    return nullptr;
}

// The events of the parser, turned into values. Each returns whether to go on.
class json_builder : public nlohmann::json_sax<nlohmann::json> {
  public:
    explicit json_builder(const json_limits& limits) : limits_(limits) {}

    bool null() override { return add(json(json::kind::null)); }
    bool boolean(bool) override { return add(json(json::kind::boolean)); }
    bool number_integer(std::int64_t) override { return add(json(json::kind::number)); }
    bool number_unsigned(std::uint64_t value) override {
        json number(json::kind::number);
        number.whole_ = true;
        number.number_ = value;
        return add(std::move(number));
    }
    bool number_float(double, const std::string&) override { return add(json(json::kind::number)); }
    bool string(std::string& value) override {
        json text(json::kind::text);
        text.text_ = value;
        wipe(value);
        return add(std::move(text));
    }
    bool binary(nlohmann::json::binary_t&) override { return false; }

    bool start_object(std::size_t) override { return open(json::kind::object); }
    bool start_array(std::size_t) override { return open(json::kind::list); }
    bool key(std::string& name) override {
        names_.back() = name;
        return true;
    }
    bool end_array() override { return close(); }
    bool end_object() override {
        std::vector<std::string_view> names;
        for (const json_member& member : open_.back().members_) names.emplace_back(member.name);
        std::sort(names.begin(), names.end());
        if (const auto twice = std::adjacent_find(names.begin(), names.end()); twice != names.end())
            return stop(fmt::format("the member {} is there twice", quoted(*twice)));
        return close();
    }
    bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) override {
        return stop(fmt::format("is not JSON (at byte {})", position == 0 ? 0 : position - 1));
    }

    const std::string& complaint() const { return complaint_; }
    json take() { return std::move(root_); }

  private:
    bool stop(std::string why) {
        complaint_ = std::move(why);
        return false;
    }

    bool count() {
        if (++values_ > limits_.values) return stop(fmt::format("holds more than {} values", limits_.values));
        return true;
    }

    bool add(json value) {
        if (!count()) return false;
        place(std::move(value));
        return true;
    }

    bool open(json::kind kind) {
        if (!count()) return false;
        if (open_.size() >= limits_.depth) return stop(fmt::format("is nested deeper than {} levels", limits_.depth));
        open_.emplace_back(kind);
        names_.emplace_back();
        return true;
    }

    bool close() {
        json whole = std::move(open_.back());
        open_.pop_back();
        names_.pop_back();
        place(std::move(whole));
        return true;
    }

    void place(json value) {
        if (open_.empty())
            root_ = std::move(value);
        else if (open_.back().is(json::kind::list))
            open_.back().items_.push_back(std::move(value));
        else
            open_.back().members_.push_back({std::move(names_.back()), std::move(value)});
    }

    const json_limits& limits_;
    std::size_t values_ = 0;
    std::vector<json> open_;  // the lists and objects around the next value, the innermost last
    std::vector<std::string> names_;
    json root_;
    std::string complaint_;
};

result<json> parse_json(std::span<const std::byte> bytes, std::string_view what, const json_limits& limits) {
    const auto wrong = [&](std::string_view why) {
        return fail(error_kind::corrupt, fmt::format("{}: {}", what, why));
    };
    if (bytes.empty()) return wrong("is empty");
    if (bytes.size() > limits.bytes) return wrong(fmt::format("is larger than {}", size_text(limits.bytes)));
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    json_builder builder(limits);
    if (!nlohmann::json::sax_parse(text.begin(), text.end(), &builder)) {
        // What a proxy or a login page puts between.
        if (trimmed(text.substr(0, 256)).starts_with('<')) return wrong("is not JSON but looks like a web page");
        return wrong(builder.complaint());
    }
    return builder.take();
}

}  // namespace nerofs::oci
