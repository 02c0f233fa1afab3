// The checker process: a fetcher in its smallest form, for images that lie on this machine. Unprivileged, gone after
// one answer, and without what only fetching needs (libcurl, TLS), since its start is a good part of a local mount's
// time.
#pragma once

namespace nerofs::fetch {

// The whole process: `control_fd` is its end of the keeper's channel.
int checker_main(int control_fd);

}  // namespace nerofs::fetch
