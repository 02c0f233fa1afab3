#include "codec/sha256.h"

#include <openssl/evp.h>

#include <new>
#include <stdexcept>

#include "codec/hex.h"

namespace nerofs::codec {
namespace {

constexpr std::string_view name_prefix = "sha256:";

void must(int openssl_ok) {
    if (openssl_ok != 1) throw std::runtime_error("OpenSSL can't compute SHA-256");
}

}  // namespace

struct sha256::state {
    state() : context(EVP_MD_CTX_new()) {
        if (context == nullptr) throw std::bad_alloc();
    }
    state(const state&) = delete;
    state& operator=(const state&) = delete;
    ~state() { EVP_MD_CTX_free(context); }

    void start() { must(EVP_DigestInit_ex(context, EVP_sha256(), nullptr)); }

    EVP_MD_CTX* context;
};

sha256::sha256() : state_(std::make_unique<state>()) {
    state_->start();
}
sha256::sha256(sha256&&) noexcept = default;
sha256& sha256::operator=(sha256&&) noexcept = default;
sha256::~sha256() = default;

sha256& sha256::update(std::span<const std::byte> bytes) {
    must(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
    return *this;
}

sha256_digest sha256::finish() {
    sha256_digest digest;
    must(EVP_DigestFinal_ex(state_->context, reinterpret_cast<unsigned char*>(digest.data()), nullptr));
    state_->start();
    return digest;
}

sha256_digest sha256::of(std::span<const std::byte> bytes) {
    return sha256().update(bytes).finish();
}

std::string sha256_name(const sha256_digest& digest) {
    return std::string(name_prefix) += to_hex(digest);
}

std::optional<sha256_digest> sha256_named(std::string_view name) {
    sha256_digest digest;
    if (!name.starts_with(name_prefix) || !from_hex(name.substr(name_prefix.size()), digest)) return std::nullopt;
    return digest;
}

}  // namespace nerofs::codec
