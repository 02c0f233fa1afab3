#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include <array>
#include <charconv>

#include "base/fault.h"
#include "cli/source_spec.h"
#include "commands/actions.h"
#include "commands/remote_request.h"
#include "fetch/protocol/messages.h"
#include "mount/children.h"
#include "mount/front.h"
#include "mount/keeper/nbd_device.h"
#include "mount/local.h"
#include "mount/record.h"
#include "mount/remote_image.h"
#include "os/files.h"
#include "os/mounts.h"

namespace nerofs::commands {
namespace {

constexpr std::chrono::seconds beyond_the_source{60};

cli::local_entry look_at(const std::string& source) {
    struct stat found {};
    if (::stat(source.c_str(), &found) != 0) return cli::local_entry::none;
    if (S_ISBLK(found.st_mode)) return cli::local_entry::block_device;
    return S_ISREG(found.st_mode) ? cli::local_entry::file : cli::local_entry::other;
}

// Enters the mount namespace of -N (a path or a process id) for good: what follows is only the mount itself.
status enter_namespace(const std::string& name) {
    if (name.empty()) return {};
    const bool is_pid = name.find_first_not_of("0123456789") == std::string::npos;
    NEROFS_TRY(const unique_fd space, os::open_file(is_pid ? "/proc/" + name + "/ns/mnt" : name, O_RDONLY));
    if (::setns(space.get(), CLONE_NEWNS) != 0) return fail_errno("enter the mount namespace '" + name + "'");
    return {};
}

// Options that a server of ours carries out itself are taken out of the kernel's.
struct image_options {
    std::uint64_t fs_offset = 0;
    bool extra_devices = false;
    std::string data_without_offset;
};

result<image_options> image_options_of(const std::string& data) {
    image_options found;
    std::string_view rest = data;
    while (!rest.empty()) {
        // Values in double quotes may hold commas.
        std::size_t end = 0;
        for (bool quoted = false; end < rest.size() && (quoted || rest[end] != ','); ++end)
            if (rest[end] == '"') quoted = !quoted;
        const std::string_view option = rest.substr(0, end);
        rest.remove_prefix(std::min(rest.size(), end + 1));
        constexpr std::string_view offset = "fsoffset=";
        if (option.starts_with("device=")) found.extra_devices = true;
        if (option.starts_with(offset)) {
            const char* const last = option.data() + option.size();
            const auto [stop, code] = std::from_chars(option.data() + offset.size(), last, found.fs_offset);
            if (code != std::errc() || stop != last)
                return fail(error_kind::usage, "option '" + std::string(option) + "': must be a number of bytes");
            continue;
        }
        if (!found.data_without_offset.empty()) found.data_without_offset += ',';
        found.data_without_offset += option;
    }
    return found;
}

ctl::nbd_settings settings_of(const cli::nbd_options& options) {
    ctl::nbd_settings settings;
    switch (options.method) {
        case cli::nbd_method::automatic:
            settings.method = ctl::attach_method::automatic;
            break;
        case cli::nbd_method::netlink:
            settings.method = ctl::attach_method::netlink;
            break;
        case cli::nbd_method::ioctl:
            settings.method = ctl::attach_method::ioctl;
            break;
    }
    settings.connections = options.connections.value_or(0);
    settings.timeout = options.timeout.value_or(settings.timeout);
    settings.dead_timeout = options.dead_timeout.value_or(settings.dead_timeout);
    return settings;
}

// Ctrl-C ends an attach; once mount(2) is called it is too late for that, or the user would be told of an end and have
// a mount. Signals that came meanwhile have their effect afterwards, unless the mount was made.
class held_interrupts {
  public:
    held_interrupts() {
        sigset_t signals;
        sigemptyset(&signals);
        for (const int signal : interrupts) sigaddset(&signals, signal);
        ::sigprocmask(SIG_BLOCK, &signals, &before_);
    }
    held_interrupts(const held_interrupts&) = delete;
    held_interrupts& operator=(const held_interrupts&) = delete;
    ~held_interrupts() { ::sigprocmask(SIG_SETMASK, &before_, nullptr); }

