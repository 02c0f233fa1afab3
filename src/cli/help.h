// The texts of --help and --version, made from the tables that the parsers use. No width is assumed beyond 120 columns.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace nerofs::cli {

std::string mount_erofs_help();
std::string umount_erofs_help();
// An empty topic lists the commands. Errors: none in practice, as parse_nerofs_command has checked the topic; usage if
// not.
result<std::string> nerofs_help_text(std::string_view topic);

// "mount.erofs (nerofs) 0.1.0\n"
std::string version_text(std::string_view program);

}  // namespace nerofs::cli
