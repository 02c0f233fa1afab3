// The man pages, the help texts and the parser's tables describe the same options.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <vector>

#include "cli/help.h"
#include "cli/mount_command.h"
#include "cli/mount_options.h"
#include "cli/nerofs_command.h"

namespace nerofs::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

// The page with roff's \- read as the dash it prints, and joined lines joined.
std::string page(const std::string& name) {
    std::ifstream file(std::string(NEROFS_SOURCE_DIR) + "/man/" + name);
    EXPECT_TRUE(file) << name;
    std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    const std::vector<std::pair<std::string, std::string>> replacements = {{"\\-", "-"}, {"\\\n", ""}};
    for (const auto& [from, to] : replacements)
        for (std::size_t at = text.find(from); at != std::string::npos; at = text.find(from, at))
            text.replace(at, from.size(), to);
    return text;
}

// What follows each "\fB" + lead, up to the end of the name: "oci.layer" of "\fB-o oci.layer=\fIN\fR".
std::set<std::string> entries(const std::string& text, const std::string& lead) {
    std::set<std::string> names;
    const std::string mark = "\\fB" + lead;
    for (std::size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at)) {
        at += mark.size();
        const std::size_t end = text.find_first_of("=\\ \n,", at);
        names.insert(text.substr(at, end - at));
    }
    return names;
}

std::set<std::string> mount_option_names() {
    std::set<std::string> names;
    for (const option_info& option : nerofs_options()) names.emplace(option.name);
    for (const std::string_view name : flag_options()) names.emplace(name);
    for (const std::string_view name : ignored_options()) names.emplace(name);
    return names;
}

// The flags of a page or of one of its sections: letters and long names.
void expect_flags(const std::string& text, std::span<const flag_spec> flags, const std::string& where) {
    std::set<std::string> wanted;
    for (const flag_spec& flag : flags) {
        if (flag.letter != 0) wanted.insert(std::string{flag.letter});
        if (!flag.name.empty()) wanted.insert("-" + std::string(flag.name));
    }
    std::set<std::string> found = entries(text, "-");
    found.erase("o");  // "-o" itself and the mount options
    wanted.erase("o");
    EXPECT_EQ(found, wanted) << where;
}

// From ".SS name" to the next section.
std::string section(const std::string& text, const std::string& name) {
    const std::string heading = "\n.SS " + name + "\n";
    const std::size_t at = text.find(heading);
    EXPECT_NE(at, std::string::npos) << "no section " << name;
    if (at == std::string::npos) return {};
    return text.substr(at, text.find("\n.S", at + heading.size()) - at);
}

TEST(man_pages, mount_erofs_has_every_mount_option_and_no_other) {
    EXPECT_EQ(entries(page("mount.erofs.8"), "-o "), mount_option_names());
}

TEST(man_pages, whether_an_option_takes_a_value_is_told_truly) {
    const std::string text = page("mount.erofs.8");
    for (const option_info& option : nerofs_options()) {
        const std::string entry = "\\fB-o " + std::string(option.name);
        EXPECT_THAT(text, HasSubstr(entry + (option.value.empty() ? "\\fR" : "="))) << option.name;
    }
}

TEST(man_pages, have_every_flag_and_no_other) {
    expect_flags(page("mount.erofs.8"), mount_flags(), "mount.erofs");
    expect_flags(page("umount.erofs.8"), umount_flags(), "umount.erofs");
    const std::string nerofs = page("nerofs.8");
    for (const command_info& command : nerofs_commands()) {
        std::vector<flag_spec> flags;
        for (const flag_spec& flag : command.flags)
            if (flag.name != "help") flags.push_back(flag);  // told once, for all of them
        expect_flags(section(nerofs, std::string(command.name)), flags, std::string(command.name));
        EXPECT_THAT(nerofs, HasSubstr(".B nerofs " + std::string(command.name) + "\n"));
    }
}

TEST(man_pages, have_the_types_and_the_exit_bits) {
    const std::string text = page("mount.erofs.8");
    for (const char* type : {"erofs", "erofs.local", "erofs.nbd", "erofs.ublk", "erofs.fanotify", "erofs.fuse"})
        EXPECT_THAT(text, HasSubstr(type));
    for (const char* bit : {"0", "1", "2", "4", "8", "16", "32", "64"})
        EXPECT_THAT(text, HasSubstr("\n.TP\n.B " + std::string(bit) + "\n"));
    for (const char* name : {"mount.erofs.8", "umount.erofs.8", "nerofs.8"})
        EXPECT_THAT(page(name), HasSubstr("/run/nerofs"));
}

