// A password or token: can be used, can't be printed, copied or compared by accident, and is wiped when it goes.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace nerofs::oci {

// Overwrites all that a string has held, small or large, and empties it.
void wipe(std::string& text);

class secret {
  public:
    secret() = default;
    // Takes the text and wipes where it came from.
    explicit secret(std::string&& text) : text_(text) { wipe(text); }
    explicit secret(std::string_view text) : text_(text) {}
    secret(secret&& other) noexcept : text_(std::move(other.text_)) { wipe(other.text_); }
    secret& operator=(secret&& other) noexcept {
        if (this != &other) {
            wipe(text_);
            text_ = std::move(other.text_);
            wipe(other.text_);
        }
        return *this;
    }
    ~secret() { wipe(text_); }

    bool empty() const { return text_.empty(); }
    // For the one place that sends it. The view lives as long as this object.
    std::string_view reveal() const { return text_; }
    secret copy() const { return secret(std::string_view(text_)); }

  private:
    std::string text_;
};

}  // namespace nerofs::oci
