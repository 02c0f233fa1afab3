#include "base/result.h"

#include <cerrno>
#include <cstring>

namespace nerofs {
namespace {

error_kind kind_of(int code) {
    switch (code) {
        case ENOENT:
        case ENODEV:
        case ENXIO:
            return error_kind::not_found;
        case EACCES:
        case EPERM:
            return error_kind::permission;
        case EAGAIN:
        case EINTR:
        case EBUSY:
        case ENOMEM:
        case ECONNRESET:
        case ECONNREFUSED:
        case EPIPE:
            return error_kind::retryable;
        case ETIMEDOUT:
        case ETIME:
            return error_kind::timeout;
        case EINVAL:
        case ENAMETOOLONG:
            return error_kind::usage;
        case ENOSYS:
        case EOPNOTSUPP:
        case EPROTONOSUPPORT:
        case EAFNOSUPPORT:
            return error_kind::unsupported;
        case ECANCELED:
            return error_kind::cancelled;
        default:
            return error_kind::permanent;
    }
}

}  // namespace

std::string_view to_string(error_kind kind) {
    switch (kind) {
        case error_kind::permanent:
            return "permanent";
        case error_kind::retryable:
            return "retryable";
        case error_kind::not_found:
            return "not found";
        case error_kind::auth:
            return "auth";
        case error_kind::corrupt:
            return "corrupt";
        case error_kind::cancelled:
            return "cancelled";
        case error_kind::timeout:
            return "timeout";
        case error_kind::unsupported:
            return "unsupported";
        case error_kind::usage:
            return "usage";
        case error_kind::permission:
            return "permission";
    }
    return "unknown";
}

std::string error::message() const {
    return hint.empty() ? text : text + "; " + hint;
}

error error::in(std::string_view what) && {
    text.insert(0, ": ").insert(0, what);
    return std::move(*this);
}

error errno_error(int code, std::string_view what) {
    char buffer[128];
    std::string text(what);
    text += ": ";
    text += strerror_r(code, buffer, sizeof buffer);
    return error{kind_of(code), code, std::move(text), {}};
}

error errno_error(std::string_view what) {
    return errno_error(errno, what);
}

int to_errno(const error& e) {
    if (e.code != 0) return e.code;
    switch (e.kind) {
        case error_kind::not_found:
            return ENOENT;
        case error_kind::timeout:
            return ETIMEDOUT;
        case error_kind::unsupported:
            return EOPNOTSUPP;
        case error_kind::usage:
            return EINVAL;
        case error_kind::permission:
        case error_kind::auth:
            return EACCES;
        case error_kind::cancelled:
            return ECANCELED;
        default:
            return EIO;
    }
}

}  // namespace nerofs
