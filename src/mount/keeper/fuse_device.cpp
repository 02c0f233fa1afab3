#include "mount/keeper/fuse_device.h"

#include "mount/keeper/modules.h"

namespace nerofs::mount {
namespace {

class fuse_device final : public attached_device {
  public:
    std::string name() const override { return "the FUSE file system"; }
    std::string path() const override { return {}; }
    std::string transport() const override { return "fuse"; }
    bool connected() const override { return !ended_; }
    status enable_autoclear() override { return {}; }  // it is born so
    status replace_socket(fd_ref) override { return fail(error_kind::unsupported, "FUSE has no sockets"); }
    status disconnect() override {
        ended_ = true;  // the keeper closes the descriptors
        return {};
    }

  private:
    bool ended_ = false;
};

}  // namespace

result<os::fuse_superblock> make_image_file_system(unsigned descriptors) {
    auto made = os::make_fuse_superblock("nerofs", descriptors);
    if (made || made.error().kind != error_kind::unsupported) return made;
    (void)load_module("fuse");
    return os::make_fuse_superblock("nerofs", descriptors);
}

std::unique_ptr<attached_device> make_fuse_device() {
    return std::make_unique<fuse_device>();
}

}  // namespace nerofs::mount
