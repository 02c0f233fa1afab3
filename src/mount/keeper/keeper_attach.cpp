// How a keeper comes to its device: attach of a new one, reattach of one that an earlier keeper had.
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>

#include <algorithm>
#include <ctime>
#include <thread>

#include "base/fault.h"
#include "base/wire.h"
#include "mount/keeper/keeper.h"
#include "mount/local.h"
#include "os/files.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_time = 5s;             // for a server to hand its descriptors over
constexpr unsigned default_connections = 8;  // at most, and no more than there are CPUs

result<image_identity> identity_of(fd_ref image, const fetch::image_info& info) {
    struct stat found {};
    if (::fstat(image.get(), &found) != 0) return fail_errno("stat");
    image_identity identity;
    identity.size_bytes = info.size_bytes;
    identity.inode = found.st_ino;
    identity.mtime_ns = found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec;
    identity.uuid = info.uuid;
    return identity;
}

error is_served(const attached_device& device) {
    return make_error(error_kind::usage, device.name() + " is being served; nothing was changed", EBUSY);
}

// Layers that a kernel won't mount needn't be read. Where it can't be asked the mount will tell.
status layers_can_be_mounted() {
    const bool refused = fault::point("keeper.layers") != 0 || takes_layers() == false;
    if (!refused) return {};
    fetch::image_info layers;
    layers.kernel_series = "6.4";
    layers.kernel_feature = "blocks smaller than a page";
    return fail(make_error(error_kind::unsupported, "this kernel's EROFS takes no images of layers", EINVAL)
                    .with_hint("the image needs " + fetch::needs_of(layers)));
}

}  // namespace

// ---- attach ----

status keeper::attach(const ctl::attach_request& request, unique_fd image) {
    NEROFS_CHECK(directory_.prepare());
    directory_.collect_garbage();
    record_.id = request.id;
    record_.source = request.source;
    record_.path = request.path;
    record_.target = request.target;
    record_.fs_offset = request.fs_offset;
    record_.extra_devices = request.extra_devices;
    record_.timeout = request.nbd.timeout;
    record_.dead_timeout = request.nbd.dead_timeout;
    record_.remote = request.remote;
    record_.cache = request.cache;
    record_.connections = request.nbd.connections;
    if (record_.connections == 0)
        record_.connections = std::clamp(std::thread::hardware_concurrency(), 1u, default_connections);
    record_.backend = directory_.record_path(record_.id);
    if (image) {
        NEROFS_CHECK(open_local(std::move(image)));
    } else {
        NEROFS_CHECK(open_remote(request.secrets, std::nullopt));
    }
    fault::point("keeper.checked");
    NEROFS_TRY(control_, os::listen_at(directory_.control_path(record_.id)));
    record_.attached_at = ::time(nullptr);
    if (request.via == ctl::transport_choice::fuse) return attach_by_fuse();
    status done = attach_by_nbd(request);
    if (done || request.via == ctl::transport_choice::nbd || device_) return done;
    const std::string why = done.error().text;
    end_serving();
    connections_.clear();
    done = attach_by_fuse();
    if (!done) return fail(make_error(error_kind::unsupported, why + "; and by FUSE: " + done.error().text));
    if (!note_.empty()) note_ += "; ";
    note_ += "by FUSE, as there is no nbd device (" + why + ")";
    return {};
}

status keeper::attach_by_nbd(const ctl::attach_request& request) {
    NEROFS_CHECK(ensure_nbd_module());
    NEROFS_CHECK(make_journal());
    NEROFS_TRY(const std::vector<unique_fd> kernel_ends, make_sockets());
    record_.transport = "nbd (netlink)";
    NEROFS_TRY(const serve::server_setup setup, setup_now());
    NEROFS_TRY(server_, start_server(setup));
    server_ready_ = true;
    server_started_ = std::chrono::steady_clock::now();
    fault::point("keeper.serving");
    NEROFS_CHECK(directory_.store(record_));
    fault::point("keeper.recorded");
    NEROFS_CHECK(connect_device(request.nbd, kernel_ends));
    fault::point("keeper.connected");
    record_.transport = device_->transport();
    record_.index = device_->index();
    NEROFS_CHECK(directory_.store(record_));
    tune_queue(device_->index(), static_cast<bool>(remote_));
    return {};
}

status keeper::attach_by_fuse() {
    NEROFS_TRY(os::fuse_superblock made, make_image_file_system(record_.connections));
    record_.transport = "fuse";
    record_.connections = static_cast<std::uint32_t>(made.devices.size());
    NEROFS_CHECK(make_journal());
    connections_.resize(made.devices.size());
    for (std::size_t i = 0; i < connections_.size(); ++i) connections_[i].socket = std::move(made.devices[i]);
    fuse_mount_ = std::move(made.mount);
    NEROFS_TRY(const serve::server_setup setup, setup_now());
    NEROFS_TRY(server_, start_server(setup));
    server_ready_ = true;
    server_started_ = std::chrono::steady_clock::now();
    device_ = make_fuse_device();
    fault::point("keeper.serving");
    NEROFS_CHECK(directory_.store(record_));
    fault::point("keeper.recorded");
    return {};
}

