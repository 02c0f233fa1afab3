// The server process: sandboxed, unprivileged, opens nothing. One thread for each connection, and the main thread for
// the keeper's messages.
#pragma once

namespace nerofs::serve {

// The whole process: `control_fd` is its end of the keeper's channel. Returns the exit status.
int server_main(int control_fd);

}  // namespace nerofs::serve
