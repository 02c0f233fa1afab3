// The fetcher process: unprivileged, disposable, the only one that talks to the world.
#pragma once

namespace nerofs::fetch {

// The whole process: `control_fd` is its end of the keeper's channel. Lives as long as the keeper or a server.
int fetcher_main(int control_fd);

}  // namespace nerofs::fetch
