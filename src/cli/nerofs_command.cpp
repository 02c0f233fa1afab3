#include "cli/nerofs_command.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "cli/option_values.h"
#include "cli/text.h"

namespace nerofs::cli {
namespace {

constexpr flag_spec help_flag{'h', "help", "", "show this help", true};
constexpr flag_spec version_flag{'V', "version", "", "show the version", true};
constexpr flag_spec json_flag{0, "json", "", "print JSON"};

constexpr std::array top_flags = {help_flag, version_flag};
constexpr std::array help_only = {help_flag};
constexpr std::array umount_table = {flag_spec{'l', "lazy", "", "detach now, end when the last user is gone"},
                                     help_flag};
constexpr std::array json_table = {json_flag, help_flag};
constexpr flag_spec remote_flag{'o', "options", "LIST",
                                "how a source that isn't on this machine is fetched; see 'nerofs help mount'"};
constexpr std::array ls_table = {flag_spec{'l', "long", "", "mode, links, owner, size and time, too"}, json_flag,
                                 remote_flag, help_flag};
constexpr std::array stat_table = {json_flag, remote_flag, help_flag};
constexpr std::array content_table = {remote_flag, help_flag};
constexpr std::array index_table = {
    flag_spec{'o', "output", "OUT", "where the index goes, default: FILE.erofs; of push: as -O"},
    flag_spec{'O', "options", "LIST", "how what isn't on this machine is fetched; see 'nerofs help mount'"},
    flag_spec{0, "zinfo", "FILE", "places in the gzip stream where decoding can begin, too"},
    help_flag,
};
constexpr std::array reattach_table = {flag_spec{0, "all", "", "every device that has lost its processes"}, help_flag};
constexpr std::array serve_table = {
    flag_spec{0, "socket", "PATH", "listen on a unix socket"},
    flag_spec{0, "listen", "HOST:PORT", "listen on TCP; port 0 is any free one"},
    flag_spec{0, "name", "EXPORT", "the name clients ask for; default: none"},
    flag_spec{0, "connections", "N", "how many connections at once, 1 to 64"},
    remote_flag,
    help_flag,
};

constexpr std::array fetch_table = {
    flag_spec{'o', "options", "LIST", "how a source that isn't mounted is fetched; see 'nerofs help mount'"},
    help_flag,
};
constexpr std::array cache_table = {
    json_flag,
    flag_spec{'o', "options", "LIST", "cache.dir=PATH and cache.size=BYTES, where they aren't the default"},
    help_flag,
};

const std::array<command_info, 16>& commands() {
    static const std::array<command_info, 16> table = {{
        {"mount", "[-t TYPE] [-o LIST] SOURCE DIR", "mount an image on a directory", nerofs_mount_flags(),
         "SOURCE is an EROFS image: a file or a block device, an image in a registry (docker://NAME, or NAME with "
         "oci.*\n"
         "options), or an http or https URL. What isn't on this machine is fetched as it is read, and cached. Objects\n"
         "(s3://BUCKET/KEY or s3.* options) are understood, but this version can't mount them.\n"
         "Without a TYPE an image is mounted by the best way that the kernel has.\n",
         "  nerofs mount image.erofs /mnt\n"
         "  nerofs mount docker://registry.example/team/tools:1.2 /mnt\n"
         "  nerofs mount -o cache.size=20G https://images.example/tools.erofs /mnt\n"
         "  nerofs mount -t erofs.nbd -o nosuid,nodev image.erofs /mnt\n"
         "  nerofs mount -t erofs.nbd -o nbd.connections=2,nbd.timeout=10 image.erofs /mnt\n"},
        {"umount", "[-l] DIR|DEVICE", "unmount, and end the device that was behind the mount", umount_table,
         "A device that another mount or mount namespace still uses goes on.\n",
         "  nerofs umount /mnt\n"
         "  nerofs umount --lazy /dev/nbd0\n"},
        {"list", "[--json]", "list the mounts of nerofs", json_table, "",
         "  nerofs list\n"
         "  nerofs list --json\n"},
        {"status", "[MOUNT|DEVICE] [--json]", "show how a mount is served and how it is doing", json_table,
         "Without an argument it shows all of them.\n",
         "  nerofs status /mnt\n"
         "  nerofs status --json\n"},
        {"reattach", "DEVICE | --all", "serve a device again whose processes died", reattach_table,
         "A device that is being served is left as it is, and said to be so.\n",
         "  nerofs reattach /dev/nbd0\n"
         "  nerofs reattach --all\n"},
        {"disconnect", "DEVICE", "end a device, even one that is stuck", help_only,
         "The device is never opened, so this works when opening it would hang. Readers get an I/O error.\n",
         "  nerofs disconnect /dev/nbd0\n"},
        {"serve", "SOURCE [--socket PATH] [--listen HOST:PORT] [--name EXPORT] [--connections N] [-o LIST]",
         "serve an image to any NBD client", serve_table,
         "At least one of --socket and --listen is needed. The export is read-only. NBD has no passwords: who can\n"
         "connect can read.\n",
         "  nerofs serve image.erofs --socket /run/image.sock\n"
         "  nerofs serve image.erofs --listen 127.0.0.1:10809 --name image\n"
         "  nerofs serve image.erofs --listen '[::1]:10809' --connections 8\n"},
        {"fetch", "MOUNT|DEVICE|SOURCE [-o LIST]", "fetch all of an image into the cache", fetch_table,
         "Of a mount, its own fetcher does it, and goes on with it when this command is interrupted.\n",
         "  nerofs fetch /mnt\n"
         "  nerofs fetch docker://registry.example/team/tools:1.2\n"},
        {"cache", "ls|rm NAME...|gc [--json] [-o LIST]", "show and empty the cache of fetched images", cache_table,
         "rm removes blobs by the names that ls shows, or by digest; one that is in use is not removed. gc removes "
         "what\n"
         "crashes have left, and keeps the cache to its size.\n",
         "  nerofs cache ls\n"
         "  nerofs cache rm sha256:4bc453b53cb3d914b45f4b250294236adba2c0e09ff6f03793949e7e39fd4cc1\n"
         "  nerofs cache gc\n"},
        {"ls", "SOURCE[:PATH] [-l] [--json] [-o LIST]", "list a directory of an image that isn't mounted", ls_table,
         "SOURCE is a file or block device here: an EROFS image, or a tar archive, which may be compressed by gzip or\n"
         "zstd; or an image in a registry or behind a URL, of which only what is needed is fetched. Of these PATH "
         "begins\n"
         "with a '/', behind the last ':/': docker://HOST:5000/NAME:TAG:/etc. Without a PATH it is the root; symlinks\n"
         "are followed within the image. Needs no privileges; what is fetched for others than root is kept in\n"
         "~/.cache/nerofs.\n",
         "  nerofs ls image.erofs\n"
         "  nerofs ls -l image.erofs:/usr/bin\n"
         "  nerofs ls --json layer.tar.gz:etc\n"
         "  nerofs ls docker://registry.example/team/tools:1.2:/usr/bin\n"},
        {"cat", "SOURCE:PATH [-o LIST]", "print a file of an image that isn't mounted", content_table, "",
         "  nerofs cat image.erofs:/etc/os-release\n"
         "  nerofs cat layer.tar.zst:etc/passwd\n"
         "  nerofs cat https://images.example/tools.erofs:/etc/os-release\n"},
        {"stat", "SOURCE[:PATH] [--json] [-o LIST]", "show all that is known of a file of an image", stat_table,
         "A symlink at the end of PATH isn't followed.\n",
         "  nerofs stat image.erofs:/usr/bin/ping\n"
         "  nerofs stat --json image.erofs\n"},
        {"extract", "SOURCE[:PATH] DIR [-o LIST]", "write a directory or file of an image into DIR", content_table,
         "DIR is made when it isn't there. Nothing that exists is overwritten, and nothing is written outside of DIR.\n"
         "Owners, devices, set-id bits and extended attributes take root, and are left out otherwise.\n",
         "  nerofs extract image.erofs:/etc /tmp/etc\n"
         "  nerofs extract layer.tar.gz /tmp/layer\n"
         "  nerofs extract -o oci.platform=linux/arm64 docker://registry.example/team/tools:1.2 /tmp/tools\n"},
        {"index", "SOURCE|- [-o OUT] [-O LIST] [--zinfo FILE] | push IMAGE [-O LIST]",
         "make the EROFS index of a tar archive, or push those of an image's layers", index_table,
         "The index holds all but the files' data: with the tar right behind it, it is an EROFS image (512-byte "
         "blocks,\n"
         "Linux 6.4). SOURCE is a file, a URL, or a layer in a registry (docker://NAME, -O oci.layer=N if it has\n"
         "several); it may be compressed by gzip or zstd. What goes behind the index is the tar itself.\n"
         "push puts what is known of an image's layers beside it in its registry: other machines find it there, "
         "and\n"
         "needn't read whole layers first. LIST is as for 'nerofs help mount'. A file named push is ./push.\n",
         "  nerofs index layer.tar -o layer.erofs\n"
         "  nerofs index layer.tar.gz -o layer.erofs --zinfo layer.zinfo\n"
         "  nerofs index docker://registry.example/team/tools:1.2 -O oci.layer=0 -o layer.erofs\n"
         "  nerofs index push docker://registry.example/team/tools:1.2\n"},
        {"help", "[COMMAND]", "show help", help_only, "",
         "  nerofs help\n"
         "  nerofs help mount\n"},
        {"version", "", "show the version", help_only, "", "  nerofs version\n"},
    }};
    return table;
}

error usage(std::string text, std::string_view hint = {}) {
    return make_error(error_kind::usage, std::move(text)).with_hint(hint);
}

result<const command_info*> find_command(std::string_view name) {
    std::vector<std::string_view> names;
    for (const command_info& command : commands()) {
        if (command.name == name) return &command;
        names.push_back(command.name);
    }
    const std::string near = did_you_mean(name, names);
    return fail(usage(fmt::format("command {}: not known", quoted(name)), near.empty() ? "see 'nerofs help'" : near));
}

// The flags of a command by name, and its operands.
class parsed {
  public:
    explicit parsed(scanned_arguments found) : found_(std::move(found)) {}

