#include "mount/children.h"

#include <signal.h>
#include <unistd.h>

#include <cstdlib>

#include "base/wire.h"
#include "os/files.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr int tries = 3;
constexpr auto server_time = 20s;   // to start and map a few descriptors, on a machine that may be overloaded
constexpr auto checker_time = 30s;  // to read some blocks of a file that may lie on a slow network

// A child whose channel closed is about to be gone.
constexpr auto exit_time = 1s;

}  // namespace

std::string helper_directory() {
    const std::string beside = os::program_directory();
    if (::access((beside + "/nerofs-keeper").c_str(), X_OK) == 0) return beside;
    return NEROFS_LIBEXEC_DIR;
}

result<child> start_program(const std::string& name, os::spawn_options options) {
    NEROFS_TRY(auto ends, os::channel::make_pair());
    options.program = helper_directory() + "/" + name;
    options.arguments = {name};
#if NEROFS_FAULTS
    if (const char* plan = std::getenv("NEROFS_FAULT"))
        options.environment.push_back(std::string("NEROFS_FAULT=") + plan);
#endif
    options.fds = {ends.second.fd()};
    NEROFS_TRY(os::process process, os::spawn(options));
    return child{std::move(process), std::move(ends.first)};
}

result<child> start_helper(const std::string& name, bool lockable_memory, bool quiet) {
    os::spawn_options options;
    if (::geteuid() == 0) options.run_as = os::unprivileged_identity("nerofs");
    options.lockable_memory = lockable_memory;
    options.quiet = quiet;
    return start_program(name, std::move(options));
}

error death_of(child& c, const std::string& who, const std::string& when) {
    const bool gone = os::wait_readable(c.process.pidfd(), os::in_time(exit_time)).has_value();
    if (!gone) c.process.kill(SIGKILL);
    const std::string how = c.process.reap();
    return make_error(
               error_kind::permanent,
               "the " + who + " (nerofs-" + who + ") " + (gone ? how : "didn't answer and was ended") + " " + when, EIO)
        .with_hint("see /run/nerofs/log");
}

result<child> start_server(const serve::server_setup& setup) {
    error last;
    for (int i = 0; i < tries; ++i) {
        NEROFS_TRY(child server, start_helper("nerofs-server", true));
        auto answer = send_setup(server.channel, setup);
        if (answer) {
            const auto packet = server.channel.receive(os::in_time(server_time));
            if (packet && wire_reader(packet->bytes).get<serve::message>() == serve::message::ready) return server;
        }
        last = death_of(server, "server", "before it was ready");
    }
    return fail(std::move(last));
}

result<fetch::image_info> check_image(fd_ref image, const fetch::check_request& request) {
    error last;
    for (int i = 0; i < tries; ++i) {
        NEROFS_TRY(child checker, start_helper("nerofs-checker", false));
        result<fetch::image_info> info = fail(error_kind::cancelled, "");
        if (fetch::send_check(checker.channel, request, image))
            info = fetch::receive_info(checker.channel, os::in_time(checker_time));
        if (info || (info.error().kind != error_kind::cancelled && info.error().kind != error_kind::timeout)) {
            checker.process.kill(SIGKILL);
            checker.process.reap();
            return info;
        }
        last = death_of(checker, "checker", "while it checked the image");
    }
    return fail(std::move(last));
}

}  // namespace nerofs::mount
