// Option lists and argument vectors: no input may crash a parser, make an error of more than one line, or show a
// secret.
#include "cli/mount_options.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cli/mount_command.h"
#include "cli/nerofs_command.h"
#include "cli/option_list.h"
#include "cli/source_spec.h"
#include "require.h"

namespace {

using namespace nerofs;
using namespace nerofs::fuzz;

constexpr std::string_view secret = "S3cr3t-0f-this-test";

// An input that spells the secret itself (libFuzzer learns it from memcmp) proves nothing.
void check_text(const std::string& text, std::string_view input) {
    require(!text.empty());
    for (const char c : text) require(static_cast<unsigned char>(c) >= 0x20 && c != 0x7f);
    if (input.find(secret) == std::string_view::npos) require(text.find(secret) == std::string::npos);
}

template <class T>
void check_error(const result<T>& parsed, std::string_view input) {
    if (!parsed) check_text(parsed.error().message(), input);
}

void check_list(std::string_view input) {
    const auto parsed = cli::parse_mount_options(input);
    check_error(parsed, input);
    if (parsed) {
        // What goes to the kernel is a list again, and says the same when it is read again.
        const auto again = cli::parse_mount_options(parsed->data);
        require(again && again->data == parsed->data && !again->oci.given && !again->s3.given);
        for (const auto found : {cli::local_entry::none, cli::local_entry::file}) {
            const auto source = cli::classify_source(input, *parsed, found);
            check_error(source, input);
            if (source) check_text(cli::describe(*source, *parsed), input);
        }
    }
    const std::string with_secret = std::string("oci.password=") + std::string(secret) + "," + std::string(input);
    check_error(cli::parse_mount_options(with_secret), input);
    check_error(cli::classify_source(std::string("https://u:") + std::string(secret) + "@h/" + std::string(input), {},
                                     cli::local_entry::none),
                input);
}

void check_arguments(std::string_view input) {
    std::vector<std::string> args;
    std::string_view rest = input;
    while (!rest.empty() && args.size() < 64) {
        const std::size_t end = rest.find('\0');
        args.emplace_back(rest.substr(0, end));
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    check_error(cli::parse_mount_command(args), input);
    check_error(cli::parse_umount_command(args), input);
    check_error(cli::parse_nerofs_command(args), input);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    check_list(input);
    check_arguments(input);
    return 0;
}
