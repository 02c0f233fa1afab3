#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "cli/source_spec.h"
#include "commands/actions.h"
#include "commands/open_image.h"
#include "commands/remote_request.h"
#include "commands/text.h"
#include "files/extract.h"
#include "files/image_files.h"

namespace nerofs::commands {
namespace {

using erofs::file_type;

// What a command prints. When nobody reads it any more (| head), that is the command's end, and no failure.
class output {
  public:
    explicit output(std::FILE* to) : to_(to) {}

    status write(std::string_view text) { return check(std::fwrite(text.data(), 1, text.size(), to_) == text.size()); }
    status finish() { return check(std::fflush(to_) == 0); }
    bool is_unwanted() const { return unwanted_; }

  private:
    status check(bool written) {
        if (written) return {};
        unwanted_ = errno == EPIPE;
        return fail_errno("write the output");
    }

    std::FILE* to_;
    bool unwanted_ = false;
};

bool is_device(const erofs::inode& i) {
    return i.type == file_type::character || i.type == file_type::block;
}

// UTC, as the machine the image comes from may be anywhere.
std::string time_text(const erofs::timestamp& t) {
    std::tm parts{};
    const auto seconds = static_cast<std::time_t>(t.seconds);
    if (::gmtime_r(&seconds, &parts) == nullptr) return fmt::format("@{}", t.seconds);
    return fmt::format("{:%Y-%m-%d %H:%M:%S}.{:09}", parts, t.nanoseconds);
}

// JSON is UTF-8, names are bytes: what isn't UTF-8 is shown by U+FFFD, and the bytes in hex beside it.
constexpr auto replace = nlohmann::json::error_handler_t::replace;
std::string hex(std::string_view bytes) {
    std::string out;
    for (const char c : bytes) out += fmt::format("{:02x}", static_cast<unsigned char>(c));
    return out;
}
bool is_utf8(const std::string& text) {
    return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::ignore) ==
           nlohmann::json(text).dump(-1, ' ', false, replace);
}

nlohmann::json json_of(const files::listed_file& f) {
    const erofs::inode& i = f.inode;
    nlohmann::json j = {{"name", f.name},
                        {"type", files::to_string(i.type)},
                        {"mode", fmt::format("{:04o}", i.mode & 07777)},
                        {"uid", i.uid},
                        {"gid", i.gid},
                        {"links", i.links},
                        {"size", i.size},
                        {"mtime", i.mtime.seconds},
                        {"mtime_nanoseconds", i.mtime.nanoseconds},
                        {"inode", i.nid}};
    if (!is_utf8(f.name)) j["name_hex"] = hex(f.name);
    if (i.type == file_type::symlink) {
        j["target"] = f.target;
        if (!is_utf8(f.target)) j["target_hex"] = hex(f.target);
    }
    if (is_device(i)) {
        j["device_major"] = i.device_major;
        j["device_minor"] = i.device_minor;
    }
    return j;
}

// What of the image will be used: some metadata, the file that PATH names, or a directory with all that is in it.
enum class use : std::uint8_t { facts, file, tree };

// `act` gets the image, the path and where it prints; errors name SOURCE[:PATH] as it was given, without secrets.
status with_image(const std::string& what, const std::string& verb, cli::mount_options options, use what_for,
                  const environment& env,
                  const std::function<status(erofs::reader&, const std::string& path, output&)>& act) {
    const auto is_local = [](const std::string& path) {
        struct stat found {};
        return ::stat(path.c_str(), &found) == 0;
    };
    const cli::source_and_path asked = cli::split_source(what, is_local);
    const auto open = [&]() -> result<opened_image> {
        if (is_local(asked.source) && !options.oci.given && !options.s3.given) return open_local_image(asked.source);
        NEROFS_TRY(const cli::source_spec spec, cli::classify_source(asked.source, options, cli::local_entry::none));
        if (!options.remote.ahead)
            options.remote.ahead = what_for == use::tree ? cli::prefetch::metadata : cli::prefetch::none;
        return open_remote_image(spec, options);
    };
    output out(env.out);
    const auto run = [&]() -> status {
        NEROFS_TRY(opened_image image, open());
        for (const std::string& note : image.notes) std::fprintf(env.err, "nerofs: %s\n", note.c_str());
        if (what_for == use::file) NEROFS_CHECK(image.expect(asked.path, erofs::last_symlink::follow));
        if (what_for == use::tree) NEROFS_CHECK(image.expect(asked.path, erofs::last_symlink::keep));
        NEROFS_CHECK(act(*image.files, asked.path, out));
        return out.finish();
    };
    auto done = run();
    if (done || out.is_unwanted()) return {};
    const std::string shown =
        asked.path == "/" ? shown_source(asked.source) : shown_source(asked.source) + ":" + asked.path;
    return fail(std::move(done).error().in(fmt::format("cannot {} '{}'", verb, printable(shown))));
}

}  // namespace