    bool has(std::string_view name) const { return find(name) != nullptr; }
    const std::string* find(std::string_view name) const {
        const std::string* last = nullptr;
        for (const scanned_flag& flag : found_.flags)
            if (flag.spec->name == name) last = &flag.value;  // the later counts
        return last;
    }
    std::vector<std::string> each(std::string_view name) const {
        std::vector<std::string> values;
        for (const scanned_flag& flag : found_.flags)
            if (flag.spec->name == name) values.push_back(flag.value);
        return values;
    }
    std::size_t operands() const { return found_.operands.size(); }
    const std::vector<std::string>& all() const { return found_.operands; }

    // The operand, or nothing where none was given. More than one, or an empty one, is an error.
    result<std::string> at_most_one(std::string_view name) const {
        if (found_.operands.size() > 1)
            return fail(usage(name.empty() ? "too many arguments"
                                           : fmt::format("too many arguments: only {} is wanted", name)));
        if (found_.operands.empty()) return std::string();
        if (found_.operands[0].empty()) return fail(usage(fmt::format("argument {}: must not be empty", name)));
        return found_.operands[0];
    }
    result<std::string> exactly_one(std::string_view name) const {
        if (found_.operands.empty()) return fail(usage(fmt::format("missing argument: {}", name)));
        return at_most_one(name);
    }
    status none() const {
        if (!found_.operands.empty()) return fail(usage("too many arguments: none is wanted"));
        return {};
    }

