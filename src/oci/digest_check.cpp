#include "oci/digest_check.h"

#include <fmt/format.h>

#include <variant>

#include "codec/hex.h"
#include "codec/sha256.h"
#include "oci/sha512.h"

namespace nerofs::oci {

struct digester::state {
    std::variant<codec::sha256, sha512> hash;
};

digester::digester(digest_algorithm algorithm) : state_(std::make_unique<state>()) {
    if (algorithm == digest_algorithm::sha512) state_->hash.emplace<sha512>();
}
digester::digester(digester&&) noexcept = default;
digester& digester::operator=(digester&&) noexcept = default;
digester::~digester() = default;

void digester::update(std::span<const std::byte> bytes) {
    std::visit([&](auto& hash) { hash.update(bytes); }, state_->hash);
}

digest digester::finish() {
    const auto algorithm = state_->hash.index() == 0 ? digest_algorithm::sha256 : digest_algorithm::sha512;
    return {algorithm, std::visit([](auto& hash) { return codec::to_hex(hash.finish()); }, state_->hash)};
}

digest digest_of(std::span<const std::byte> bytes, digest_algorithm algorithm) {
    digester d(algorithm);
    d.update(bytes);
    return d.finish();
}

status check_digest(std::span<const std::byte> bytes, const digest& expected, std::string_view what) {
    const digest found = digest_of(bytes, expected.algorithm);
    if (found == expected) return {};
    return fail(error_kind::corrupt,
                fmt::format("{}: its digest is {}, but must be {}", what, found.to_string(), expected.to_string()));
}

}  // namespace nerofs::oci