status keeper::open_local(unique_fd image) {
    NEROFS_TRY(const fetch::image_info info, check_image(image, {record_.fs_offset, record_.extra_devices}));
    NEROFS_TRY(const image_identity identity, identity_of(image, info));
    if (!record_.identity.uuid.empty() && !(identity == record_.identity))
        return fail(error_kind::usage, "'" + record_.path + "' is not the image that was mounted: it has changed",
                    ESTALE);
    record_.identity = identity;
    pieces_.push_back({0, info.size_bytes, 0, record_.fs_offset, false});
    files_.push_back(std::move(image));
    take_facts(info);
    return {};
}

remote_image::request keeper::remote_request(const fetch::remote_secrets& secrets) const {
    return {record_.remote, secrets, record_.cache, record_.fs_offset, record_.extra_devices};
}

status keeper::open_remote(const fetch::remote_secrets& secrets, const std::optional<fetch::remote_identity>& known) {
    remote_image::request request = remote_request(secrets);
    request.waits_for = [this](const std::string& what) {
        const status told = ctl::send_text(front_, ctl::message::progress, what);
        return told || told.error().kind != error_kind::cancelled;
    };
    request.before_reading = layers_can_be_mounted;
    NEROFS_TRY(remote_, remote_image::open(std::move(request), known));
    const fetch::image_info& info = remote_.info();
    if (!record_.identity.uuid.empty() && record_.identity.uuid != info.uuid)
        return fail(error_kind::usage, "it is not the image that was mounted: it has changed", ESTALE);
    record_.remote_identity = remote_.identity();
    record_.identity.size_bytes = info.size_bytes;
    record_.identity.uuid = info.uuid;
    note_ = remote_.note();
    NEROFS_TRY(pieces_, remote_.pieces(info.size_bytes, files_));
    take_facts(info);
    return {};
}

void keeper::take_facts(const fetch::image_info& info) {
    record_.block_size = info.block_size;
    needs_ = fetch::needs_of(info);
}

status keeper::make_journal() {
    const std::size_t bytes = serve::journal_bytes(record_.connections);
    NEROFS_TRY(journal_fd_, os::make_memfd("nerofs-journal", bytes));
    NEROFS_TRY(journal_memory_, os::mapping::map(journal_fd_, bytes, true));
    return {};
}

result<std::vector<unique_fd>> keeper::make_sockets() {
    std::vector<unique_fd> kernel_ends;
    connections_.resize(record_.connections);
    for (connection& c : connections_) {
        NEROFS_TRY(auto ends, os::stream_pair());
        c.socket = std::move(ends.first);
        kernel_ends.push_back(std::move(ends.second));
    }
    return kernel_ends;
}

status keeper::connect_device(const ctl::nbd_settings& wanted, const std::vector<unique_fd>& kernel_ends) {
    const nbd_parameters parameters{record_.identity.size_bytes, static_cast<std::uint32_t>(record_.block_size),
                                    record_.timeout, record_.dead_timeout, record_.backend};
    if (wanted.method != ctl::attach_method::ioctl) {
        auto device = connect_by_netlink(parameters, kernel_ends);
        if (device) {
            device_ = std::move(*device);
            return {};
        }
        const error_kind kind = device.error().kind;
        const bool unusable =
            kind == error_kind::unsupported || kind == error_kind::not_found || kind == error_kind::permission;
        if (wanted.method == ctl::attach_method::netlink || !unusable)
            return fail(std::move(device).error().in("cannot connect an nbd device"));
        if (!note_.empty()) note_ += "; ";
        note_ += "attached by ioctl, without failover of its keeper (" + device.error().text + ")";
    }
    NEROFS_TRY(device_, connect_by_ioctl(parameters, kernel_ends));
    return {};
}

// ---- reattach ----

