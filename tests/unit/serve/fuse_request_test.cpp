// What each request of the FUSE driver is answered with.
#include "serve/fuse_request.h"

#include "fuse_driver.h"

namespace nerofs::serve::fuse {
namespace {

constexpr std::uint64_t image_size = (1u << 20) + 100;

verdict judged(const bytes& request) {
    return judge(request, image_size);
}
template <class T>
T body_of(const verdict& v) {
    T value{};
    EXPECT_EQ(v.what, action::answer);
    EXPECT_EQ(v.error, 0);
    EXPECT_EQ(v.body_bytes, sizeof value);
    std::memcpy(&value, v.body.data(), sizeof value);
    return value;
}
void expect_error(const bytes& request, std::int32_t error) {
    const verdict v = judged(request);
    EXPECT_EQ(v.what, action::answer);
    EXPECT_EQ(v.error, error);
    EXPECT_EQ(v.body_bytes, 0u);
}
bytes text(std::string_view name) {
    const auto raw = std::as_bytes(std::span(name));
    bytes all(raw.begin(), raw.end());
    all.push_back(std::byte{0});
    return all;
}
fuse_init_in init_of(std::uint32_t major, std::uint32_t minor, std::uint32_t flags) {
    fuse_init_in in{};
    in.major = major;
    in.minor = minor;
    in.max_readahead = 8u << 20;
    in.flags = flags;
    return in;
}

TEST(fuse_request, init_takes_what_the_kernel_offers_and_asks_for_no_more) {
    const auto out = body_of<fuse_init_out>(judged(fuse_request(FUSE_INIT, 1, 0, bytes_of(init_of(7, 45, ~0u)))));
    EXPECT_EQ(out.major, 7u);
    EXPECT_EQ(out.minor, 38u);
    EXPECT_EQ(out.flags, FUSE_ASYNC_READ | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS | FUSE_ASYNC_DIO);
    EXPECT_EQ(out.flags2, 0u);
    EXPECT_EQ(out.max_pages, 256u);
    EXPECT_EQ(out.max_readahead, 1u << 20);
    EXPECT_EQ(out.max_write, 4096u) << "longer writes need a longer buffer for all requests";
    const auto less = body_of<fuse_init_out>(
        judged(fuse_request(FUSE_INIT, 1, 0, bytes_of(init_of(7, 31, FUSE_ASYNC_READ | FUSE_WRITEBACK_CACHE)))));
    EXPECT_EQ(less.flags, std::uint32_t{FUSE_ASYNC_READ});
}

TEST(fuse_request, init_of_another_version) {
    const auto out = body_of<fuse_init_out>(judged(fuse_request(FUSE_INIT, 1, 0, bytes_of(init_of(8, 1, 0)))));
    EXPECT_EQ(out.major, 7u) << "the kernel asks again, by our version";
    expect_error(fuse_request(FUSE_INIT, 1, 0, bytes_of(init_of(6, 1, 0))), EPROTO);
    expect_error(fuse_request(FUSE_INIT, 1, 0, bytes_of(init_of(7, 27, 0))), EPROTO);
    expect_error(fuse_request(FUSE_INIT, 1, 0, bytes(15)), EINVAL);
}

TEST(fuse_request, the_root_holds_one_name) {
    const auto entry = body_of<fuse_entry_out>(judged(fuse_request(FUSE_LOOKUP, 2, root_node, text("image"))));
    EXPECT_EQ(entry.nodeid, file_node);
    EXPECT_EQ(entry.attr.size, image_size);
    EXPECT_EQ(entry.attr.mode, std::uint32_t{S_IFREG | 0400});
    EXPECT_GT(entry.entry_valid, 1u << 30);
    EXPECT_GT(entry.attr_valid, 1u << 30);
    for (const std::string_view name : {"", "imag", "images", "Image", "."})
        expect_error(fuse_request(FUSE_LOOKUP, 2, root_node, text(name)), ENOENT);
    expect_error(fuse_request(FUSE_LOOKUP, 2, root_node), ENOENT);
    bytes endless = text("image");
    endless.back() = std::byte{'x'};
    expect_error(fuse_request(FUSE_LOOKUP, 2, root_node, endless), ENOENT);
    expect_error(fuse_request(FUSE_LOOKUP, 2, file_node, text("image")), ENOTDIR);
    expect_error(fuse_request(FUSE_LOOKUP, 2, root_node, bytes(4000, std::byte{'a'})), ENOENT);
}

TEST(fuse_request, attributes) {
    const bytes in = bytes_of(fuse_getattr_in{});
    EXPECT_EQ(body_of<fuse_attr_out>(judged(fuse_request(FUSE_GETATTR, 2, root_node, in))).attr.mode,
              std::uint32_t{S_IFDIR | 0500});
    const auto file = body_of<fuse_attr_out>(judged(fuse_request(FUSE_GETATTR, 2, file_node, in)));
    EXPECT_EQ(file.attr.size, image_size);
    EXPECT_EQ(file.attr.blocks, (image_size + 511) / 512);
    expect_error(fuse_request(FUSE_GETATTR, 2, 3, in), ESTALE);
    expect_error(fuse_request(FUSE_GETATTR, 2, 0, in), ESTALE);
}

TEST(fuse_request, open_is_for_reading_keeps_data_out_of_the_page_cache_and_asks_nothing_at_close) {
    fuse_open_in in{};
    EXPECT_EQ(body_of<fuse_open_out>(judged(fuse_request(FUSE_OPEN, 2, file_node, bytes_of(in)))).open_flags,
              std::uint32_t{FOPEN_DIRECT_IO | FOPEN_KEEP_CACHE | FOPEN_NOFLUSH});
    for (const int flags : {O_WRONLY, O_RDWR}) {
        in.flags = static_cast<std::uint32_t>(flags);
        expect_error(fuse_request(FUSE_OPEN, 2, file_node, bytes_of(in)), EROFS);
    }
    expect_error(fuse_request(FUSE_OPEN, 2, root_node, bytes_of(fuse_open_in{})), EISDIR);
}

TEST(fuse_request, reads_end_with_the_image) {
    struct {
        std::uint64_t offset;
        std::uint32_t asked;
        std::uint32_t got;
    } const cases[] = {
        {0, 4096, 4096}, {image_size - 100, 4096, 100}, {image_size - 1, 1, 1}, {4096, 1u << 20, image_size - 4096}};
    for (const auto& c : cases) {
        const verdict v = judged(fuse_read(9, c.offset, c.asked));
        EXPECT_EQ(v.what, action::read);
        EXPECT_EQ(v.unique, 9u);
        EXPECT_EQ(v.offset, c.offset);
        EXPECT_EQ(v.length, c.got);
    }
    for (const std::uint64_t behind : {image_size, image_size + 1, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
        const verdict v = judged(fuse_read(9, behind, 4096));
        EXPECT_EQ(v.what, action::answer);
        EXPECT_EQ(v.error, 0);
        EXPECT_EQ(v.body_bytes, 0u);
    }
    EXPECT_EQ(judged(fuse_read(9, 0, 0)).what, action::answer);
    expect_error(fuse_read(9, 0, (1u << 20) + 1), EINVAL);
    expect_error(fuse_read(9, 0, ~0u), EINVAL);
    expect_error(fuse_request(FUSE_READ, 2, root_node, bytes_of(fuse_read_in{})), EISDIR);
}

TEST(fuse_request, a_length_that_is_not_the_operations_is_refused) {
    for (const std::uint32_t opcode : {FUSE_READ, FUSE_OPEN, FUSE_GETATTR, FUSE_RELEASE, FUSE_OPENDIR}) {
        expect_error(fuse_request(opcode, 2, file_node, bytes(4)), EINVAL);
        expect_error(fuse_request(opcode, 2, file_node, bytes(sizeof(fuse_read_in) + 8)), EINVAL);
        expect_error(fuse_request(opcode, 2, file_node), EINVAL);
    }
}

TEST(fuse_request, what_ends_or_forgets) {
    EXPECT_EQ(judged(fuse_request(FUSE_FORGET, 2, file_node, bytes(8))).what, action::ignore);
    EXPECT_EQ(judged(fuse_request(FUSE_BATCH_FORGET, 2, 0, bytes(8000))).what, action::ignore);
    EXPECT_EQ(judged(fuse_request(FUSE_RELEASE, 2, file_node, bytes_of(fuse_release_in{}))).what, action::answer);
    EXPECT_EQ(judged(fuse_request(FUSE_DESTROY, 2, 0)).error, 0);
    expect_error(fuse_request(FUSE_INTERRUPT, 2, 0, bytes(8)), ENOSYS);
}

TEST(fuse_request, what_would_write_meets_a_read_only_file_system) {
    for (const std::uint32_t opcode : {FUSE_SETATTR, FUSE_WRITE, FUSE_CREATE, FUSE_UNLINK, FUSE_RENAME2, FUSE_SETXATTR})
        expect_error(fuse_request(opcode, 2, file_node, bytes(100)), EROFS);
    for (const std::uint32_t opcode : {std::uint32_t{FUSE_ACCESS}, std::uint32_t{FUSE_FLUSH},
                                       std::uint32_t{FUSE_GETXATTR}, std::uint32_t{FUSE_IOCTL}, 4711u, ~0u})
        expect_error(fuse_request(opcode, 2, file_node, bytes(16)), ENOSYS);
}

TEST(fuse_request, a_cut_header_or_a_length_that_lies_is_no_request) {
    const bytes whole = fuse_read(1, 0, 4096);
    for (std::size_t n = 0; n < whole.size(); ++n)
        EXPECT_EQ(judged(bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(n))).what, action::drop) << n;
    for (const std::uint32_t length : {0u, 1u, 39u, 81u, 8193u, ~0u}) {
        bytes lying = whole;
        std::memcpy(lying.data(), &length, sizeof length);
        EXPECT_EQ(judged(lying).what, action::drop) << length;
    }
}

// The successor of a process finds a request with whatever lay behind it.
TEST(fuse_request, what_lies_behind_it_does_not_count) {
    bytes request = fuse_request(FUSE_LOOKUP, 2, root_node, text("image"));
    request.resize(3584, std::byte{'z'});
    EXPECT_EQ(body_of<fuse_entry_out>(judged(request)).nodeid, file_node);
}

}  // namespace
}  // namespace nerofs::serve::fuse
