#include "mount/record.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <memory>
#include <optional>

#include "os/channel.h"
#include "os/files.h"
#include "serve/messages.h"

namespace nerofs::mount {
namespace {

constexpr std::string_view version_line = "nerofs-record 4";
constexpr std::size_t max_record_bytes = 131072;

std::string escaped(std::string_view value) {
    static constexpr char digits[] = "0123456789abcdef";
    std::string text;
    for (const char c : value) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte <= 0x20 || byte == '%' || byte == 0x7f) {
            text += '%';
            text += digits[byte >> 4];
            text += digits[byte & 15];
        } else {
            text += c;
        }
    }
    return text;
}

std::optional<std::string> unescaped(std::string_view value) {
    std::string text;
    for (std::size_t i = 0; i < value.size(); ++i) {
        if (value[i] != '%') {
            text += value[i];
            continue;
        }
        unsigned byte = 0;
        if (i + 2 >= value.size() ||
            std::from_chars(value.data() + i + 1, value.data() + i + 3, byte, 16).ptr != value.data() + i + 3)
            return std::nullopt;
        text += static_cast<char>(byte);
        i += 2;
    }
    return text;
}

// One list of fields for both directions.
template <class Record, class Field>
void walk(Record& r, Field&& field) {
    field("id", r.id);
    field("transport", r.transport);
    field("index", r.index);
    field("source", r.source);
    field("path", r.path);
    field("target", r.target);
    field("fs_offset", r.fs_offset);
    field("extra_devices", r.extra_devices);
    field("size", r.identity.size_bytes);
    field("mtime_ns", r.identity.mtime_ns);
    field("inode", r.identity.inode);
    field("uuid", r.identity.uuid);
    field("remote", r.remote.kind);
    field("remote_name", r.remote.name);
    field("remote_layer", r.remote.layer);
    field("remote_blob", r.remote.blob);
    field("remote_platform", r.remote.platform);
    field("remote_tarindex", r.remote.tarindex);
    field("remote_zinfo", r.remote.zinfo);
    field("remote_insecure", r.remote.insecure);
    field("remote_ca_file", r.remote.ca_file);
    field("remote_timeout", r.remote.timeout);
    field("remote_prefetch", r.remote.prefetch);
    field("remote_rate", r.remote.background_rate);
    field("credential_kind", r.remote.credential_kind);
    field("credential_place", r.remote.credential_place);
    field("credential_user", r.remote.credential_user);
    field("etag", r.remote_identity.etag);
    field("resolved", r.remote_identity.resolved);
    field("plain_http", r.remote_identity.plain_http);
    auto& parts = r.remote_identity.parts;
    std::size_t count = parts.size();
    field("parts", count);
    if constexpr (!std::is_const_v<Record>) parts.resize(std::min(count, fetch::most_parts));
    for (auto& part : parts) {
        field("part_kind", part.kind);
        field("part_key", part.key);
        field("part_digest", part.digest);
        field("part_size", part.size);
        field("part_layer", part.layer);
        field("part_layer_size", part.layer_size);
        field("part_index", part.index);
    }
    field("cache_none", r.cache.none);
    field("cache_directory", r.cache.directory);
    field("cache_bytes", r.cache.bytes);
    field("block_size", r.block_size);
    field("connections", r.connections);
    field("timeout", r.timeout);
    field("dead_timeout", r.dead_timeout);
    field("attached_at", r.attached_at);
    field("backend", r.backend);
}

struct writer {
    std::string text;
    void operator()(std::string_view key, const std::string& value) { line(key, escaped(value)); }
    void operator()(std::string_view key, std::chrono::seconds value) { line(key, std::to_string(value.count())); }
    void operator()(std::string_view key, const std::optional<std::uint32_t>& value) {
        line(key, value ? std::to_string(*value) : "");
    }
    template <class T>
    void operator()(std::string_view key, T value) {
        if constexpr (std::is_enum_v<T>) {
            line(key, std::to_string(static_cast<unsigned>(value)));
        } else {
            line(key, std::to_string(value));
        }
    }
    void line(std::string_view key, std::string_view value) { ((text += key) += '=') += value, text += '\n'; }
};

struct reader {
    std::string_view text;
    bool ok = true;

