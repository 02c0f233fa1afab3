// Errors are values: result<T> is a T or an error that says what failed, why, and what the caller may do about it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <utility>

namespace nerofs {

// The policy an error carries: what a caller may do, not where it came from.
enum class error_kind : std::uint8_t {
    permanent,    // trying again won't help
    retryable,    // the same call may succeed later
    not_found,    // the thing named doesn't exist
    auth,         // credentials are missing, wrong or expired
    corrupt,      // bytes that can't be what they claim to be
    cancelled,    // the caller gave up
    timeout,      // a deadline passed
    unsupported,  // understood, but this system or version can't do it
    usage,        // the request itself is wrong
    permission,   // the caller may not do it
};

std::string_view to_string(error_kind kind);

struct error {
    error_kind kind = error_kind::permanent;
    int code = 0;      // errno where there was one, else 0
    std::string text;  // "what: why", one line, no full stop
    std::string hint;  // what to try, or empty

    // text, and the hint behind a semicolon.
    std::string message() const;

    // The same error with `what` put in front: "what: text".
    error in(std::string_view what) &&;

    error with_hint(std::string_view advice) && {
        hint = advice;
        return std::move(*this);
    }
};

// An error from errno: "what: strerror". The kind follows from the errno.
error errno_error(int code, std::string_view what);
// The same with the calling thread's current errno.
error errno_error(std::string_view what);

inline error make_error(error_kind kind, std::string text, int code = 0) {
    return error{kind, code, std::move(text), {}};
}

// The errno that a kernel interface should be answered with. EIO unless the error says better.
int to_errno(const error& e);

template <class T>
using result = tl::expected<T, error>;

using status = result<void>;

inline tl::unexpected<error> fail(error e) {
    return tl::unexpected<error>(std::move(e));
}
inline tl::unexpected<error> fail(error_kind kind, std::string text, int code = 0) {
    return tl::unexpected<error>(make_error(kind, std::move(text), code));
}
inline tl::unexpected<error> fail_errno(std::string_view what) {
    return tl::unexpected<error>(errno_error(what));
}

}  // namespace nerofs

#define NEROFS_CONCAT_(a, b) a##b
#define NEROFS_CONCAT(a, b) NEROFS_CONCAT_(a, b)

// NEROFS_TRY(auto x, f()): x is f()'s value, or the enclosing function returns f()'s error.
#define NEROFS_TRY(declaration, expression)                                                                      \
    auto NEROFS_CONCAT(try_, __LINE__) = (expression);                                                           \
    if (!NEROFS_CONCAT(try_, __LINE__)) return ::nerofs::fail(std::move(NEROFS_CONCAT(try_, __LINE__)).error()); \
    declaration = std::move(*NEROFS_CONCAT(try_, __LINE__))

// NEROFS_CHECK(f()): the enclosing function returns f()'s error if there is one.
#define NEROFS_CHECK(expression)                                                                   \
    do {                                                                                           \
        if (auto check_ = (expression); !check_) return ::nerofs::fail(std::move(check_).error()); \
    } while (false)
