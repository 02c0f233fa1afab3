// The processes that a keeper starts: where their programs lie, as whom they run, what they are told.
#pragma once

#include <string>
#include <utility>

#include "base/result.h"
#include "fetch/protocol/messages.h"
#include "os/channel.h"
#include "os/process.h"
#include "serve/messages.h"

namespace nerofs::mount {

struct child {
    os::process process;
    os::channel channel;  // our end
};

// The directory of nerofs-keeper, nerofs-server, nerofs-checker and nerofs-fetcher: beside this program (a build tree),
// else the installed one.
std::string helper_directory();

// Starts one of these programs, its channel as descriptor 3; `options` say what else there is to it.
result<child> start_program(const std::string& name, os::spawn_options options);

// Starts a helper as the unprivileged user. `quiet`: what it logs goes nowhere.
result<child> start_helper(const std::string& name, bool lockable_memory, bool quiet = false);

// Ends a child that was to answer and didn't. The error says how it had ended by itself, if it had:
// "the server (nerofs-server) exited with status 1 before it was ready".
error death_of(child& c, const std::string& who, const std::string& when);

// A server that has read its set-up and serves. Starts up to three; the error tells how they ended.
result<child> start_server(const serve::server_setup& setup);

// Has the image checked by a checker, which is gone afterwards; one that dies is started again, at most twice.
result<fetch::image_info> check_image(fd_ref image, const fetch::check_request& request);

}  // namespace nerofs::mount
