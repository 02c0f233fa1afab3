// The fetcher process: unprivileged, disposable, the only one that looks at bytes from outside.
#pragma once

namespace nerofs::fetch {

// The whole process: `control_fd` is its end of the keeper's channel. For a local image it checks and leaves.
int fetcher_main(int control_fd);

}  // namespace nerofs::fetch
