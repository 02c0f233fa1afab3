#include "cli/mount_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "cli/option_list.h"
#include "cli/option_values.h"
#include "cli/text.h"

namespace nerofs::cli {
namespace {

// mount(2) copies one page of data and cuts the rest off without a word.
constexpr std::size_t longest_data = 4095;

// ---- flags

struct mount_flag {
    std::string_view name;
    unsigned long set;
    unsigned long clear;
    bool propagation = false;
};

// The kernel lets one of the atime rules win when several are set; "later wins" needs them to clear each other.
constexpr unsigned long atime_rules = MS_NOATIME | MS_RELATIME | MS_STRICTATIME;
constexpr unsigned long propagations = MS_SHARED | MS_PRIVATE | MS_SLAVE | MS_UNBINDABLE | MS_REC;

constexpr std::array flag_table = {
    mount_flag{"ro", MS_RDONLY, 0},
    mount_flag{"rw", 0, 0},  // see mount_options::flags
    mount_flag{"suid", 0, MS_NOSUID},
    mount_flag{"nosuid", MS_NOSUID, 0},
    mount_flag{"dev", 0, MS_NODEV},
    mount_flag{"nodev", MS_NODEV, 0},
    mount_flag{"exec", 0, MS_NOEXEC},
    mount_flag{"noexec", MS_NOEXEC, 0},
    mount_flag{"async", 0, MS_SYNCHRONOUS},
    mount_flag{"sync", MS_SYNCHRONOUS, 0},
    mount_flag{"dirsync", MS_DIRSYNC, 0},
    mount_flag{"atime", 0, MS_NOATIME},
    mount_flag{"noatime", MS_NOATIME, atime_rules},
    mount_flag{"relatime", MS_RELATIME, atime_rules},
    mount_flag{"norelatime", 0, MS_RELATIME},
    mount_flag{"strictatime", MS_STRICTATIME, atime_rules},
    mount_flag{"nostrictatime", 0, MS_STRICTATIME},
    mount_flag{"diratime", 0, MS_NODIRATIME},
    mount_flag{"nodiratime", MS_NODIRATIME, 0},
    mount_flag{"lazytime", MS_LAZYTIME, 0},
    mount_flag{"nolazytime", 0, MS_LAZYTIME},
    mount_flag{"symfollow", 0, MS_NOSYMFOLLOW},
    mount_flag{"nosymfollow", MS_NOSYMFOLLOW, 0},
    mount_flag{"mand", MS_MANDLOCK, 0},
    mount_flag{"nomand", 0, MS_MANDLOCK},
    mount_flag{"iversion", MS_I_VERSION, 0},
    mount_flag{"noiversion", 0, MS_I_VERSION},
    mount_flag{"silent", MS_SILENT, 0},
    mount_flag{"loud", 0, MS_SILENT},
    mount_flag{"remount", MS_REMOUNT, 0},
    mount_flag{"move", MS_MOVE, 0},
    mount_flag{"bind", MS_BIND, MS_REC},
    mount_flag{"rbind", MS_BIND | MS_REC, 0},
    mount_flag{"shared", MS_SHARED, propagations, true},
    mount_flag{"rshared", MS_SHARED | MS_REC, propagations, true},
    mount_flag{"private", MS_PRIVATE, propagations, true},
    mount_flag{"rprivate", MS_PRIVATE | MS_REC, propagations, true},
    mount_flag{"slave", MS_SLAVE, propagations, true},
    mount_flag{"rslave", MS_SLAVE | MS_REC, propagations, true},
    mount_flag{"unbindable", MS_UNBINDABLE, propagations, true},
    mount_flag{"runbindable", MS_UNBINDABLE | MS_REC, propagations, true},
};

// ---- options that mount(8), systemd and fstab use

// mount(8) turns user, owner and group into nosuid, nodev and noexec before it calls a helper.
constexpr std::array<std::string_view, 19> ignored_table = {
    "defaults", "quiet",  "user",    "nouser", "users", "nousers", "owner",   "noowner", "group", "nogroup",
    "auto",     "noauto", "_netdev", "nofail", "x-*",   "X-*",     "comment", "uhelper", "helper"};

bool is_ignored(std::string_view name) {
    return name.starts_with("x-") || name.starts_with("X-") ||
           std::find(ignored_table.begin(), ignored_table.end(), name) != ignored_table.end();
}

// ---- options of nerofs

struct nerofs_option {
    option_info info;
    bool secret;  // its value may hold one: it is never shown
    complaint (*take)(mount_options& into, std::string_view value);
};

constexpr unsigned most_timeout = 30 * 24 * 3600;  // the kernel multiplies by HZ into 32 bits
constexpr unsigned most_dead_timeout = 365 * 24 * 3600;

constexpr std::array option_table =
    {
        nerofs_option{{"loop", "", "use a loop device"},
                      false,
                      [](mount_options& o, std::string_view) { return o.loop = true, complaint(); }},
        nerofs_option{
            {"nbd.method", "auto|netlink|ioctl", "how the device is set up; auto tries netlink first"},
            false,
            [](mount_options& o, std::string_view v) {
                return take_word<nbd_method>(
                    v,
                    {{"auto", nbd_method::automatic}, {"netlink", nbd_method::netlink}, {"ioctl", nbd_method::ioctl}},
                    o.nbd.method);
            }},
        nerofs_option{{"nbd.connections", "N", "connections to the device, 1 to 64"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_number(v, 1, 64, o.nbd.connections); }},
        nerofs_option{
            {"nbd.timeout", "SECONDS", "how long the kernel waits for one answer"},
            false,
            [](mount_options& o, std::string_view v) { return take_seconds(v, 1, most_timeout, o.nbd.timeout); }},
        nerofs_option{{"nbd.dead_timeout", "SECONDS", "how long readers wait for a server to come back; 0: not at all"},
                      false,
                      [](mount_options& o, std::string_view v) {
                          return take_seconds(v, 0, most_dead_timeout, o.nbd.dead_timeout);
                      }},
        nerofs_option{{"cache", "none", "keep what is fetched for this mount only"},
                      false,
                      [](mount_options& o, std::string_view v) {
                          return take_word<bool>(v, {{"none", true}}, o.remote.no_cache);
                      }},
        nerofs_option{{"cache.dir", "PATH", "where what is fetched is kept; default: /var/cache/nerofs"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_path(v, o.remote.cache_directory); }},
        nerofs_option{{"cache.size", "BYTES", "what the cache may take on disk; default: a quarter of the file system"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_bytes(v, o.remote.cache_bytes); }},
        nerofs_option{{"prefetch", "none|metadata|all", "what is fetched before it is read; default: metadata"},
                      false,
                      [](mount_options& o, std::string_view v) {
                          return take_word<prefetch>(
                              v, {{"none", prefetch::none}, {"metadata", prefetch::metadata}, {"all", prefetch::all}},
                              o.remote.ahead);
                      }},
        nerofs_option{{"prefetch.rate", "BYTES", "how much of it a second at most"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_bytes(v, o.remote.rate); }},
        nerofs_option{{"source.timeout", "SECONDS", "how long a read waits for the source; default: 60"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_seconds(v, 1, 86400, o.remote.timeout); }},
        nerofs_option{{"source.ca_file", "PATH", "the certificates to trust, PEM; default: the system's"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_path(v, o.remote.ca_file); }},
        nerofs_option{{"source.insecure", "", "allow http and certificates that can't be verified"},
                      false,
                      [](mount_options& o, std::string_view) { return o.remote.insecure = true, complaint(); }},
        nerofs_option{{"oci.blob", "[sha256:]HEX", "the blob of the image to mount, by digest"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_digest(v, o.oci.blob); }},
        nerofs_option{{"oci.layer", "N", "the layer of the image to mount, from 0"},
                      false,
                      [](mount_options& o, std::string_view v) {
                          std::uint32_t number = 0;
                          if (!whole_number(v, number)) return complaint("must be the number of a layer, from 0");
                          o.oci.layer = number;
                          return complaint();
                      }},
        nerofs_option{{"oci.platform", "OS/ARCH[/VARIANT]", "which image of a list; default: this machine's"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_platform(v, o.oci.platform); }},
        nerofs_option{{"oci.username", "NAME", "who to be for the registry"},
                      true,
                      [](mount_options& o, std::string_view v) { return take_username(v, o.oci.username); }},
        nerofs_option{{"oci.password", "PASSWORD", "the password; better a file, as others can see command lines"},
                      true,
                      [](mount_options& o, std::string_view v) { return take_text(v, o.oci.password); }},
        nerofs_option{{"oci.password_file", "PATH", "a file whose first line is the password"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_text(v, o.oci.password_file); }},
        nerofs_option{{"oci.tarindex", "PATH", "EROFS metadata for a layer that is a tar archive"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_text(v, o.oci.tarindex); }},
        nerofs_option{{"oci.zinfo", "PATH", "the seek points of a layer that is compressed with gzip"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_text(v, o.oci.zinfo); }},
        nerofs_option{{"oci.insecure", "", "allow http and certificates that can't be verified"},
                      false,
                      [](mount_options& o, std::string_view) { return o.oci.insecure = true, complaint(); }},
        nerofs_option{{"s3.endpoint", "URL", "the object store; default: Amazon's of the region"},
                      true,
                      [](mount_options& o, std::string_view v) { return take_endpoint(v, o.s3.endpoint); }},
        nerofs_option{{"s3.passwd_file", "PATH", "a file with ACCESS_KEY:SECRET_KEY"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_text(v, o.s3.passwd_file); }},
        nerofs_option{{"s3.region", "NAME", "the region that requests are signed for"},
                      false,
                      [](mount_options& o, std::string_view v) { return take_region(v, o.s3.region); }},
        nerofs_option{{"s3.sig", "2|4", "the version of the signature"},
                      false,
                      [](mount_options& o, std::string_view v) {
                          return take_word<s3_signature>(v, {{"2", s3_signature::v2}, {"4", s3_signature::v4}},
                                                         o.s3.signature);
                      }},
        nerofs_option{{"s3.urlstyle", "vhost|path", "whether the bucket is in the host name or in the path"},
                      false,
                      [](mount_options& o, std::string_view v) {
                          return take_word<s3_url_style>(
                              v, {{"vhost", s3_url_style::vhost}, {"path", s3_url_style::path}}, o.s3.url_style);
                      }},
};

// Names that can only be meant for nerofs. Handing a misspelt one to the kernel would lose it, or show a secret in a
// log.
bool is_ours(std::string_view name) {
    for (const std::string_view prefix : {"oci.", "s3.", "nbd.", "cache.", "source.", "prefetch"})
        if (name.starts_with(prefix)) return true;
    return name == "cache";
}

error complain(std::string_view option, std::string_view why) {
    return make_error(error_kind::usage, fmt::format("option {}: {}", quoted(option), why));
}

status take_flag(mount_options& into, const mount_flag& flag) {
    unsigned long& word = flag.propagation ? into.propagation : into.flags;
    word = (word & ~flag.clear) | flag.set;
    return {};
}

status take_own(mount_options& into, const nerofs_option& option, const list_item& item) {
    const option_info& info = option.info;
    if (info.value.empty() && item.value) return fail(complain(info.name, "takes no value"));
    if (!info.value.empty() && !item.value)
        return fail(complain(info.name, fmt::format("needs a value, {}={}", info.name, info.value)));
    const std::string value = item.value ? unquote(*item.value) : std::string();
    if (const complaint why = option.take(into, value); !why.empty())
        return fail(complain(option.secret ? std::string(info.name) : fmt::format("{}={}", info.name, value), why));
    if (info.name.starts_with("oci.")) into.oci.given = true;
    if (info.name.starts_with("s3.")) into.s3.given = true;
    return {};
}

status take_item(mount_options& into, const list_item& item) {
    const auto named = [&](const auto& entry) { return entry.name == item.name; };
    const auto flag = std::find_if(flag_table.begin(), flag_table.end(), named);
    if (flag != flag_table.end())
        return item.value ? status(fail(complain(item.name, "takes no value"))) : take_flag(into, *flag);
    if (is_ignored(item.name)) return {};
    const auto own = std::find_if(option_table.begin(), option_table.end(),
                                  [&](const nerofs_option& option) { return option.info.name == item.name; });
    if (own != option_table.end()) return take_own(into, *own, item);
    if (is_ours(item.name)) {
        std::vector<std::string_view> names;
        for (const nerofs_option& option : option_table) names.push_back(option.info.name);
        return fail(complain(item.name, "not known").with_hint(did_you_mean(item.name, names)));
    }
    if (!into.data.empty()) into.data += ',';
    into.data += item.whole;
    return {};
}

template <class Table, class Name>
auto column(const Table& table, Name name) {
    std::vector<decltype(name(*table.begin()))> names;
    for (const auto& row : table) names.push_back(name(row));
    return names;
}

}  // namespace

status add_mount_options(mount_options& into, std::string_view list) {
    NEROFS_TRY(const std::vector<list_item> items, split_option_list(list));
    for (const list_item& item : items) NEROFS_CHECK(take_item(into, item));
    return {};
}

status check_mount_options(const mount_options& options) {
    const oci_options& oci = options.oci;
    if (!oci.blob.empty() && oci.layer)
        return fail(error_kind::usage, "options 'oci.blob' and 'oci.layer': only one can say what to mount");
    if (!oci.password.empty() && !oci.password_file.empty())
        return fail(error_kind::usage, "options 'oci.password' and 'oci.password_file': only one can be given");
    if (options.remote.no_cache && (!options.remote.cache_directory.empty() || options.remote.cache_bytes))
        return fail(error_kind::usage, "options 'cache=none' and 'cache.*': without a cache there is nothing to set");
    if (oci.given && options.s3.given)
        return fail(error_kind::usage,
                    "options 'oci.*' and 's3.*': a source is either in a registry or in an object store");
    if (options.loop && (oci.given || options.s3.given))
        return fail(error_kind::usage, "option 'loop': only a local image can be on a loop device");
    if (options.data.size() > longest_data)
        return fail(error_kind::usage,
                    fmt::format("file-system options: {} bytes are more than the {} the kernel takes",
                                options.data.size(), longest_data));
    return {};
}

result<mount_options> parse_mount_options(std::string_view list) {
    mount_options options;
    NEROFS_CHECK(add_mount_options(options, list));
    NEROFS_CHECK(check_mount_options(options));
    return options;
}

std::span<const option_info> nerofs_options() {
    static const auto infos = column(option_table, [](const nerofs_option& option) { return option.info; });
    return infos;
}

std::span<const std::string_view> flag_options() {
    static const auto names = column(flag_table, [](const mount_flag& flag) { return flag.name; });
    return names;
}

std::span<const std::string_view> ignored_options() {
    return ignored_table;
}

}  // namespace nerofs::cli