    static void drop() {
        for (const int signal : interrupts) ::signal(signal, SIG_IGN);
    }

  private:
    static constexpr std::array interrupts{SIGINT, SIGTERM};
    sigset_t before_;
};

class mounting {
  public:
    mounting(const cli::mount_command& command, const environment& env) : command_(command), env_(env) {}

    status run() {
        if ((command_.options.flags & (MS_REMOUNT | MS_BIND | MS_MOVE)) != 0) return change_existing();
        NEROFS_TRY(const cli::source_spec spec,
                   cli::classify_source(command_.source, command_.options, look_at(command_.source)));
        NEROFS_CHECK(check_target());
        NEROFS_TRY(image_, image_options_of(command_.options.data));
        const bool local = std::holds_alternative<cli::local_source>(spec);
        if (local) {
            NEROFS_TRY(source_, mount::open_source(command_.source));
        } else {
            NEROFS_TRY(remote_, remote_wish_of(spec, command_.options));
        }
        NEROFS_CHECK(local ? mount_local() : mount_remote());
        if (command_.options.propagation != 0 && !command_.fake)
            NEROFS_CHECK(os::mount("none", command_.target, "", command_.options.propagation, ""));
        return {};
    }

  private:
    status mount_local() {
        switch (command_.via) {
            case cli::transport::automatic:
            case cli::transport::local:
                return by_kernel();
            case cli::transport::nbd:
                if (command_.options.loop)
                    return fail(error_kind::usage, "-o loop and -t erofs.nbd exclude each other");
                return by_keeper(ctl::transport_choice::nbd);
            case cli::transport::fuse:
                return by_keeper(ctl::transport_choice::fuse);
            default:
                return not_that_way();
        }
    }

    status mount_remote() {
        switch (command_.via) {
            case cli::transport::automatic:
                return by_keeper(ctl::transport_choice::automatic);
            case cli::transport::nbd:
                return by_keeper(ctl::transport_choice::nbd);
            case cli::transport::fuse:
                return by_keeper(ctl::transport_choice::fuse);
            case cli::transport::local:
                return fail(error_kind::usage, "-t erofs.local is for images on this machine");
            default:
                return not_that_way();
        }
    }

    status not_that_way() const {
        return fail(error_kind::unsupported,
                    "-t erofs." + std::string(cli::to_string(command_.via)) + " is not supported yet");
    }

    // Remount, bind and move are the kernel's alone: no source is opened, no device attached.
    status change_existing() const {
        if (command_.fake) return {};
        NEROFS_CHECK(enter_namespace(command_.mount_namespace));
        return os::mount(command_.source, command_.target, "erofs", command_.options.flags, command_.options.data);
    }

    status check_target() const {
        struct stat found {};
        if (!command_.mount_namespace.empty()) return {};  // it is another namespace's
        if (::stat(command_.target.c_str(), &found) != 0)
            return fail(errno_error("mount point '" + command_.target + "'"));
        if (!S_ISDIR(found.st_mode)) return fail(errno_error(ENOTDIR, "mount point '" + command_.target + "'"));
        return {};
    }

    status by_kernel() {
        // Looked at by an unprivileged process first. What it doesn't know the kernel may.
        const auto info = mount::check_image(source_.file, {image_.fs_offset, image_.extra_devices});
        if (!info && info.error().kind != error_kind::unsupported) return fail(info.error());
        if (command_.fake) return {};
        NEROFS_CHECK(enter_namespace(command_.mount_namespace));
        NEROFS_TRY(const std::string how,
                   mount::mount_local(source_, {command_.target, command_.options.flags, command_.options.data},
                                      command_.options.loop, info ? fetch::needs_of(*info) : ""));
        say("mounted '" + source_.path + "' on '" + command_.target + "': " + how);
        return {};
    }