status do_ls(const cli::nerofs_ls& command, const environment& env) {
    const auto list = [&](erofs::reader& image, const std::string& path, output& out) -> status {
        NEROFS_TRY(const std::vector<files::listed_file> all, files::list(image, path));
        if (command.json) {
            nlohmann::json j = nlohmann::json::array();
            for (const files::listed_file& f : all) j.push_back(json_of(f));
            return out.write(j.dump(2, ' ', false, replace) + "\n");
        }
        for (const files::listed_file& f : all) {
            const erofs::inode& i = f.inode;
            if (!command.long_lines) {
                NEROFS_CHECK(out.write(printable(f.name) + "\n"));
                continue;
            }
            const std::string size =
                is_device(i) ? fmt::format("{}, {}", i.device_major, i.device_minor) : fmt::format("{}", i.size);
            NEROFS_CHECK(
                out.write(fmt::format("{} {:>3} {:>5} {:>5} {:>10} {} {}{}\n", files::mode_text(i.mode), i.links, i.uid,
                                      i.gid, size, time_text(i.mtime).substr(0, 19), printable(f.name),
                                      i.type == file_type::symlink ? " -> " + printable(f.target) : "")));
        }
        return {};
    };
    return with_image(command.what, "list", command.options, use::facts, env, list);
}

status do_cat(const cli::nerofs_cat& command, const environment& env) {
    const auto read = [&](erofs::reader& image, const std::string& path, output& out) -> status {
        NEROFS_TRY(const erofs::inode file, erofs::resolve(image, path));
        return files::read(image, file, files::holes::as_zeros,
                           [&](std::uint64_t, std::span<const std::byte> bytes) -> status {
                               return out.write({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
                           });
    };
    return with_image(command.what, "read", command.options, use::file, env, read);
}

status do_stat(const cli::nerofs_stat& command, const environment& env) {
    const auto show = [&](erofs::reader& image, const std::string& path, output& out) -> status {
        NEROFS_TRY(const files::described_file found, files::describe(image, path));
        const erofs::inode& i = found.file.inode;
        if (command.json) {
            nlohmann::json j = json_of(found.file);
            j["attributes"] = nlohmann::json::array();
            for (const erofs::xattr& a : found.attributes)
                j["attributes"].push_back({{"name", a.name}, {"value_hex", hex(a.value)}});
            return out.write(j.dump(2, ' ', false, replace) + "\n");
        }
        std::string text;
        const auto line = [&](std::string_view name, const std::string& value) {
            text += fmt::format("{:<12} {}\n", std::string(name) + ":", value);
        };
        line("path", printable(found.file.name));
        line("type", std::string(files::to_string(i.type)));
        line("mode", fmt::format("{:04o} {}", i.mode & 07777, files::mode_text(i.mode)));
        line("owner", fmt::format("{}:{}", i.uid, i.gid));
        line("size", fmt::format("{}", i.size));
        line("links", fmt::format("{}", i.links));
        line("mtime", time_text(i.mtime) + " UTC");
        line("inode", fmt::format("{}", i.nid));
        if (i.type == file_type::symlink) line("target", printable(found.file.target));
        if (is_device(i)) line("device", fmt::format("{}:{}", i.device_major, i.device_minor));
        for (const erofs::xattr& a : found.attributes) line("attribute", printable(a.name) + "=0x" + hex(a.value));
        return out.write(text);
    };
    return with_image(command.what, "show", command.options, use::facts, env, show);
}

status do_extract(const cli::nerofs_extract& command, const environment& env) {
    const auto extract = [&](erofs::reader& image, const std::string& path, output&) -> status {
        files::extract_options options;
        options.as_root = ::geteuid() == 0;
        NEROFS_TRY(const files::extracted done, files::extract(image, path, command.directory, options));
        if (!options.as_root && done.left_out_owners + done.left_out_devices + done.left_out_attributes > 0) {
            std::fprintf(env.err,
                         "nerofs: left out, as only root can set them: the owners of %llu files, %llu devices, %llu "
                         "extended attributes\n",
                         static_cast<unsigned long long>(done.left_out_owners),
                         static_cast<unsigned long long>(done.left_out_devices),
                         static_cast<unsigned long long>(done.left_out_attributes));
        } else if (done.left_out_attributes > 0) {
            std::fprintf(env.err, "nerofs: left out, as this file system refuses them: %llu extended attributes (%s)\n",
                         static_cast<unsigned long long>(done.left_out_attributes),
                         printable(done.attribute_error).c_str());
        }
        return {};
    };
    return with_image(command.what, "extract", command.options, use::tree, env, extract);
}

}  // namespace nerofs::commands
