#include "fetch/checker_process.h"

#include <signal.h>

#include "base/fault.h"
#include "base/log.h"
#include "fetch/local_check.h"
#include "fetch/protocol/messages.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr auto request_time = 10s;  // a keeper sends its request at once, or has died

status check(const os::channel& keeper) {
    NEROFS_TRY(const os::packet packet, keeper.receive(os::in_time(request_time)));
    NEROFS_TRY(const check_request request, decode_check(packet));
    fault::point("checker.check");
    const auto info = check_local_image(packet.fds.front(), request.offset, request.has_extra_devices);
    fault::point("checker.answer");
    return info ? send_info(keeper, *info) : send_error(keeper, info.error());
}

}  // namespace

int checker_main(int control_fd) {
    ::signal(SIGPIPE, SIG_IGN);
    log::set_name("nerofs-checker");
    fault::point("checker.start");
    const status done = check(os::channel{unique_fd(control_fd)});
    if (!done && done.error().kind != error_kind::cancelled) log::error(done.error().message());
    return done ? 0 : 1;
}

}  // namespace nerofs::fetch
