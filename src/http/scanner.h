// Reads the tokens of header values (RFC 9110 section 5.6).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace nerofs::http {

constexpr bool is_token_char(char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos);
}

class scanner {
  public:
    explicit scanner(std::string_view text) : rest_(text) {}

    bool done() const { return rest_.empty(); }
    char peek() const { return rest_.empty() ? '\0' : rest_.front(); }
    std::string_view rest() const { return rest_; }
    void rewind(std::string_view to) { rest_ = to; }

    void blanks() {
        while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
    }
    bool take(char c) {
        if (rest_.empty() || rest_.front() != c) return false;
        rest_.remove_prefix(1);
        return true;
    }
    // As many characters as `accept` likes.
    template <class Accept>
    std::string_view take_while(Accept accept) {
        std::size_t n = 0;
        while (n < rest_.size() && accept(rest_[n])) ++n;
        const std::string_view taken = rest_.substr(0, n);
        rest_.remove_prefix(n);
        return taken;
    }
    std::string_view token() { return take_while(is_token_char); }
    // A quoted string without its quotes and escapes; nullopt when it isn't closed or holds control characters.
    std::optional<std::string> quoted() {
        if (!take('"')) return std::nullopt;
        std::string out;
        while (!rest_.empty()) {
            char c = rest_.front();
            rest_.remove_prefix(1);
            if (c == '"') return out;
            if (c == '\\') {
                if (rest_.empty()) return std::nullopt;
                c = rest_.front();
                rest_.remove_prefix(1);
            }
            if ((static_cast<unsigned char>(c) < 0x20 && c != '\t') || c == 0x7f) return std::nullopt;
            out += c;
        }
        return std::nullopt;
    }

  private:
    std::string_view rest_;
};

}  // namespace nerofs::http
