// The programs as functions: argv in, exit status out.
#pragma once

#include <cstdio>
#include <span>
#include <string>

#include "mount/record.h"

namespace nerofs::commands {

// Where a command speaks to its user, and where the records lie.
struct environment {
    std::FILE* out = stdout;
    std::FILE* err = stderr;
    mount::run_directory directory;
};

int run_mount_erofs(std::span<const std::string> args, const environment& env);
int run_umount_erofs(std::span<const std::string> args, const environment& env);
int run_nerofs(std::span<const std::string> args, const environment& env);

// A main() of any of them: catches what must not escape, and ends in order when the user interrupts.
int guarded_main(int argc, char** argv, int (*run)(std::span<const std::string>, const environment&));

}  // namespace nerofs::commands
