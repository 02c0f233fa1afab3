// The scanner of argument vectors: flags and operands in any order, as GNU's getopt_long takes them, but without its
// global state, so that it can be called from tests and from several threads.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace nerofs::cli {

// One flag of a command; also the source of its help and of the test of its man page.
struct flag_spec {
    char letter = 0;         // 'o' for -o; 0 when there is only the long form
    std::string_view name;   // "help" for --help; empty when there is only the letter
    std::string_view value;  // what its value is called in help; empty when it takes none
    std::string_view help;
    bool final = false;  // nothing after it matters (-h, -V): the scan ends there
};

struct scanned_flag {
    const flag_spec* spec;  // an element of the span that was given to scan_arguments
    std::string value;      // empty when it takes none
};

struct scanned_arguments {
    std::vector<scanned_flag> flags;    // in the order given
    std::vector<std::string> operands;  // likewise
};

// `args` are those after the program's name. Understands -x, -xyz (bundled), -oVALUE, -o VALUE, --name, --name=VALUE,
// --name VALUE, unambiguous beginnings of long names, and -- (the rest are operands); "-" alone is an operand. Errors:
// usage, naming the flag but never a value, as that may be a secret.
result<scanned_arguments> scan_arguments(std::span<const std::string> args, std::span<const flag_spec> specs);

// "-o", or "--json" where there is no letter.
std::string flag_name(const flag_spec& spec);

}  // namespace nerofs::cli