  private:
    scanned_arguments found_;
};

result<nerofs_command> parse_reattach(const parsed& line) {
    if (line.has("all")) {
        if (line.operands() > 0) return fail(usage("option '--all': takes no DEVICE"));
        return nerofs_reattach{};
    }
    NEROFS_TRY(std::string device, line.exactly_one("DEVICE or --all"));
    return nerofs_reattach{std::move(device)};
}

// All lists that were given, as one.
result<mount_options> options_of(const parsed& line) {
    mount_options options;
    for (const std::string& list : line.each("options")) NEROFS_CHECK(add_mount_options(options, list));
    NEROFS_CHECK(check_mount_options(options));
    return options;
}

result<listen_address> parse_listen(std::string_view text) {
    const std::size_t colon = text.rfind(':');
    listen_address address;
    bool sound = colon != std::string_view::npos && colon > 0 && whole_number(text.substr(colon + 1), address.port);
    if (sound) {
        std::string_view host = text.substr(0, colon);
        const bool bracketed = host.size() > 2 && host.front() == '[' && host.back() == ']';
        if (bracketed) host = host.substr(1, host.size() - 2);
        // An address with colons needs its brackets: without them the port couldn't be told apart.
        sound = only(host, is_graphic) && host.find_first_of("[]") == std::string_view::npos &&
                bracketed == (host.find(':') != std::string_view::npos);
        address.host = host;
    }
    if (!sound)
        return fail(usage(fmt::format("option '--listen': {} must be HOST:PORT", quoted(text)),
                          "all addresses are 0.0.0.0:PORT or [::]:PORT"));
    return address;
}

result<nerofs_command> parse_serve(const parsed& line) {
    nerofs_serve serve;
    NEROFS_TRY(serve.source, line.exactly_one("SOURCE"));
    if (const std::string* path = line.find("socket")) {
        if (path->empty()) return fail(usage("option '--socket': must not be empty"));
        serve.socket = *path;
    }
    if (const std::string* text = line.find("listen")) {
        NEROFS_TRY(serve.listen, parse_listen(*text));
    }
    if (serve.socket.empty() && !serve.listen)
        return fail(usage("missing option: --socket PATH or --listen HOST:PORT"));
    if (const std::string* name = line.find("name")) {
        constexpr std::size_t longest_name = 4096;  // the NBD protocol's limit on strings
        if (name->size() > longest_name) return fail(usage("option '--name': is longer than 4096 bytes"));
        serve.name = *name;
    }
    NEROFS_TRY(serve.options, options_of(line));
    if (const std::string* text = line.find("connections")) {
        const complaint why = take_number(*text, 1, 64, serve.connections);
        if (!why.empty()) return fail(usage(fmt::format("option '--connections': {} {}", quoted(*text), why)));
    }
    return serve;
}

result<nerofs_command> parse_fetch(const parsed& line) {
    nerofs_fetch fetch;
    NEROFS_TRY(fetch.target, line.exactly_one("MOUNT, DEVICE or SOURCE"));
    NEROFS_TRY(fetch.options, options_of(line));
    return fetch;
}

result<nerofs_command> parse_cache(const parsed& line) {
    using action_kind = nerofs_cache::action_kind;
    nerofs_cache cache;
    if (line.operands() == 0) return fail(usage("missing argument: ls, rm or gc"));
    cache.names = line.all();
    const std::string what = cache.names.front();
    cache.names.erase(cache.names.begin());
    if (what == "ls")
        cache.action = action_kind::list;
    else if (what == "rm")
        cache.action = action_kind::remove;
    else if (what == "gc")
        cache.action = action_kind::collect;
    else
        return fail(usage(fmt::format("argument {}: must be ls, rm or gc", quoted(what))));
    const bool removes = cache.action == action_kind::remove;
    if (removes && cache.names.empty()) return fail(usage("missing argument: NAME"));
    if (!removes && !cache.names.empty()) return fail(usage(fmt::format("too many arguments: '{}' takes none", what)));
    cache.json = line.has("json");
    NEROFS_TRY(cache.options, options_of(line));
    return cache;
}

result<nerofs_command> parse_extract(const parsed& line) {
    const std::vector<std::string>& all = line.all();
    if (all.empty() || all[0].empty()) return fail(usage("missing argument: SOURCE"));
    if (all.size() < 2 || all[1].empty()) return fail(usage("missing argument: DIR"));
    if (all.size() > 2) return fail(usage("too many arguments: only SOURCE and DIR are wanted"));
    NEROFS_TRY(mount_options options, options_of(line));
    return nerofs_extract{all[0], all[1], std::move(options)};
}

result<nerofs_command> parse_index_push(const parsed& line) {
    nerofs_index_push push;
    if (line.operands() != 2 || line.all()[1].empty())
        return fail(usage("'nerofs index push' takes one IMAGE", "a file named push is ./push"));
    if (line.has("zinfo")) return fail(usage("option '--zinfo': goes with a FILE only"));
    push.image = line.all()[1];
    const std::string* list = line.find("output");
    if (list != nullptr && line.find("options") != nullptr)
        return fail(usage("options '-o' and '-O': are the same for 'nerofs index push'"));
    if (list == nullptr) list = line.find("options");
    if (list != nullptr) {
        NEROFS_TRY(push.options, parse_mount_options(*list));
    }
    return push;
}

result<nerofs_command> parse_index(const parsed& line) {
    if (line.operands() > 0 && line.all()[0] == "push") return parse_index_push(line);
    nerofs_index index;
    NEROFS_TRY(index.source, line.exactly_one("SOURCE"));
    if (const std::string* list = line.find("options")) {
        NEROFS_TRY(index.options, parse_mount_options(*list));
    }
    index.fetched = index.options.oci.given || index.source.find("://") != std::string::npos;
    const std::string* out = line.find("output");
    if (out == nullptr && (index.fetched || index.source == "-")) return fail(usage("missing option: -o OUT"));
    index.out = out != nullptr ? *out : index.source + ".erofs";
    if (index.out.empty()) return fail(usage("option '-o': must not be empty"));
    if (const std::string* zinfo = line.find("zinfo")) {
        if (zinfo->empty()) return fail(usage("option '--zinfo': must not be empty"));
        index.zinfo = *zinfo;
    }
    return index;
}

result<nerofs_command> parse_help(const parsed& line) {
    NEROFS_TRY(nerofs_help help, [&]() -> result<nerofs_help> {
        NEROFS_TRY(std::string topic, line.at_most_one("COMMAND"));
        return nerofs_help{std::move(topic)};
    }());
    if (!help.topic.empty()) NEROFS_CHECK(find_command(help.topic));
    return help;
}

result<nerofs_command> parse_arguments(const command_info& command, std::span<const std::string> args) {
    if (command.name == "mount") {
        NEROFS_TRY(mount_command mount, parse_nerofs_mount(args));
        if (mount.action == mount_action::help) return nerofs_help{"mount"};
        return mount;
    }
    NEROFS_TRY(scanned_arguments found, scan_arguments(args, command.flags));
    const parsed line(std::move(found));
    if (line.has("help")) return nerofs_help{std::string(command.name)};
    if (command.name == "umount") {
        NEROFS_TRY(std::string target, line.exactly_one("DIR or DEVICE"));
        return nerofs_umount{std::move(target), line.has("lazy")};
    }
    if (command.name == "status") {
        NEROFS_TRY(std::string target, line.at_most_one("MOUNT or DEVICE"));
        return nerofs_status{std::move(target), line.has("json")};
    }
    if (command.name == "reattach") return parse_reattach(line);
    if (command.name == "disconnect") {
        NEROFS_TRY(std::string device, line.exactly_one("DEVICE"));
        return nerofs_disconnect{std::move(device)};
    }
    if (command.name == "serve") return parse_serve(line);
    if (command.name == "fetch") return parse_fetch(line);
    if (command.name == "cache") return parse_cache(line);
    if (command.name == "ls") {
        NEROFS_TRY(std::string what, line.exactly_one("SOURCE"));
        NEROFS_TRY(mount_options options, options_of(line));
        return nerofs_ls{std::move(what), line.has("long"), line.has("json"), std::move(options)};
    }
    if (command.name == "cat") {
        NEROFS_TRY(std::string what, line.exactly_one("SOURCE:PATH"));
        NEROFS_TRY(mount_options options, options_of(line));
        return nerofs_cat{std::move(what), std::move(options)};
    }
    if (command.name == "stat") {
        NEROFS_TRY(std::string what, line.exactly_one("SOURCE"));
        NEROFS_TRY(mount_options options, options_of(line));
        return nerofs_stat{std::move(what), line.has("json"), std::move(options)};
    }
    if (command.name == "extract") return parse_extract(line);
    if (command.name == "index") return parse_index(line);
    if (command.name == "help") return parse_help(line);
    NEROFS_CHECK(line.none());
    if (command.name == "list") return nerofs_list{line.has("json")};
    return nerofs_version{};
}

}  // namespace

result<nerofs_command> parse_nerofs_command(std::span<const std::string> args) {
    if (args.empty()) return fail(usage("missing command", "see 'nerofs help'"));
    if (args[0].starts_with('-')) {
        NEROFS_TRY(const scanned_arguments found, scan_arguments(args.first(1), top_flags));
        if (found.flags.empty()) return fail(usage("missing command", "see 'nerofs help'"));  // "--" or "-"
        if (found.flags[0].spec->letter == 'V') return nerofs_version{};
        return nerofs_help{};
    }
    NEROFS_TRY(const command_info* command, find_command(args[0]));
    auto parsed_command = parse_arguments(*command, args.subspan(1));
    if (!parsed_command && parsed_command.error().hint.empty())
        return fail(std::move(parsed_command).error().with_hint(fmt::format("see 'nerofs help {}'", command->name)));
    return parsed_command;
}

std::span<const command_info> nerofs_commands() {
    return commands();
}

}  // namespace nerofs::cli
