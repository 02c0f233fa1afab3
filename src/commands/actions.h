// What the commands have in common: each does one thing and says how it went.
#pragma once

#include <string>

#include "cli/mount_command.h"
#include "cli/nerofs_command.h"
#include "commands/commands.h"

namespace nerofs::commands {

// "nerofs: <error>", one line, and the exit bit.
int report(const environment& env, std::string_view program, const error& e);

status do_mount(const cli::mount_command& command, const environment& env);
status do_unmount(const std::string& target, int flags, const std::string& mount_namespace, const environment& env);
status do_reattach(const std::string& device, const environment& env);
// Every device of ours that has lost its keeper or server. Tells each; an error if one failed.
status do_reattach_all(const environment& env);
status do_disconnect(const std::string& device, const environment& env);
status do_list(bool json, const environment& env);
status do_status(const std::string& target, bool json, const environment& env);
// Fills the cache and says how far it has come.
status do_fetch(const cli::nerofs_fetch& command, const environment& env);
status do_cache(const cli::nerofs_cache& command, const environment& env);
// Of images that aren't mounted.
status do_ls(const cli::nerofs_ls& command, const environment& env);
status do_cat(const cli::nerofs_cat& command, const environment& env);
status do_stat(const cli::nerofs_stat& command, const environment& env);
status do_extract(const cli::nerofs_extract& command, const environment& env);
status do_index(const cli::nerofs_index& command);
status do_index_push(const cli::nerofs_index_push& command, const environment& env);
// Until SIGINT or SIGTERM.
status do_serve(const cli::nerofs_serve& command, const environment& env);

}  // namespace nerofs::commands
