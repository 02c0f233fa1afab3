#include "cli/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <span>

#include "cli/mount_command.h"
#include "cli/mount_options.h"
#include "cli/nerofs_command.h"
#include "cli/text.h"

namespace nerofs::cli {
namespace {

constexpr std::size_t widest_left = 32;

// "  left   right", with left on a line of its own where it is too long.
std::string row(std::string_view left, std::string_view right, std::size_t width) {
    if (left.size() > width) return fmt::format("  {}\n  {:{}}  {}\n", left, "", width, right);
    return fmt::format("  {:{}}  {}\n", left, width, right);
}

std::string flag_text(const flag_spec& flag) {
    std::string text = flag.letter != 0 ? fmt::format("-{}", flag.letter) : std::string("   ");
    if (!flag.name.empty()) text += fmt::format("{} --{}", flag.letter != 0 ? "," : "", flag.name);
    if (!flag.value.empty()) text += fmt::format(" {}", flag.value);
    return text;
}

std::string flags_text(std::span<const flag_spec> flags) {
    std::size_t width = 0;
    for (const flag_spec& flag : flags) width = std::max(width, std::min(widest_left, flag_text(flag).size()));
    std::string text = "Options:\n";
    for (const flag_spec& flag : flags) text += row(flag_text(flag), flag.help, width);
    return text;
}

// Names in lines of a readable length.
std::string names_text(std::span<const std::string_view> names) {
    std::string text;
    std::string line = " ";
    for (const std::string_view name : names) {
        if (line.size() + 1 + name.size() > 100) {
            text += line + "\n";
            line = " ";
        }
        line += fmt::format(" {}", name);
    }
    return text + line + "\n";
}

std::string option_list_text() {
    std::string text = "Mount options (-o LIST), of nerofs:\n";
    for (const option_info& option : nerofs_options()) {
        const std::string left =
            option.value.empty() ? std::string(option.name) : fmt::format("{}={}", option.name, option.value);
        text += row(left, option.help, widest_left);
    }
    text += "A value with commas is put in double quotes: -o 'oci.password=\"a,b\"'.\n";
    text += "\nOf every mount:\n" + names_text(flag_options());
    text += "\nAccepted, and without meaning here:\n" + names_text(ignored_options());
    text += "\nAll others go to the kernel's EROFS as they are: device=, fsoffset=, cache_strategy=, dax, acl, ...\n";
    return text;
}

}  // namespace

std::string mount_erofs_help() {
    return "Usage: mount.erofs [OPTIONS] SOURCE MOUNTPOINT\n"
           "       mount.erofs -u TARGET\n"
           "       mount.erofs --reattach DEVICE\n"
           "       mount.erofs --disconnect DEVICE\n"
           "\nMounts an EROFS image, and keeps it served. Usually called by mount(8): mount -t erofs.nbd SOURCE "
           "MOUNTPOINT\n\n" +
           flags_text(mount_flags()) + "\n" + option_list_text() +
           "\nExamples:\n"
           "  mount.erofs image.erofs /mnt\n"
           "  mount.erofs -t erofs.nbd -o nosuid,nodev,nbd.connections=2 image.erofs /mnt\n"
           "  mount.erofs -u /mnt\n"
           "  mount.erofs --reattach /dev/nbd0\n";
}

std::string umount_erofs_help() {
    return "Usage: umount.erofs [OPTIONS] DIR|DEVICE\n"
           "\nUnmounts an EROFS image and ends the device behind it. Usually called by umount(8).\n\n" +
           flags_text(umount_flags()) +
           "\nExamples:\n"
           "  umount.erofs /mnt\n"
           "  umount.erofs -l /dev/nbd0\n";
}

result<std::string> nerofs_help_text(std::string_view topic) {
    if (topic.empty()) {
        std::string text =
            "Usage: nerofs COMMAND ...\n"
            "\nMounts EROFS images from where they are, and keeps them mounted.\n\nCommands:\n";
        for (const command_info& command : nerofs_commands()) text += row(command.name, command.summary, 10);
        text +=
            "\nExamples:\n"
            "  nerofs mount image.erofs /mnt\n"
            "  nerofs status /mnt\n"
            "  nerofs umount /mnt\n"
            "\nMore: nerofs help COMMAND\n";
        return text;
    }
    for (const command_info& command : nerofs_commands()) {
        if (command.name != topic) continue;
        std::string text = fmt::format("Usage: nerofs {}{}{}\n\nTo {}.\n", command.name,
                                       command.synopsis.empty() ? "" : " ", command.synopsis, command.summary);
        if (!command.details.empty()) text += fmt::format("{}", command.details);
        text += "\n" + flags_text(command.flags);
        if (command.name == "mount") text += "\n" + option_list_text();
        return text + fmt::format("\nExamples:\n{}", command.examples);
    }
    return fail(error_kind::usage, fmt::format("command {}: not known", quoted(topic)));
}

std::string version_text(std::string_view program) {
    return fmt::format("{} (nerofs) {}\n", program, NEROFS_VERSION);
}

}  // namespace nerofs::cli