TEST(man_pages, the_examples_parse) {
    // Every example line of the three pages and of the help texts that starts with one of our programs.
    std::vector<std::string> lines;
    const auto collect = [&](const std::string& text) {
        std::istringstream stream(text);
        for (std::string line; std::getline(stream, line);) {
            line.erase(0, line.find_first_not_of(' '));
            lines.push_back(line);
        }
    };
    const auto after = [](const std::string& text, const std::string& mark) { return text.substr(text.find(mark)); };
    for (const char* name : {"mount.erofs.8", "umount.erofs.8", "nerofs.8"}) collect(after(page(name), ".SH EXAMPLES"));
    collect(after(mount_erofs_help(), "Examples:"));
    collect(after(umount_erofs_help(), "Examples:"));
    collect(after(*nerofs_help_text(""), "Examples:"));
    for (const command_info& command : nerofs_commands()) collect(std::string(command.examples));
    int parsed = 0;
    for (const std::string& line : lines) {
        std::istringstream stream(line);
        std::vector<std::string> args;
        for (std::string word; stream >> word;) {
            std::erase(word, '\'');
            if (word != "&") args.push_back(word);
        }
        if (args.empty()) continue;
        const std::string program = args[0];
        args.erase(args.begin());
        std::string problem;
        if (program == "mount.erofs" || program == "mount") {
            const auto command = parse_mount_command(args);
            if (!command) problem = command.error().message();
        } else if (program == "umount.erofs") {
            const auto command = parse_umount_command(args);
            if (!command) problem = command.error().message();
        } else if (program == "nerofs") {
            const auto command = parse_nerofs_command(args);
            if (!command) problem = command.error().message();
        } else if (program == "/srv/app.erofs") {  // the line of fstab: source, directory, type, options
            const auto command =
                parse_mount_command(std::vector<std::string>{program, args[0], "-t", args[1], "-o", args[2]});
            if (!command) problem = command.error().message();
        } else {
            continue;
        }
        EXPECT_EQ(problem, "") << line;
        ++parsed;
    }
    EXPECT_GT(parsed, 25);
}

TEST(help, of_mount_erofs_mentions_every_flag_and_option) {
    const std::string text = mount_erofs_help();
    EXPECT_THAT(text, StartsWith("Usage: mount.erofs [OPTIONS] SOURCE MOUNTPOINT\n"));
    for (const flag_spec& flag : mount_flags()) {
        EXPECT_THAT(text, HasSubstr(flag_name(flag)));
        EXPECT_THAT(text, HasSubstr(std::string(flag.help)));
    }
    for (const option_info& option : nerofs_options()) {
        const std::string shown = option.value.empty() ? std::string(option.name)
                                                       : std::string(option.name) + "=" + std::string(option.value);
        EXPECT_THAT(text, HasSubstr("\n  " + shown));
        EXPECT_THAT(text, HasSubstr(std::string(option.help)));
    }
    for (const std::string& name : mount_option_names()) EXPECT_THAT(text, HasSubstr(" " + name));
    EXPECT_THAT(*nerofs_help_text("mount"), HasSubstr("  nbd.connections=N "));
}

TEST(help, of_umount_erofs_mentions_every_flag) {
    const std::string text = umount_erofs_help();
    EXPECT_THAT(text, StartsWith("Usage: umount.erofs [OPTIONS] DIR|DEVICE\n"));
    for (const flag_spec& flag : umount_flags()) EXPECT_THAT(text, HasSubstr("\n  " + flag_name(flag)));
}

TEST(help, of_nerofs_lists_the_commands_and_explains_each) {
    const std::string all = *nerofs_help_text("");
    for (const command_info& command : nerofs_commands()) {
        EXPECT_THAT(all, HasSubstr("\n  " + std::string(command.name) + " "));
        const std::string text = *nerofs_help_text(command.name);
        EXPECT_THAT(text, StartsWith("Usage: nerofs " + std::string(command.name)));
        EXPECT_THAT(text, HasSubstr(std::string(command.summary)));
        EXPECT_THAT(text, HasSubstr("\nExamples:\n  nerofs " + std::string(command.name)));
        for (const flag_spec& flag : command.flags) EXPECT_THAT(text, HasSubstr(std::string(flag.help)));
    }
    const auto none = nerofs_help_text("nonsense");
    ASSERT_FALSE(none);
    EXPECT_EQ(none.error().text, "command 'nonsense': not known");
    EXPECT_EQ(*nerofs_help_text("reattach"),
              "Usage: nerofs reattach DEVICE | --all\n"
              "\n"
              "To serve a device again whose processes died.\n"
              "A device that is being served is left as it is, and said to be so.\n"
              "\n"
              "Options:\n"
              "      --all   every device that has lost its processes\n"
              "  -h, --help  show this help\n"
              "\n"
              "Examples:\n"
              "  nerofs reattach /dev/nbd0\n"
              "  nerofs reattach --all\n");
}

TEST(help, lines_fit_a_terminal) {
    std::vector<std::string> texts = {mount_erofs_help(), umount_erofs_help(), *nerofs_help_text("")};
    for (const command_info& command : nerofs_commands()) texts.push_back(*nerofs_help_text(command.name));
    for (const std::string& text : texts) {
        std::istringstream stream(text);
        for (std::string line; std::getline(stream, line);) {
            EXPECT_LE(line.size(), 120u) << line;
            EXPECT_FALSE(line.ends_with(' ')) << line;
        }
        EXPECT_EQ(text.back(), '\n');
    }
}

TEST(help, version_names_program_and_project) {
    EXPECT_THAT(version_text("mount.erofs"), testing::MatchesRegex("mount.erofs \\(nerofs\\) [0-9]+.[0-9]+.[0-9]+\n"));
}

}  // namespace
}  // namespace nerofs::cli