    // The fields come in the order of walk(): what is written by one version is read by the same.
    std::string_view next(std::string_view key) {
        const std::size_t end = text.find('\n');
        const std::string_view line = text.substr(0, end);
        if (end == std::string_view::npos || !line.starts_with(key) || line.size() <= key.size() ||
            line[key.size()] != '=') {
            ok = false;
            return {};
        }
        text.remove_prefix(end + 1);
        return line.substr(key.size() + 1);
    }
    void operator()(std::string_view key, std::string& value) {
        const auto plain = unescaped(next(key));
        if (plain)
            value = *plain;
        else
            ok = false;
    }
    void operator()(std::string_view key, bool& value) {
        int number = 0;
        (*this)(key, number);
        value = number == 1;
        ok = ok && (number == 0 || number == 1);
    }
    void operator()(std::string_view key, std::chrono::seconds& value) {
        std::int64_t number = 0;
        (*this)(key, number);
        value = std::chrono::seconds(number);
    }
    void operator()(std::string_view key, std::optional<std::uint32_t>& value) {
        const std::string_view digits = next(key);
        std::uint32_t number = 0;
        const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
        if (code == std::errc() && end == digits.data() + digits.size())
            value = number;
        else
            ok = ok && digits.empty();
    }
    template <class T>
    requires std::is_enum_v<T>
    void operator()(std::string_view key, T& value) {
        std::uint8_t number = 0;
        (*this)(key, number);
        value = static_cast<T>(number);
    }
    template <class T>
    void operator()(std::string_view key, T& value) {
        const std::string_view digits = next(key);
        const auto [end, code] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        if (code != std::errc() || end != digits.data() + digits.size()) ok = false;
    }
};

// KIND REFERENCE PLATFORM LAYER, and then what not all have: fields may be empty, but not hold spaces.
status take_peer_image(std::string_view kind, std::string_view text, record& r) {
    std::vector<std::string> fields;
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.size(), text.find(' ', at));
        fields.emplace_back(text.substr(at, end - at));
        at = end + 1;
    }
    const bool by_number = kind == "OCI_LAYER";
    const bool by_tarindex = kind == "TARINDEX_OCI_BLOB";
    if (!by_number && !by_tarindex && kind != "OCI_NATIVE_BLOB")
        return fail(error_kind::corrupt, "not a recovery file of nerofs or erofs-utils");
    const auto malformed = [&] {
        return fail(error_kind::corrupt, "the recovery file of kind " + std::string(kind) + " is malformed");
    };
    if (text.find('\n') != std::string_view::npos || fields.size() < 4 || fields.size() > (by_tarindex ? 7 : 5) ||
        fields[1].empty())
        return malformed();
    fields.resize(7);
    r.remote.kind = fetch::remote_kind::registry;
    r.remote.name = r.source = fields[1];
    r.remote.platform = fields[2];
    if (by_number) {
        std::uint32_t number = 0;
        const char* const last = fields[3].data() + fields[3].size();
        const auto [end, code] = std::from_chars(fields[3].data(), last, number);
        if (code != std::errc() || end != last) return malformed();
        r.remote.layer = number;
    } else {
        if (!fields[3].starts_with("sha256:")) return malformed();
        r.remote.blob = fields[3];
    }
    r.peer_login = fields[4];
    r.remote.tarindex = fields[5];
    r.remote.zinfo = fields[6];
    for (const std::string* path : {&r.remote.tarindex, &r.remote.zinfo})
        if (!path->empty() && path->front() != '/')
            return fail(error_kind::corrupt, "the recovery file names '" + *path + "', which is no absolute path");
    return {};
}

// The peer's records (erofs-utils 1.9): one line, fields separated by single spaces, nothing escaped.
result<record> decode_peer_record(std::string_view text) {
    if (!text.empty() && text.back() == '\n') text.remove_suffix(1);
    const std::string_view kind = text.substr(0, text.find(' '));
    if (kind == "S3_OBJECT")
        return fail(error_kind::unsupported, "a recovery file of kind S3_OBJECT is not supported yet");
    record r;
    r.transport = "nbd (netlink)";
    r.connections = 1;
    if (kind == "LOCAL") {
        r.path = text.substr(std::min(text.size(), kind.size() + 1));
        if (r.path.empty() || r.path[0] != '/' || r.path.find('\n') != std::string::npos)
            return fail(error_kind::corrupt, "the recovery file names no absolute path");
        r.source = r.path;
        return r;
    }
    NEROFS_CHECK(take_peer_image(kind, text, r));
    return r;
}

std::string hex_id(std::uint64_t number) {
    std::string id(16, '0');
    for (char& digit : id) {
        digit = "0123456789abcdef"[number & 15];
        number >>= 4;
    }
    return id;
}

bool is_id(std::string_view text) {
    return text.size() == 16 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool plausible_parts(const fetch::remote_identity& i) {
    return !i.parts.empty() && std::all_of(i.parts.begin(), i.parts.end(), [](const fetch::remote_part& p) {
        return p.size > 0 && p.kind <= fetch::part_kind::content &&
               (p.kind == fetch::part_kind::content) == (p.layer_size > 0);
    });
}

}  // namespace

std::string encode_record(const record& r) {
    writer w;
    w.text = std::string(version_line) + "\n";
    walk(r, w);
    return std::move(w.text);
}