    status by_keeper(ctl::transport_choice via) {
        if (command_.fake) return only_check();
        ctl::attach_request request;
        request.id = mount::new_id();
        request.source = shown();
        request.path = source_.path;
        request.remote = remote_.source;
        request.secrets = remote_.secrets;
        request.cache = remote_.cache;
        request.target = os::real_path(command_.target).value_or(os::spelled_out(command_.target));
        request.fs_offset = image_.fs_offset;
        request.extra_devices = image_.extra_devices;
        request.via = via;
        request.nbd = settings_of(command_.options.nbd);
        // A read may wait for its source without being given up by the kernel meanwhile.
        if (is_remote() && !command_.options.nbd.timeout)
            request.nbd.timeout =
                std::max<std::chrono::seconds>(request.nbd.timeout, remote_.source.timeout + beyond_the_source);
        auto done = attach_and_mount(request);
        if (!done) clean_up_after(request.id);
        return done;
    }

    status only_check() const {
        if (is_remote()) {
            NEROFS_TRY(mount::remote_image image, open_by_itself({remote_.source, remote_.secrets, remote_.cache,
                                                                  image_.fs_offset, image_.extra_devices}));
            image.close();
            return {};
        }
        const auto info = mount::check_image(source_.file, {image_.fs_offset, image_.extra_devices});
        return info ? status() : fail(info.error());
    }

    bool is_remote() const { return remote_.source.kind != fetch::remote_kind::none; }
    const std::string& shown() const { return is_remote() ? remote_.shown : command_.source; }

    status attach_and_mount(const ctl::attach_request& request) {
        NEROFS_TRY(mount::attachment device, mount::attachment::start(request, source_.file));
        fault::point("front.attached");
        mount::opened_source file;
        if (device.by_file()) {
            NEROFS_TRY(file.file, device.open_file());
            file.path = shown();
            file.by_fuse = true;
        }
        const held_interrupts held;
        status done = enter_namespace(command_.mount_namespace);
        std::string how = device.device().transport + ", " + device.device().device;
        if (done) {
            const mount::mount_request what{command_.target, command_.options.flags, image_.data_without_offset};
            if (file.file) {
                const auto mounted = mount::mount_local(file, what, command_.options.loop, device.device().needs);
                done = mounted ? status() : fail(mounted.error());
                if (mounted) how = "fuse, " + *mounted;
                file.file.reset();
            } else {
                done = mount::mount_erofs(device.device().device, what, device.device().needs);
            }
        }
        if (!done) {
            const status undone = device.undo();
            // A FUSE file system that nobody uses has ended by itself, with its keeper.
            return undone || device.by_file() ? done : undone;
        }
        fault::point("front.mounted");
        if (auto kept = device.mounted(request.target); !kept) {
            // Nobody would notice its end: better no mount than one that leaves a device behind.
            (void)os::unmount(command_.target, MNT_DETACH);
            (void)device.undo();
            return kept;
        }
        held_interrupts::drop();
        if (!device.device().note.empty()) std::fprintf(env_.err, "nerofs: note: %s\n", device.device().note.c_str());
        say("mounted '" + (is_remote() ? remote_.shown : source_.path) + "' on '" + command_.target + "': " + how);
        return {};
    }

    // What a keeper that died in the middle has left: its device, whose end is also the server's, and its record.
    void clean_up_after(const std::string& id) const {
        if (const auto index = mount::nbd_with_backend(env_.directory.record_path(id)))
            (void)mount::disconnect_by_netlink(*index);
        env_.directory.erase(id);
    }

    void say(const std::string& line) const {
        if (command_.verbose) std::fprintf(env_.out, "nerofs: %s\n", line.c_str());
    }

    const cli::mount_command& command_;
    const environment& env_;
    mount::opened_source source_;  // of a local image
    remote_wish remote_;           // or one that is fetched
    image_options image_;
};

}  // namespace

status do_mount(const cli::mount_command& command, const environment& env) {
    auto done = mounting(command, env).run();
    if (done) return {};
    // A URL may hold a password or a signature; the error itself names it without.
    const bool is_url = command.source.find("://") != std::string::npos;
    return fail(std::move(done).error().in(is_url ? "cannot mount" : "cannot mount '" + command.source + "'"));
}

}  // namespace nerofs::commands
