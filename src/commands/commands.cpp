#include "commands/commands.h"

#include <signal.h>
#include <sys/mount.h>
#include <unistd.h>

#include <exception>
#include <variant>
#include <vector>

#include "cli/exit_code.h"
#include "cli/help.h"
#include "commands/actions.h"

namespace nerofs::commands {
namespace {

int finish(const environment& env, std::string_view program, const status& done) {
    return done ? cli::exit_bit::success : report(env, program, done.error());
}

int usage_error(const environment& env, const std::string& program, const error& e) {
    report(env, program, e);
    if (e.hint.empty()) std::fprintf(env.err, "Try '%s --help'.\n", program.c_str());
    return cli::exit_bit::usage;
}

int print(const environment& env, const std::string& text) {
    std::fputs(text.c_str(), env.out);
    return cli::exit_bit::success;
}

// The user's Ctrl-C: the keeper sees our end of the channel close, and undoes what isn't finished.
void on_interrupt(int) {
    constexpr std::string_view text = "nerofs: interrupted\n";
    (void)!::write(STDERR_FILENO, text.data(), text.size());
    ::_exit(cli::exit_bit::interrupted);
}

}  // namespace

int report(const environment& env, std::string_view program, const error& e) {
    std::fprintf(env.err, "%.*s: %s\n", static_cast<int>(program.size()), program.data(), e.message().c_str());
    return cli::to_exit_code(e);
}

int run_mount_erofs(std::span<const std::string> args, const environment& env) {
    const std::string program = "mount.erofs";
    const auto command = cli::parse_mount_command(args);
    if (!command) return usage_error(env, program, command.error());
    switch (command->action) {
        case cli::mount_action::mount:
            return finish(env, program, do_mount(*command, env));
        case cli::mount_action::unmount:
            return finish(env, program, do_unmount(command->target, 0, command->mount_namespace, env));
        case cli::mount_action::reattach:
            return finish(env, program, do_reattach(command->target, env));
        case cli::mount_action::disconnect:
            return finish(env, program, do_disconnect(command->target, env));
        case cli::mount_action::help:
            return print(env, cli::mount_erofs_help());
        case cli::mount_action::version:
            return print(env, cli::version_text(program));
    }
    return cli::exit_bit::internal;
}

int run_umount_erofs(std::span<const std::string> args, const environment& env) {
    const std::string program = "umount.erofs";
    const auto command = cli::parse_umount_command(args);
    if (!command) return usage_error(env, program, command.error());
    switch (command->action) {
        case cli::umount_command::action_kind::help:
            return print(env, cli::umount_erofs_help());
        case cli::umount_command::action_kind::version:
            return print(env, cli::version_text(program));
        case cli::umount_command::action_kind::unmount:
            break;
    }
    const int flags = (command->force ? MNT_FORCE : 0) | (command->lazy ? MNT_DETACH : 0);
    return finish(env, program, do_unmount(command->target, flags, command->mount_namespace, env));
}

int run_nerofs(std::span<const std::string> args, const environment& env) {
    const std::string program = "nerofs";
    const auto command = cli::parse_nerofs_command(args);
    if (!command) return usage_error(env, program, command.error());
    struct visitor {
        const environment& env;
        status operator()(const cli::mount_command& c) const { return do_mount(c, env); }
        status operator()(const cli::nerofs_umount& c) const {
            return do_unmount(c.target, c.lazy ? MNT_DETACH : 0, "", env);
        }
        status operator()(const cli::nerofs_list& c) const { return do_list(c.json, env); }
        status operator()(const cli::nerofs_status& c) const { return do_status(c.target, c.json, env); }
        status operator()(const cli::nerofs_reattach& c) const {
            return c.device.empty() ? do_reattach_all(env) : do_reattach(c.device, env);
        }
        status operator()(const cli::nerofs_disconnect& c) const { return do_disconnect(c.device, env); }
        status operator()(const cli::nerofs_serve& c) const { return do_serve(c, env); }
        status operator()(const cli::nerofs_fetch& c) const { return do_fetch(c, env); }
        status operator()(const cli::nerofs_cache& c) const { return do_cache(c, env); }
        status operator()(const cli::nerofs_ls& c) const { return do_ls(c, env); }
        status operator()(const cli::nerofs_cat& c) const { return do_cat(c, env); }
        status operator()(const cli::nerofs_stat& c) const { return do_stat(c, env); }
        status operator()(const cli::nerofs_extract& c) const { return do_extract(c, env); }
        status operator()(const cli::nerofs_index& c) const { return do_index(c); }
        status operator()(const cli::nerofs_index_push& c) const { return do_index_push(c, env); }
        status operator()(const cli::nerofs_help& c) const {
            NEROFS_TRY(const std::string text, cli::nerofs_help_text(c.topic));
            print(env, text);
            return {};
        }
        status operator()(const cli::nerofs_version&) const {
            print(env, cli::version_text("nerofs"));
            return {};
        }
    };
    return finish(env, program, std::visit(visitor{env}, *command));
}

int guarded_main(int argc, char** argv, int (*run)(std::span<const std::string>, const environment&)) {
    ::signal(SIGPIPE, SIG_IGN);
    ::signal(SIGINT, on_interrupt);
    ::signal(SIGTERM, on_interrupt);
    try {
        const std::vector<std::string> args(argv + (argc > 0 ? 1 : 0), argv + argc);
        return run(args, environment{});
    } catch (const std::exception& e) {
        std::fprintf(stderr, "nerofs: internal error: %s\n", e.what());
        return cli::exit_bit::internal;
    }
}

}  // namespace nerofs::commands
