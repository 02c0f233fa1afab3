#include "fetch/fetcher_process.h"

#include <signal.h>

#include "base/fault.h"
#include "base/log.h"
#include "fetch/protocol/messages.h"
#include "fetch/remote_fetch.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr auto request_time = 10s;  // a keeper sends its request at once, or has died

status serve(os::channel keeper) {
    NEROFS_TRY(os::packet open, keeper.receive(os::in_time(request_time)));
    return run_remote_fetch(std::move(keeper), std::move(open));
}

}  // namespace

int fetcher_main(int control_fd) {
    ::signal(SIGPIPE, SIG_IGN);
    log::set_name("nerofs-fetcher");
    fault::point("fetcher.start");
    const status done = serve(os::channel{unique_fd(control_fd)});
    if (!done && done.error().kind != error_kind::cancelled) log::error(done.error().message());
    return done ? 0 : 1;
}

}  // namespace nerofs::fetch