status keeper::reattach(const ctl::reattach_request& request) {
    attaching_ = false;
    NEROFS_CHECK(directory_.prepare());
    // One after the other: the second finds the first one's keeper.
    NEROFS_TRY(const unique_fd lock, os::lock_directory(directory_.path()));
    NEROFS_TRY(record_, directory_.load(request.record));
    if (record_.transport == "nbd (ioctl)")
        return fail(error_kind::unsupported, "a device attached by ioctl ends with its keeper and can't be reattached");
    if (by_fuse()) {
        auto alive = os::connect_to(directory_.control_path(record_.id));
        if (!alive)
            return fail(make_error(error_kind::not_found, "its FUSE file system has ended with its server", ENOTCONN)
                            .with_hint("unmount it, and mount it again"));
        NEROFS_TRY(const os::packet hello, alive->receive(os::in_time(answer_time)));
        wire_reader body(hello.bytes);
        device_ = make_fuse_device();
        if (body.get<serve::message>() != serve::message::hello || body.get<serve::role>() == serve::role::keeper)
            return fail(is_served(*device_));
        NEROFS_CHECK(adopt_server(std::move(*alive), request.secrets));
        mounted_ = true;
        return directory_.store(record_);
    }
    const auto index = request.index >= 0 ? std::optional(request.index) : nbd_with_backend(record_.backend);
    if (!index || !nbd_state_of(*index).connected)
        return fail(error_kind::not_found, "the device isn't connected any more", ENODEV);
    record_.index = *index;
    NEROFS_TRY(device_, adopt_by_netlink(*index, record_.backend));

    if (auto alive = os::connect_to(directory_.control_path(record_.id)); alive) {
        NEROFS_TRY(const os::packet hello, alive->receive(os::in_time(answer_time)));
        wire_reader body(hello.bytes);
        if (body.get<serve::message>() != serve::message::hello || body.get<serve::role>() == serve::role::keeper)
            return fail(is_served(*device_));
        NEROFS_CHECK(adopt_server(std::move(*alive), request.secrets));
    } else {
        NEROFS_CHECK(serve_again(request.secrets));
    }
    NEROFS_CHECK(directory_.store(record_));
    mounted_ = true;
    // Not on a device that nobody mounts yet: mount(8) opens and closes it once before it mounts.
    find_out_whether_mounted([this](bool is_mounted) {
        if (is_mounted) enable_autoclear();
    });
    return {};
}

// The server has outlived its keeper: it hands over all that a keeper holds, and goes on.
status keeper::adopt_server(os::channel server, const fetch::remote_secrets& secrets) {
    NEROFS_CHECK(serve::send_simple(server, serve::message::adopt));
    NEROFS_TRY(os::packet packet, server.receive(os::in_time(answer_time)));
    NEROFS_TRY(os::process process, os::process::watch(packet.sender));
    NEROFS_TRY(serve::server_setup setup,
               serve::decode_setup(std::move(packet), [&] { return server.receive(os::in_time(answer_time)); }));
    std::vector<unique_fd>& links = by_fuse() ? setup.fuse : setup.sockets;
    if (setup.connections != links.size() || !setup.journal || !setup.control)
        return fail(error_kind::corrupt, "the server handed over too little");
    const std::size_t bytes = serve::journal_bytes(setup.connections);
    NEROFS_TRY(const std::uint64_t size, os::file_size(setup.journal));
    if (size < bytes) return fail(error_kind::corrupt, "the server handed over too little");
    NEROFS_TRY(journal_memory_, os::mapping::map(setup.journal, bytes, true));
    journal_fd_ = std::move(setup.journal);
    control_ = std::move(setup.control);
    files_ = std::move(setup.files);
    pieces_ = std::move(setup.pieces);
    connections_.resize(setup.connections);
    for (std::size_t i = 0; i < connections_.size(); ++i) connections_[i].socket = std::move(links[i]);
    server_ = child{std::move(process), std::move(server)};
    server_ready_ = true;
    if (!setup.blobs.empty()) {
        NEROFS_TRY(remote_, remote_image::adopt(remote_request(secrets), record_.remote_identity, setup.blobs));
        if (const unique_fd fetcher = remote_.connect_server())
            NEROFS_CHECK(serve::send_fetcher(server_.channel, fetcher));
    }
    note_ = "its server was still running and goes on";
    return {};
}

// Nobody is left: the source is opened again, and the device gets new sockets.
status keeper::serve_again(const fetch::remote_secrets& secrets) {
    if (record_.remote.kind == fetch::remote_kind::none) {
        NEROFS_TRY(unique_fd image, os::open_file(record_.path, O_RDONLY | O_NONBLOCK));
        NEROFS_CHECK(open_local(std::move(image)));
    } else {
        // A record of the peer's doesn't say which bytes it meant.
        const auto known =
            record_.remote_identity.parts.empty() ? std::nullopt : std::optional(record_.remote_identity);
        NEROFS_CHECK(open_remote(secrets, known));
    }
    NEROFS_CHECK(make_journal());
    NEROFS_TRY(std::vector<unique_fd> kernel_ends, make_sockets());
    // Not before it is known that nobody listens there.
    server_started_ = std::chrono::steady_clock::now();
    NEROFS_TRY(control_, os::listen_at(directory_.control_path(record_.id)));
    NEROFS_TRY(const serve::server_setup setup, setup_now());
    NEROFS_TRY(server_, start_server(setup));
    server_ready_ = true;
    for (const unique_fd& end : kernel_ends) NEROFS_CHECK(device_->replace_socket(end));
    // The kernel takes sockets in place of dead ones, and drops the others without a word: then nobody holds their far
    // ends.
    kernel_ends.clear();
    const bool taken = std::any_of(connections_.begin(), connections_.end(), [](const connection& c) {
        pollfd end{c.socket.get(), POLLRDHUP, 0};
        return ::poll(&end, 1, 0) == 0;
    });
    if (!taken) return fail(is_served(*device_));
    return {};
}

}  // namespace nerofs::mount
