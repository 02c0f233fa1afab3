#include "cli/mount_command.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nerofs::cli {
namespace {

using words = std::vector<std::string>;

mount_command parsed(const words& args) {
    const auto command = parse_mount_command(args);
    EXPECT_TRUE(command) << command.error().message();
    return command ? *command : mount_command{};
}

std::string refused(const words& args) {
    const auto command = parse_mount_command(args);
    if (command) return "accepted";
    EXPECT_EQ(command.error().kind, error_kind::usage);
    return command.error().message();
}

umount_command umount_parsed(const words& args) {
    const auto command = parse_umount_command(args);
    EXPECT_TRUE(command) << command.error().message();
    return command ? *command : umount_command{};
}

std::string umount_refused(const words& args) {
    const auto command = parse_umount_command(args);
    return command ? "accepted" : command.error().message();
}

TEST(mount_command, source_and_mountpoint) {
    const mount_command command = parsed({"image.erofs", "/mnt"});
    EXPECT_EQ(command.action, mount_action::mount);
    EXPECT_EQ(command.source, "image.erofs");
    EXPECT_EQ(command.target, "/mnt");
    EXPECT_EQ(command.via, transport::automatic);
    EXPECT_EQ(command.options, mount_options{});
    EXPECT_EQ(command.debug_level, 0u);
    EXPECT_FALSE(command.fake || command.no_mtab || command.sloppy || command.verbose);
}

TEST(mount_command, options_may_stand_anywhere) {
    for (const words& args :
         {words{"-t", "erofs.nbd", "-o", "nosuid,acl", "s", "d"}, words{"s", "-terofs.nbd", "d", "-onosuid,acl"},
          words{"s", "d", "-o", "nosuid", "-t", "erofs.nbd", "-o", "acl"}}) {
        const mount_command command = parsed(args);
        EXPECT_EQ(command.source, "s");
        EXPECT_EQ(command.target, "d");
        EXPECT_EQ(command.via, transport::nbd);
        EXPECT_EQ(command.options.flags, static_cast<unsigned long>(MS_RDONLY | MS_NOSUID));
        EXPECT_EQ(command.options.data, "acl");
    }
}

TEST(mount_command, the_form_in_which_mount_calls_its_helpers) {
    const mount_command command =
        parsed({"/srv/a b.erofs", "/mnt/x y", "-sfnv", "-N", "/proc/7/ns/mnt", "-o", "rw,nodev", "-t", "erofs.ublk"});
    EXPECT_EQ(command.source, "/srv/a b.erofs");
    EXPECT_EQ(command.target, "/mnt/x y");
    EXPECT_TRUE(command.sloppy && command.fake && command.no_mtab && command.verbose);
    EXPECT_EQ(command.mount_namespace, "/proc/7/ns/mnt");
    EXPECT_EQ(command.via, transport::ublk);
    EXPECT_EQ(command.options.flags, static_cast<unsigned long>(MS_RDONLY | MS_NODEV));
}

TEST(mount_command, a_bundle_may_end_in_an_option_with_a_value) {
    EXPECT_EQ(parsed({"s", "d", "-nvo", "acl"}).options.data, "acl");
    EXPECT_EQ(parsed({"s", "d", "-nvoacl"}).options.data, "acl");
    EXPECT_EQ(parsed({"s", "d", "-d9"}).debug_level, 9u);
}

TEST(mount_command, two_dashes_end_the_options) {
    const mount_command command = parsed({"-v", "--", "-s", "-d"});
    EXPECT_EQ(command.source, "-s");
    EXPECT_EQ(command.target, "-d");
    EXPECT_EQ(parsed({"-", "/mnt"}).source, "-");
}

TEST(mount_command, each_type) {
    const std::vector<std::pair<std::string, transport>> rows = {
        {"erofs", transport::automatic}, {"erofs.local", transport::local},       {"erofs.nbd", transport::nbd},
        {"erofs.ublk", transport::ublk}, {"erofs.fanotify", transport::fanotify}, {"erofs.fuse", transport::fuse},
    };
    for (const auto& [type, via] : rows) {
        EXPECT_EQ(parsed({"s", "d", "-t", type}).via, via);
        EXPECT_EQ(type, to_string(via).empty() ? "erofs" : "erofs." + std::string(to_string(via)));
    }
    for (const std::string type : {"ext4", "erofs.foo", "erofs.", "erofsnbd", ""})
        EXPECT_EQ(
            refused({"s", "d", "-t", type}),
            "type '" + type +
                "': not known; the types are erofs, erofs.local, erofs.nbd, erofs.ublk, erofs.fanotify, erofs.fuse");
}

TEST(mount_command, the_other_actions) {
    for (const words& args : {words{"-u", "/mnt"}, words{"/mnt", "-u"}}) {
        EXPECT_EQ(parsed(args).action, mount_action::unmount);
        EXPECT_EQ(parsed(args).target, "/mnt");
        EXPECT_EQ(parsed(args).source, "");
    }
    EXPECT_EQ(parsed({"--reattach", "/dev/nbd0"}).action, mount_action::reattach);
    EXPECT_EQ(parsed({"/dev/nbd0", "--reattach"}).target, "/dev/nbd0");
    EXPECT_EQ(parsed({"--disconnect", "/dev/nbd1"}).action, mount_action::disconnect);
    EXPECT_EQ(parsed({"--disc", "/dev/nbd1"}).action, mount_action::disconnect) << "getopt_long's abbreviations";
    EXPECT_EQ(refused({"-u", "--reattach", "/mnt"}),
              "options '-u', '--reattach' and '--disconnect': only one can be given");
    EXPECT_EQ(refused({"-u"}), "missing argument: TARGET");
    EXPECT_EQ(refused({"--reattach"}), "missing argument: DEVICE");
    EXPECT_EQ(refused({"--disconnect", "a", "b"}), "too many arguments: 2 given, only DEVICE wanted");
}

TEST(mount_command, help_and_version_need_nothing_else) {
    for (const words& args : {words{"-h"}, words{"--help"}, words{"x", "-vh", "--bogus"}, words{"--he"}})
        EXPECT_EQ(parsed(args).action, mount_action::help);
    for (const words& args : {words{"-V"}, words{"--version"}, words{"-V", "-h"}, words{"--v"}})
        EXPECT_EQ(parsed(args).action, mount_action::version);
}

TEST(mount_command, debug_level) {
    EXPECT_EQ(parsed({"-d", "0", "s", "d"}).debug_level, 0u);
    EXPECT_EQ(refused({"-d", "10", "s", "d"}), "option '-d 10': must be 0 to 9");
    EXPECT_EQ(refused({"-dx", "s", "d"}), "option '-d x': must be 0 to 9");
}

TEST(mount_command, what_is_missing_or_too_much_is_said) {
    EXPECT_EQ(refused({}), "missing argument: SOURCE and MOUNTPOINT");
    EXPECT_EQ(refused({"image"}), "missing argument: MOUNTPOINT");
    EXPECT_EQ(refused({"", "/mnt"}), "argument SOURCE: must not be empty");
    EXPECT_EQ(refused({"image", ""}), "argument MOUNTPOINT: must not be empty");
    EXPECT_EQ(refused({"s", "d", "-N", ""}), "option '-N': must not be empty");
    EXPECT_EQ(refused({"s", "d", "-o"}), "option '-o': needs LIST");
    EXPECT_EQ(refused({"s", "d", "-t"}), "option '-t': needs TYPE");
    EXPECT_EQ(refused({"s", "d", "-x"}), "option '-x': not known");
    EXPECT_EQ(refused({"s", "d", "--reatach"}), "option '--reatach': not known; did you mean '--reattach'?");
    EXPECT_EQ(refused({"s", "d", "--option=ro"}), "option '--option': not known");
    EXPECT_EQ(refused({"--help=x"}), "option '--help': takes no value");
}

TEST(mount_command, a_stray_word_is_not_shown_as_it_may_be_the_rest_of_a_password) {
    EXPECT_EQ(refused({"-o", "oci.password=correct", "horse", "image", "/mnt"}),
              "too many arguments: 3 given, only SOURCE and MOUNTPOINT wanted");
    EXPECT_EQ(refused({"--password=horse", "s", "d"}), "option '--password': not known");
    EXPECT_EQ(refused({"-phorse", "s", "d"}), "option '-p': not known");
}

TEST(mount_command, sloppy_does_not_excuse_a_misspelt_option_of_nerofs) {
    EXPECT_EQ(parsed({"s", "d", "-s", "-o", "whatever"}).options.data, "whatever");
    EXPECT_EQ(refused({"s", "d", "-s", "-o", "oci.whatever"}), "option 'oci.whatever': not known");
}

TEST(mount_command, options_are_checked_together_over_several_lists) {
    EXPECT_EQ(refused({"s", "d", "-o", "oci.layer=0", "-o", "s3.sig=4"}),
              "options 'oci.*' and 's3.*': a source is either in a registry or in an object store");
}

TEST(umount_command, the_form_in_which_umount_calls_its_helpers) {
    const umount_command command = umount_parsed({"/mnt/a b", "-flnrv", "-N", "7", "-t", "erofs.nbd"});
    EXPECT_EQ(command.action, umount_command::action_kind::unmount);
    EXPECT_EQ(command.target, "/mnt/a b");
    EXPECT_TRUE(command.force && command.lazy && command.no_mtab && command.read_only && command.verbose);
    EXPECT_EQ(command.mount_namespace, "7");
    EXPECT_EQ(command.via, transport::nbd);
    const umount_command plain = umount_parsed({"/dev/nbd0"});
    EXPECT_EQ(plain.target, "/dev/nbd0");
    EXPECT_FALSE(plain.force || plain.lazy || plain.no_mtab || plain.read_only || plain.verbose);
    EXPECT_EQ(umount_parsed({"-l", "--", "-x"}).target, "-x");
    EXPECT_EQ(umount_parsed({"--help"}).action, umount_command::action_kind::help);
    EXPECT_EQ(umount_parsed({"-V"}).action, umount_command::action_kind::version);
}

TEST(umount_command, errors) {
    EXPECT_EQ(umount_refused({}), "missing argument: DIR or DEVICE");
    EXPECT_EQ(umount_refused({"a", "b"}), "too many arguments: 2 given, only DIR or DEVICE wanted");
    EXPECT_EQ(umount_refused({"-o", "ro", "d"}), "option '-o': not known");
    EXPECT_EQ(umount_refused({"d", "-N", ""}), "option '-N': must not be empty");
    EXPECT_EQ(
        umount_refused({"d", "-t", "xfs"}),
        "type 'xfs': not known; the types are erofs, erofs.local, erofs.nbd, erofs.ublk, erofs.fanotify, erofs.fuse");
}

}  // namespace
}  // namespace nerofs::cli
