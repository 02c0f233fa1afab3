// The tree of an EROFS image without a mount: inodes, directories, symlinks, xattrs, and the data of what isn't
// compressed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "erofs/byte_reader.h"
#include "erofs/directory.h"
#include "erofs/inode.h"
#include "erofs/superblock.h"
#include "erofs/xattr.h"

namespace nerofs::erofs {

// Where a run of a file's bytes comes from.
struct extent {
    enum class source : std::uint8_t {
        zeros,    // a hole: nothing is stored
        device,   // `device` at `address`
        metabox,  // the metabox inode's data at `address` (inline tails of inodes that lie there)
    };
    source from = source::zeros;
    std::uint32_t device = 0;   // 0: the image; n: the nth device given to open()
    std::uint64_t address = 0;  // bytes
    std::uint64_t length = 0;   // bytes from the offset asked for on; within the file
};

// Reads what it is asked for and little more (metadata in windows of 4 KiB), through the byte_readers it was given;
// blocks as they do. Nothing the image says can make it loop, recurse deeply, or allocate more than some 17 MiB for one
// call. One thread at a time. Errors of all calls: corrupt (the image can't be what it says), unsupported (compressed
// data, and formats nobody here knows), and those of the byte_readers. The texts name the inode.
class reader {
  public:
    // Checks the superblock and takes over its facts. `image` has `available_bytes`; `devices` are the extra devices in
    // the table's order, or none, and then the image's other devices lie behind it (the flat rule). All must outlive
    // the reader. usage: the number of devices isn't the image's.
    static result<reader> open(byte_reader& image, std::uint64_t available_bytes,
                               std::vector<byte_reader*> devices = {});

    reader(reader&&) noexcept;
    reader& operator=(reader&&) noexcept;
    ~reader();

    const superblock_info& super() const;

    // The root directory; corrupt if it is something else.
    result<inode> root();
    result<inode> read_inode(std::uint64_t nid);

    // Where the bytes from `offset` on lie; `offset` is less than the file's size (usage otherwise).
    // unsupported: the file is compressed.
    result<extent> map(const inode& file, std::uint64_t offset);

    // Fills `into` from the file's data at `offset` and returns how many bytes there were before its end, as pread(2).
    result<std::size_t> read(const inode& file, std::uint64_t offset, std::span<std::byte> into);

    // A symlink's target: 1 to 4095 bytes, no NUL. usage: not a symlink.
    result<std::string> read_link(const inode& link);

    // Calls `each` with every entry but "." and "..", in order, until it returns false. The entry's name is only valid
    // during the call, and `each` may use this reader. usage: not a directory.
    status list(const inode& directory, const std::function<bool(const directory_entry&)>& each);

    // The entry of this name, or nothing. Takes a number of blocks logarithmic in the directory's size. A name that
    // can't be one (empty, ".", "..", '/', ...) is never found. usage: not a directory.
    result<std::optional<std::uint64_t>> lookup(const inode& directory, std::string_view name);

    // All extended attributes, own ones first, then shared ones.
    result<std::vector<xattr>> xattrs(const inode& of);

  private:
    struct state;
    explicit reader(std::unique_ptr<state> s);
    std::unique_ptr<state> state_;
};

}  // namespace nerofs::erofs
