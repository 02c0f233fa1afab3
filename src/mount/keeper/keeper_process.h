// The keeper process.
#pragma once

namespace nerofs::mount {

// The whole process: `front_fd` is its end of the front's channel. Detaches from the caller first of all.
int keeper_main(int front_fd);

}  // namespace nerofs::mount
