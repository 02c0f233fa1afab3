#include "os/mounts.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>

#include "os/files.h"

namespace nerofs::os {
namespace {

constexpr std::size_t max_mountinfo_bytes = 64 << 20;

std::string unescaped(std::string_view field) {
    std::string text;
    const auto octal = [](char c) { return c >= '0' && c <= '7'; };
    for (std::size_t i = 0; i < field.size(); ++i) {
        if (field[i] == '\\' && i + 3 < field.size() && octal(field[i + 1]) && octal(field[i + 2]) &&
            octal(field[i + 3])) {
            text += static_cast<char>((field[i + 1] - '0') * 64 + (field[i + 2] - '0') * 8 + (field[i + 3] - '0'));
            i += 3;
        } else {
            text += field[i];
        }
    }
    return text;
}

std::string_view next_field(std::string_view& line) {
    const std::size_t end = line.find(' ');
    const std::string_view field = line.substr(0, end);
    line.remove_prefix(end == std::string_view::npos ? line.size() : end + 1);
    return field;
}

template <class T>
bool parse_number(std::string_view text, T& value) {
    return std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc();
}

bool parse_line(std::string_view line, mount_entry& entry) {
    if (!parse_number(next_field(line), entry.id) || !parse_number(next_field(line), entry.parent)) return false;
    const std::string_view device = next_field(line);
    const std::size_t colon = device.find(':');
    if (colon == std::string_view::npos || !parse_number(device.substr(0, colon), entry.major) ||
        !parse_number(device.substr(colon + 1), entry.minor))
        return false;
    entry.root = unescaped(next_field(line));
    entry.mount_point = unescaped(next_field(line));
    entry.options = next_field(line);
    while (!line.empty() && next_field(line) != "-") {  // optional fields, up to a lone hyphen
    }
    entry.type = unescaped(next_field(line));
    entry.source = unescaped(next_field(line));
    entry.super_options = next_field(line);
    return !entry.type.empty();
}

}  // namespace

std::vector<mount_entry> parse_mountinfo(std::string_view text) {
    std::vector<mount_entry> mounts;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        mount_entry entry;
        if (parse_line(text.substr(0, end), entry)) mounts.push_back(std::move(entry));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return mounts;
}

result<std::vector<mount_entry>> read_mounts() {
    NEROFS_TRY(const std::string text, read_small_file("/proc/self/mountinfo", max_mountinfo_bytes));
    return parse_mountinfo(text);
}

status mount(const std::string& source, const std::string& target, const std::string& type, unsigned long flags,
             const std::string& data) {
    if (::mount(source.c_str(), target.c_str(), type.c_str(), flags, data.empty() ? nullptr : data.c_str()) != 0)
        return fail_errno("mount");
    return {};
}

status unmount(const std::string& target, int flags) {
    if (::umount2(target.c_str(), flags) != 0) return fail_errno("unmount '" + target + "'");
    return {};
}

kernel_messages::kernel_messages() : kmsg_(::open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {
    if (kmsg_) ::lseek(kmsg_.get(), 0, SEEK_END);
}

std::string kernel_messages::since_then(std::string_view prefix) const {
    std::string found;
    char record[8192];  // one record a read: "priority,sequence,time,flags;text\n continuation"
    constexpr int most_records = 1000;
    for (int i = 0; kmsg_ && i < most_records; ++i) {
        const ssize_t n = ::read(kmsg_.get(), record, sizeof record);
        if (n <= 0) break;
        std::string_view line(record, static_cast<std::size_t>(n));
        line.remove_prefix(std::min(line.size(), line.find(';') + 1));
        line = line.substr(0, line.find('\n'));
        if (!line.starts_with(prefix)) continue;
        if (!found.empty()) found += "; ";
        found += line;
    }
    return found;
}

}  // namespace nerofs::os
