#include "mount/keeper/nbd_device.h"

#include <fcntl.h>
#include <unistd.h>

#include "mount/keeper/modules.h"
#include "mount/record.h"
#include "os/files.h"

namespace nerofs::mount {
namespace {

void write_attribute(const std::string& path, const std::string& value) {
    if (const auto file = os::open_file(path, O_WRONLY)) (void)!::write(file->get(), value.data(), value.size());
}

}  // namespace

status ensure_nbd_module() {
    if (nbd_state_of(0).exists || !nbd_indexes().empty()) return {};
    const std::string why = load_module("nbd");
    if (!nbd_indexes().empty()) return {};
    return fail(make_error(error_kind::unsupported, "this kernel has no nbd driver loaded, and " + why, ENODEV)
                    .with_hint("load the 'nbd' module, or mount without -t erofs.nbd"));
}

void tune_queue(int index, bool remote) {
    const std::string queue = "/sys/block/nbd" + std::to_string(index) + "/queue/";
    write_attribute(queue + "scheduler", "none");
    write_attribute(queue + "max_sectors_kb", "1024");
    write_attribute(queue + "read_ahead_kb", remote ? "2048" : "512");
}

}  // namespace nerofs::mount