result<record> decode_record(std::string_view text) {
    if (text.size() > max_record_bytes) return fail(error_kind::corrupt, "the record is too long");
    if (!text.starts_with("nerofs-record ")) return decode_peer_record(text);
    const std::string_view first = text.substr(0, text.find('\n'));
    if (first != version_line)
        return fail(error_kind::unsupported,
                    "the record is of another version ('" + std::string(first.substr(0, 40)) + "')");
    record r;
    reader fields{text.substr(std::min(text.size(), first.size() + 1))};
    walk(r, fields);
    const bool local = r.remote.kind == fetch::remote_kind::none && r.path.starts_with('/');
    const bool remote = r.remote.kind != fetch::remote_kind::none && r.remote.kind <= fetch::remote_kind::registry &&
                        r.path.empty() && !r.remote.name.empty() && plausible_parts(r.remote_identity) &&
                        r.remote.prefetch <= fetch::prefetch_mode::all && r.remote.timeout.count() > 0;
    const bool plausible = is_id(r.id) && r.index >= -1 && (local || remote) && r.connections >= 1 &&
                           r.connections <= serve::max_connections && r.block_size >= 512 && r.block_size <= 65536 &&
                           r.timeout.count() >= 0 && r.dead_timeout.count() >= 0;
    if (!fields.ok || !fields.text.empty() || !plausible) return fail(error_kind::corrupt, "the record is damaged");
    return r;
}

status run_directory::prepare() const {
    NEROFS_CHECK(os::make_directories(path_, 0700));
    struct stat found {};
    if (::lstat(path_.c_str(), &found) != 0) return fail_errno("'" + path_ + "'");
    if (!S_ISDIR(found.st_mode) || found.st_uid != ::geteuid() || (found.st_mode & 022) != 0)
        return fail(error_kind::permission, "'" + path_ + "' isn't a directory of root's alone", EPERM);
    return {};
}

result<record> run_directory::load(const std::string& path) const {
    NEROFS_TRY(const std::string text, os::read_small_file(path, max_record_bytes));
    auto r = decode_record(text);
    if (!r) return fail(std::move(r).error().in("'" + path + "'"));
    if (r->id.empty()) {
        r->id = id_of_peer_record(path);
        r->backend = path;
    }
    return r;
}

status run_directory::store(const record& r) const {
    return os::write_file_atomically(record_path(r.id), encode_record(r));
}

void run_directory::erase(const std::string& id) const {
    ::unlink(record_path(id).c_str());
    ::unlink(control_path(id).c_str());
}

std::vector<std::string> run_directory::ids() const {
    std::vector<std::string> found;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path_.c_str()), &::closedir);
    while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr) {
        const std::string_view name = entry->d_name;
        constexpr std::string_view suffix = ".record";
        if (name.ends_with(suffix) && is_id(name.substr(0, name.size() - suffix.size())))
            found.emplace_back(name.substr(0, name.size() - suffix.size()));
    }
    return found;
}

void run_directory::collect_garbage() const {
    for (const std::string& id : ids()) {
        // In this order: a living keeper listens before it writes its record, and hangs up before it removes it.
        const auto r = load(record_path(id));
        if (r && (os::connect_to(control_path(id)) || nbd_with_backend(r->backend))) continue;
        if (!r && r.error().kind != error_kind::corrupt) continue;
        erase(id);
    }
}

std::string id_of_peer_record(std::string_view path) {
    std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a, 64 bits
    for (const char c : path) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    return hex_id(hash);
}

std::string new_id() {
    std::uint64_t number = 0;
    while (::getrandom(&number, sizeof number, 0) != sizeof number) {
    }
    return hex_id(number);
}

nbd_state nbd_state_of(int index) {
    const std::string directory = "/sys/block/nbd" + std::to_string(index);
    nbd_state state;
    state.exists = ::access(directory.c_str(), F_OK) == 0;
    // The attribute is there exactly while the device has a connection.
    state.connected = ::access((directory + "/pid").c_str(), F_OK) == 0;
    if (auto backend = os::read_attribute(directory + "/backend")) state.backend = std::move(*backend);
    return state;
}

result<int> nbd_index_of(const std::string& device) {
    const auto resolved = os::real_path(device);
    std::string_view name = resolved ? *resolved : device;
    name.remove_prefix(name.rfind('/') + 1);  // npos + 1 is 0
    int index = -1;
    constexpr std::string_view prefix = "nbd";
    if (name.starts_with(prefix)) {
        const auto [end, code] = std::from_chars(name.data() + prefix.size(), name.data() + name.size(), index);
        if (code == std::errc() && end == name.data() + name.size() && index >= 0) return index;
    }
    return fail(error_kind::usage, "'" + device + "' is not an nbd device");
}

std::optional<int> nbd_with_backend(const std::string& backend) {
    for (const int index : nbd_indexes()) {
        const nbd_state state = nbd_state_of(index);
        if (state.connected && state.backend == backend) return index;
    }
    return std::nullopt;
}

std::vector<int> nbd_indexes() {
    std::vector<int> found;
    const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir("/sys/block"), &::closedir);
    while (const dirent* entry = directory ? ::readdir(directory.get()) : nullptr)
        if (const auto index = nbd_index_of(entry->d_name)) found.push_back(*index);
    std::sort(found.begin(), found.end());
    return found;
}

}  // namespace nerofs::mount
