#include "cli/mount_command.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include "cli/option_values.h"
#include "cli/text.h"

namespace nerofs::cli {
namespace {

constexpr std::string_view type_help = "erofs, or erofs.nbd, .ublk, .fanotify, .fuse, .local to choose the way";
constexpr std::string_view options_help = "mount options, separated by commas";
constexpr std::string_view namespace_help = "in another mount namespace: a process id or a file";
constexpr std::string_view debug_help = "say more, 0 to 9";
constexpr std::string_view fake_help = "do everything except the mount itself";
constexpr std::string_view no_mtab_help = "accepted; there is no mtab to write";
constexpr std::string_view verbose_help = "say what is done";
constexpr flag_spec help_flag{'h', "help", "", "show this help", true};
constexpr flag_spec version_flag{'V', "version", "", "show the version", true};

// Long names only where erofs-utils has them: its users may shorten one as far as it stays unambiguous.
constexpr std::array mount_table = {
    flag_spec{'t', "", "TYPE", type_help},
    flag_spec{'o', "", "LIST", options_help},
    flag_spec{'u', "", "", "unmount TARGET, a directory or a device"},
    flag_spec{0, "reattach", "", "serve DEVICE again after its processes died"},
    flag_spec{0, "disconnect", "", "end DEVICE without opening it"},
    flag_spec{'f', "", "", fake_help},
    flag_spec{'n', "", "", no_mtab_help},
    flag_spec{'s', "", "", "accepted; options that nerofs doesn't know go to the kernel"},
    flag_spec{'v', "", "", verbose_help},
    flag_spec{'N', "", "NS", namespace_help},
    flag_spec{'d', "", "LEVEL", debug_help},
    help_flag,
    version_flag,
};

constexpr std::array umount_table = {
    flag_spec{'f', "", "", "force it (umount2's MNT_FORCE)"},
    flag_spec{'l', "", "", "detach now, end when the last user is gone"},
    flag_spec{'n', "", "", no_mtab_help},
    flag_spec{'r', "", "", "accepted; EROFS is read-only already"},
    flag_spec{'v', "", "", verbose_help},
    flag_spec{'N', "", "NS", namespace_help},
    flag_spec{'t', "", "TYPE", "as mount(8) names it; not needed"},
    help_flag,
    version_flag,
};

constexpr std::array nerofs_mount_table = {
    flag_spec{'t', "types", "TYPE", type_help},
    flag_spec{'o', "options", "LIST", options_help},
    flag_spec{'f', "fake", "", fake_help},
    flag_spec{'v', "verbose", "", verbose_help},
    flag_spec{'N', "namespace", "NS", namespace_help},
    flag_spec{'d', "", "LEVEL", debug_help},
    help_flag,
};

constexpr std::array<std::pair<std::string_view, transport>, 5> subtypes = {{{"local", transport::local},
                                                                             {"nbd", transport::nbd},
                                                                             {"ublk", transport::ublk},
                                                                             {"fanotify", transport::fanotify},
                                                                             {"fuse", transport::fuse}}};

error usage(std::string text, std::string_view hint = {}) {
    return make_error(error_kind::usage, std::move(text)).with_hint(hint);
}

status take_debug_level(mount_command& command, std::string_view value) {
    unsigned level = 0;
    if (!whole_number(value, level) || level > 9)
        return fail(usage(fmt::format("option {}: must be 0 to 9", quoted(fmt::format("-d {}", value)))));
    command.debug_level = level;
    return {};
}

status take_namespace(std::string& into, std::string_view value) {
    if (value.empty()) return fail(usage("option '-N': must not be empty"));
    into = value;
    return {};
}

status take_action(mount_command& command, mount_action action) {
    if (command.action != mount_action::mount && command.action != action)
        return fail(usage("options '-u', '--reattach' and '--disconnect': only one can be given"));
    command.action = action;
    return {};
}

status take_mount_flag(mount_command& command, const scanned_flag& flag) {
    if (flag.spec->name == "reattach") return take_action(command, mount_action::reattach);
    if (flag.spec->name == "disconnect") return take_action(command, mount_action::disconnect);
    switch (flag.spec->letter) {
        case 'u':
            return take_action(command, mount_action::unmount);
        case 't': {
            NEROFS_TRY(command.via, parse_type(flag.value));
            return {};
        }
        case 'o':
            return add_mount_options(command.options, flag.value);
        case 'd':
            return take_debug_level(command, flag.value);
        case 'N':
            return take_namespace(command.mount_namespace, flag.value);
        case 'f':
            command.fake = true;
            return {};
        case 'n':
            command.no_mtab = true;
            return {};
        case 's':
            command.sloppy = true;
            return {};
        case 'v':
            command.verbose = true;
            return {};
        default:
            return {};
    }
}

// The words that an action needs, by the names they have in the help.
status need_operands(std::span<const std::string> given, std::span<const std::string_view> names) {
    if (given.size() > names.size())
        // Not shown: a stray word is often the rest of a value that the shell has split, perhaps of a password.
        return fail(usage(
            fmt::format("too many arguments: {} given, only {} wanted", given.size(), fmt::join(names, " and "))));
    if (given.size() < names.size())
        return fail(usage(fmt::format("missing argument: {}", fmt::join(names.subspan(given.size()), " and "))));
    for (std::size_t i = 0; i < names.size(); ++i)
        if (given[i].empty()) return fail(usage(fmt::format("argument {}: must not be empty", names[i])));
    return {};
}

result<mount_command> build_mount(std::span<const std::string> args, std::span<const flag_spec> specs) {
    NEROFS_TRY(scanned_arguments found, scan_arguments(args, specs));
    mount_command command;
    if (!found.flags.empty() && found.flags.back().spec->final) {
        const bool help = found.flags.back().spec->letter == 'h';
        command.action = help ? mount_action::help : mount_action::version;
        return command;
    }
    for (const scanned_flag& flag : found.flags) NEROFS_CHECK(take_mount_flag(command, flag));
    NEROFS_CHECK(check_mount_options(command.options));
    if (command.action == mount_action::mount) {
        constexpr std::array<std::string_view, 2> names = {"SOURCE", "MOUNTPOINT"};
        NEROFS_CHECK(need_operands(found.operands, names));
        command.source = std::move(found.operands[0]);
        command.target = std::move(found.operands[1]);
        return command;
    }
    const std::array<std::string_view, 1> names = {command.action == mount_action::unmount ? "TARGET" : "DEVICE"};
    NEROFS_CHECK(need_operands(found.operands, names));
    command.target = std::move(found.operands[0]);
    return command;
}

}  // namespace

result<transport> parse_type(std::string_view type) {
    if (type == "erofs") return transport::automatic;
    if (type.starts_with("erofs."))
        for (const auto& [name, via] : subtypes)
            if (type.substr(6) == name) return via;
    std::string known = "the types are erofs";
    for (const auto& [name, via] : subtypes) known += fmt::format(", erofs.{}", name);
    return fail(usage(fmt::format("type {}: not known", quoted(type)), known));
}

std::string_view to_string(transport via) {
    for (const auto& [name, value] : subtypes)
        if (value == via) return name;
    return {};
}

result<mount_command> parse_mount_command(std::span<const std::string> args) {
    return build_mount(args, mount_table);
}

result<mount_command> parse_nerofs_mount(std::span<const std::string> args) {
    return build_mount(args, nerofs_mount_table);
}

result<umount_command> parse_umount_command(std::span<const std::string> args) {
    NEROFS_TRY(scanned_arguments found, scan_arguments(args, umount_table));
    umount_command command;
    for (const scanned_flag& flag : found.flags) {
        switch (flag.spec->letter) {
            case 'f':
                command.force = true;
                break;
            case 'l':
                command.lazy = true;
                break;
            case 'n':
                command.no_mtab = true;
                break;
            case 'r':
                command.read_only = true;
                break;
            case 'v':
                command.verbose = true;
                break;
            case 'N':
                NEROFS_CHECK(take_namespace(command.mount_namespace, flag.value));
                break;
            case 't': {
                NEROFS_TRY(command.via, parse_type(flag.value));
                break;
            }
            case 'h':
                command.action = umount_command::action_kind::help;
                return command;
            case 'V':
                command.action = umount_command::action_kind::version;
                return command;
            default:
                break;
        }
    }
    constexpr std::array<std::string_view, 1> names = {"DIR or DEVICE"};
    NEROFS_CHECK(need_operands(found.operands, names));
    command.target = std::move(found.operands[0]);
    return command;
}

std::span<const flag_spec> mount_flags() {
    return mount_table;
}
std::span<const flag_spec> umount_flags() {
    return umount_table;
}
std::span<const flag_spec> nerofs_mount_flags() {
    return nerofs_mount_table;
}

}  // namespace nerofs::cli
