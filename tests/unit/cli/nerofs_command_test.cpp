#include "cli/nerofs_command.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nerofs::cli {
namespace {

using words = std::vector<std::string>;

template <class T>
T parsed(const words& args) {
    const auto command = parse_nerofs_command(args);
    EXPECT_TRUE(command) << command.error().message();
    if (!command || !std::holds_alternative<T>(*command)) {
        ADD_FAILURE() << "another command than expected for " << (args.empty() ? "nothing" : args[0]);
        return T{};
    }
    return std::get<T>(*command);
}

std::string refused(const words& args) {
    const auto command = parse_nerofs_command(args);
    if (command) return "accepted";
    EXPECT_EQ(command.error().kind, error_kind::usage);
    return command.error().message();
}

TEST(nerofs_command, mount) {
    const auto mount = parsed<mount_command>(
        {"mount", "-t", "erofs.nbd", "--options=nosuid", "-o", "acl", "--verbose", "image", "/mnt"});
    EXPECT_EQ(mount.action, mount_action::mount);
    EXPECT_EQ(mount.source, "image");
    EXPECT_EQ(mount.target, "/mnt");
    EXPECT_EQ(mount.via, transport::nbd);
    EXPECT_EQ(mount.options.flags, static_cast<unsigned long>(MS_RDONLY | MS_NOSUID));
    EXPECT_EQ(mount.options.data, "acl");
    EXPECT_TRUE(mount.verbose);
    EXPECT_EQ(refused({"mount", "image"}), "missing argument: MOUNTPOINT; see 'nerofs help mount'");
    EXPECT_EQ(refused({"mount", "-u", "/mnt"}), "option '-u': not known; see 'nerofs help mount'");
    EXPECT_EQ(refused({"mount", "-o", "nbd.timeuot=1", "s", "d"}),
              "option 'nbd.timeuot': not known; did you mean 'nbd.timeout'?");
}

TEST(nerofs_command, umount) {
    EXPECT_EQ(parsed<nerofs_umount>({"umount", "/mnt"}).target, "/mnt");
    EXPECT_FALSE(parsed<nerofs_umount>({"umount", "/mnt"}).lazy);
    EXPECT_TRUE(parsed<nerofs_umount>({"umount", "/mnt", "-l"}).lazy);
    EXPECT_TRUE(parsed<nerofs_umount>({"umount", "--lazy", "/dev/nbd0"}).lazy);
    EXPECT_EQ(refused({"umount"}), "missing argument: DIR or DEVICE; see 'nerofs help umount'");
    EXPECT_EQ(refused({"umount", "a", "b"}),
              "too many arguments: only DIR or DEVICE is wanted; see 'nerofs help umount'");
}

TEST(nerofs_command, list_and_status) {
    EXPECT_FALSE(parsed<nerofs_list>({"list"}).json);
    EXPECT_TRUE(parsed<nerofs_list>({"list", "--json"}).json);
    EXPECT_EQ(refused({"list", "x"}), "too many arguments: none is wanted; see 'nerofs help list'");
    EXPECT_EQ(parsed<nerofs_status>({"status"}).target, "");
    EXPECT_TRUE(parsed<nerofs_status>({"status", "--json"}).json);
    const auto status = parsed<nerofs_status>({"status", "/mnt", "--json"});
    EXPECT_EQ(status.target, "/mnt");
    EXPECT_TRUE(status.json);
    EXPECT_EQ(refused({"status", "--jsno"}), "option '--jsno': not known; did you mean '--json'?");
    EXPECT_EQ(refused({"status", ""}), "argument MOUNT or DEVICE: must not be empty; see 'nerofs help status'");
}

TEST(nerofs_command, reattach_and_disconnect) {
    EXPECT_EQ(parsed<nerofs_reattach>({"reattach", "/dev/nbd0"}).device, "/dev/nbd0");
    EXPECT_EQ(parsed<nerofs_reattach>({"reattach", "--all"}).device, "");
    EXPECT_EQ(refused({"reattach"}), "missing argument: DEVICE or --all; see 'nerofs help reattach'");
    EXPECT_EQ(refused({"reattach", "--all", "/dev/nbd0"}),
              "option '--all': takes no DEVICE; see 'nerofs help reattach'");
    EXPECT_EQ(parsed<nerofs_disconnect>({"disconnect", "/dev/nbd0"}).device, "/dev/nbd0");
    EXPECT_EQ(refused({"disconnect"}), "missing argument: DEVICE; see 'nerofs help disconnect'");
}

TEST(nerofs_command, serve) {
    const auto on_socket = parsed<nerofs_serve>({"serve", "image", "--socket", "/run/s"});
    EXPECT_EQ(on_socket.source, "image");
    EXPECT_EQ(on_socket.socket, "/run/s");
    EXPECT_EQ(on_socket.listen, std::nullopt);
    EXPECT_EQ(on_socket.name, "");
    EXPECT_EQ(on_socket.connections, std::nullopt);
    const auto on_both = parsed<nerofs_serve>(
        {"serve", "--listen=localhost:10809", "--socket=/s", "image", "--name", "x y", "--connections", "64"});
    EXPECT_EQ(on_both.listen, (listen_address{"localhost", 10809}));
    EXPECT_EQ(on_both.name, "x y");
    EXPECT_EQ(on_both.connections, 64u);
    EXPECT_EQ(parsed<nerofs_serve>({"serve", "i", "--listen", "[::1]:0"}).listen, (listen_address{"::1", 0}));
    EXPECT_EQ(refused({"serve", "i"}), "missing option: --socket PATH or --listen HOST:PORT; see 'nerofs help serve'");
    EXPECT_EQ(refused({"serve", "--socket", "/s"}), "missing argument: SOURCE; see 'nerofs help serve'");
    EXPECT_EQ(refused({"serve", "i", "--socket="}), "option '--socket': must not be empty; see 'nerofs help serve'");
    EXPECT_EQ(refused({"serve", "i", "--socket", "/s", "--connections", "0"}),
              "option '--connections': '0' must be 1 to 64; see 'nerofs help serve'");
    for (const std::string bad :
         {"", "host", ":1", "host:", "host:65536", "host:x", "::1:80", "[::1]", "[]:1", "[host]:1", "a b:1"})
        EXPECT_EQ(refused({"serve", "i", "--listen", bad}),
                  "option '--listen': '" + bad + "' must be HOST:PORT; all addresses are 0.0.0.0:PORT or [::]:PORT");
    EXPECT_EQ(refused({"serve", "i", "--socket", "/s", "--name", std::string(4097, 'x')}),
              "option '--name': is longer than 4096 bytes; see 'nerofs help serve'");
}

TEST(nerofs_command, files_of_images) {
    EXPECT_EQ(parsed<nerofs_ls>({"ls", "i:/etc", "-l"}).what, "i:/etc");
    EXPECT_TRUE(parsed<nerofs_ls>({"ls", "i", "-l"}).long_lines);
    EXPECT_TRUE(parsed<nerofs_ls>({"ls", "i", "--json"}).json);
    EXPECT_EQ(parsed<nerofs_cat>({"cat", "i:f"}).what, "i:f");
    EXPECT_TRUE(parsed<nerofs_stat>({"stat", "i:f", "--json"}).json);
    EXPECT_EQ(parsed<nerofs_extract>({"extract", "i:f", "d"}).directory, "d");
    EXPECT_EQ(parsed<nerofs_ls>({"ls", "i", "-o", "cache.dir=/c"}).options.remote.cache_directory, "/c");
    EXPECT_EQ(parsed<nerofs_ls>({"ls", "i", "-o", "cache.dir=/c", "-o", "oci.layer=2"}).options.remote.cache_directory,
              "/c");
    EXPECT_TRUE(parsed<nerofs_cat>({"cat", "-o", "cache=none", "i:f"}).options.remote.no_cache);
    EXPECT_EQ(parsed<nerofs_stat>({"stat", "i:f", "-o", "oci.layer=2"}).options.oci.layer, 2u);
    EXPECT_EQ(parsed<nerofs_extract>({"extract", "i:f", "d", "-o", "oci.layer=2"}).options.oci.layer, 2u);
    EXPECT_EQ(refused({"ls"}), "missing argument: SOURCE; see 'nerofs help ls'");
    EXPECT_EQ(refused({"cat", ""}), "argument SOURCE:PATH: must not be empty; see 'nerofs help cat'");
    EXPECT_EQ(refused({"extract", "i"}), "missing argument: DIR; see 'nerofs help extract'");
    EXPECT_EQ(refused({"extract", "i", "d", "e"}),
              "too many arguments: only SOURCE and DIR are wanted; see 'nerofs help extract'");
}

TEST(nerofs_command, index_push) {
    const auto push = parsed<nerofs_index_push>({"index", "push", "docker://r.example/a", "-o", "cache=none"});
    EXPECT_EQ(push.image, "docker://r.example/a");
    EXPECT_TRUE(push.options.remote.no_cache);
    EXPECT_EQ(parsed<nerofs_index>({"index", "./push"}).source, "./push");
    for (const std::vector<std::string>& wrong :
         {std::vector<std::string>{"index", "push"}, {"index", "push", "a", "b"}, {"index", "push", ""}})
        EXPECT_EQ(refused(wrong), "'nerofs index push' takes one IMAGE; a file named push is ./push");
    EXPECT_EQ(parsed<nerofs_index_push>({"index", "push", "docker://r.example/a", "-O", "cache=none"})
                  .options.remote.no_cache,
              true);
    EXPECT_EQ(refused({"index", "push", "a", "-O", "cache=none", "-o", "cache=none"}),
              "options '-o' and '-O': are the same for 'nerofs index push'; see 'nerofs help index'");
}

TEST(nerofs_command, index) {
    EXPECT_EQ(parsed<nerofs_index>({"index", "a.tar"}).out, "a.tar.erofs");
    EXPECT_EQ(parsed<nerofs_index>({"index", "-", "-o", "x"}).source, "-");
    EXPECT_FALSE(parsed<nerofs_index>({"index", "-", "-o", "x"}).fetched);
    const auto layer = parsed<nerofs_index>({"index", "r.example/a", "-O", "oci.layer=1", "-o", "x"});
    EXPECT_TRUE(layer.fetched);
    EXPECT_EQ(layer.options.oci.layer, 1U);
    EXPECT_TRUE(parsed<nerofs_index>({"index", "https://x.example/a.tar", "-o", "x"}).fetched);
    EXPECT_EQ(refused({"index", "https://x.example/a.tar"}), "missing option: -o OUT; see 'nerofs help index'");
    EXPECT_EQ(parsed<nerofs_index>({"index", "a.tar.gz", "--output=x", "--zinfo", "z"}).zinfo, "z");
    EXPECT_EQ(refused({"index"}), "missing argument: SOURCE; see 'nerofs help index'");
    EXPECT_EQ(refused({"index", "-"}), "missing option: -o OUT; see 'nerofs help index'");
    EXPECT_EQ(refused({"index", "a", "-o", ""}), "option '-o': must not be empty; see 'nerofs help index'");
}

TEST(nerofs_command, help_and_version) {
    EXPECT_EQ(parsed<nerofs_help>({"help"}).topic, "");
    EXPECT_EQ(parsed<nerofs_help>({"--help"}).topic, "");
    EXPECT_EQ(parsed<nerofs_help>({"-h", "mount"}).topic, "");
    EXPECT_EQ(parsed<nerofs_help>({"help", "serve"}).topic, "serve");
    for (const command_info& command : nerofs_commands()) {
        const std::string name(command.name);
        EXPECT_EQ(parsed<nerofs_help>({name, "--help"}).topic, name);
        EXPECT_EQ(parsed<nerofs_help>({name, "-h", "--nonsense"}).topic, name);
    }
    parsed<nerofs_version>({"version"});
    parsed<nerofs_version>({"--version"});
    parsed<nerofs_version>({"-V"});
    EXPECT_EQ(refused({"help", "mont"}), "command 'mont': not known; did you mean 'mount'?");
    EXPECT_EQ(refused({"help", "a", "b"}), "too many arguments: only COMMAND is wanted; see 'nerofs help help'");
}

TEST(nerofs_command, an_unknown_command_suggests_the_nearest) {
    EXPECT_EQ(refused({"unmount", "/mnt"}), "command 'unmount': not known; did you mean 'umount'?");
    EXPECT_EQ(refused({"lsit"}), "command 'lsit': not known; did you mean 'list'?");
    EXPECT_EQ(refused({"frobnicate"}), "command 'frobnicate': not known; see 'nerofs help'");
    EXPECT_EQ(refused({}), "missing command; see 'nerofs help'");
    EXPECT_EQ(refused({"--"}), "missing command; see 'nerofs help'");
    EXPECT_EQ(refused({"--jason", "list"}), "option '--jason': not known");
}

}  // namespace
}  // namespace nerofs::cli
