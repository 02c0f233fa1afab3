#include "cli/exit_code.h"

#include <cerrno>

namespace nerofs::cli {

int to_exit_code(const error& e) {
    switch (e.code) {
        case ENOMEM:
        case EMFILE:
        case ENFILE:
        case EAGAIN:  // fork(2) at a process limit
            return exit_bit::system;
        case EINTR:
            return exit_bit::interrupted;
        default:
            break;
    }
    switch (e.kind) {
        case error_kind::cancelled:
            return exit_bit::interrupted;
        case error_kind::permission:
            return exit_bit::usage;
        case error_kind::usage:
            // With an errno it isn't the user's command line that was refused but ours to the kernel: mount(2) says
            // EINVAL for a file system that it can't read.
            return e.code == 0 ? exit_bit::usage : exit_bit::mount_failed;
        default:
            return exit_bit::mount_failed;
    }
}

}  // namespace nerofs::cli
