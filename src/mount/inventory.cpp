#include "mount/inventory.h"

#include <algorithm>

#include "os/files.h"
#include "serve/messages.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

constexpr auto answer_time = 1s;

struct greeted {
    os::channel channel;
    serve::role who;
};

result<greeted> greet(const std::string& control_path) {
    NEROFS_TRY(os::channel channel, os::connect_to(control_path));
    NEROFS_TRY(const os::packet hello, channel.receive(os::in_time(answer_time)));
    wire_reader body(hello.bytes);
    const auto type = body.get<serve::message>();
    const auto who = body.get<serve::role>();
    if (type != serve::message::hello || !body.done()) return fail(error_kind::corrupt, "no keeper answers");
    return greeted{std::move(channel), who};
}

inventory_entry entry_of(const run_directory& directory, const record& r) {
    inventory_entry entry;
    entry.status.id = r.id;
    entry.status.source = r.source;
    entry.status.target = r.target;
    entry.status.device = r.index >= 0 ? "/dev/nbd" + std::to_string(r.index) : "";
    entry.status.transport = r.transport;
    entry.status.size_bytes = r.identity.size_bytes;
    entry.status.block_size = r.block_size;
    entry.status.connections = r.connections;
    entry.status.attached_at = r.attached_at;
    auto peer = greet(directory.control_path(r.id));
    if (!peer) return entry;
    entry.kept_by = peer->who == serve::role::keeper ? caretaker::keeper : caretaker::server_only;
    if (peer->who != serve::role::keeper || !ctl::send_simple(peer->channel, ctl::message::status)) return entry;
    const auto packet = ctl::receive_answer(peer->channel, ctl::message::status_answer, os::in_time(answer_time));
    if (!packet) return entry;
    wire_reader body = ctl::body_of(*packet);
    if (auto status = ctl::decode_status(body)) entry.status = std::move(*status);
    return entry;
}

std::string block_name_of(const os::mount_entry& m) {
    const auto resolved = os::real_path("/sys/dev/block/" + std::to_string(m.major) + ":" + std::to_string(m.minor));
    return resolved ? resolved->substr(resolved->rfind('/') + 1) : std::string();
}

// A mount that the kernel keeps by itself.
inventory_entry entry_of(const os::mount_entry& m) {
    inventory_entry entry;
    entry.kept_by = caretaker::kernel;
    entry.status.source = m.source;
    entry.status.target = m.mount_point;
    const std::string name = block_name_of(m);
    if (name.empty()) {
        entry.status.transport = "file-backed";  // an anonymous device number
    } else if (const auto file = os::read_attribute("/sys/block/" + name + "/loop/backing_file"); file) {
        entry.status.transport = "loop";
        entry.status.device = "/dev/" + name;
        entry.status.source = *file;
    } else {
        entry.status.transport = name.starts_with("nbd") ? "nbd (not ours)" : "block device";
        entry.status.device = "/dev/" + name;
    }
    return entry;
}

}  // namespace

std::optional<int> nbd_index_of_mount(const os::mount_entry& m) {
    const std::string name = block_name_of(m);
    if (!name.starts_with("nbd")) return std::nullopt;
    const auto index = nbd_index_of(name);
    return index ? std::optional(*index) : std::nullopt;
}

bool is_meant(const inventory_entry& entry, const std::string& target) {
    const std::string path = os::spelled_out(target);
    return entry.status.device == path || entry.status.target == path || entry.status.id == target ||
           std::find(entry.mount_points.begin(), entry.mount_points.end(), path) != entry.mount_points.end();
}

std::vector<inventory_entry> take_inventory(const run_directory& directory) {
    std::vector<inventory_entry> entries;
    for (const std::string& id : directory.ids())
        if (const auto r = directory.load(directory.record_path(id))) entries.push_back(entry_of(directory, *r));
    std::sort(entries.begin(), entries.end(),
              [](const auto& a, const auto& b) { return a.status.device < b.status.device; });
    const auto mounts = os::read_mounts();
    if (!mounts) return entries;
    for (const os::mount_entry& m : *mounts) {
        if (m.type != "erofs") continue;
        const std::string device = "/dev/" + block_name_of(m);
        const auto ours = std::find_if(entries.begin(), entries.end(), [&](const inventory_entry& e) {
            if (e.kept_by == caretaker::kernel) return false;
            if (e.status.transport == "fuse") return e.status.target == m.mount_point;
            return e.status.device == device;
        });
        if (ours != entries.end()) {
            ours->mount_points.push_back(m.mount_point);
        } else {
            entries.push_back(entry_of(m));
            entries.back().mount_points.push_back(m.mount_point);
        }
    }
    return entries;
}

result<record> fuse_record_at(const run_directory& directory, const std::string& mount_point) {
    for (const std::string& id : directory.ids()) {
        auto r = directory.load(directory.record_path(id));
        if (r && r->transport == "fuse" && (r->target == mount_point || r->id == mount_point)) return r;
    }
    return fail(error_kind::not_found, "'" + mount_point + "' is no mount of nerofs by FUSE", ENOENT);
}

result<std::string> record_of_device(const run_directory& directory, int nbd_index) {
    const std::string name = "nbd" + std::to_string(nbd_index);
    if (std::string backend = nbd_state_of(nbd_index).backend; !backend.empty()) return backend;
    for (const std::string& id : directory.ids()) {
        const auto r = directory.load(directory.record_path(id));
        if (r && r->index == nbd_index) return directory.record_path(id);
    }
    // Where the peer keeps the records of devices that have no backend identifier.
    const std::string peers = "/var/run/erofsmount/nbd/mountnbd_" + name;
    if (os::read_small_file(peers)) return peers;
    return fail(error_kind::not_found, name + " has no record: it wasn't attached by nerofs", ENOENT);
}

result<std::string> control_path_of(const run_directory& directory, int nbd_index) {
    NEROFS_TRY(const std::string path, record_of_device(directory, nbd_index));
    NEROFS_TRY(const record r, directory.load(path));
    return directory.control_path(r.id);
}

result<os::channel> connect_keeper(const std::string& control_path) {
    NEROFS_TRY(greeted peer, greet(control_path));
    if (peer.who != serve::role::keeper) return fail(error_kind::not_found, "its keeper is gone", ESRCH);
    return std::move(peer.channel);
}

}  // namespace nerofs::mount
