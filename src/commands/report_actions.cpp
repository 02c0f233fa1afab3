#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "commands/actions.h"
#include "commands/text.h"
#include "mount/inventory.h"

namespace nerofs::commands {
namespace {

using mount::caretaker;
using mount::inventory_entry;

std::string_view state_of(const inventory_entry& entry) {
    switch (entry.kept_by) {
        case caretaker::keeper:
            return "served";
        case caretaker::server_only:
            return "served, its keeper is gone";
        case caretaker::nobody:
            return "not served";
        case caretaker::kernel:
            return "mounted";
    }
    return "";
}

// The first mount point of this namespace, else where it was mounted first.
std::string place_of(const inventory_entry& entry) {
    return entry.mount_points.empty() ? entry.status.target : entry.mount_points.front();
}

nlohmann::json json_of(const ctl::mount_status& s) {
    const fetch::fetch_statistics& f = s.fetched;
    return {{"image", s.resolved},
            {"present_bytes", f.present_bytes},
            {"total_bytes", f.total_bytes},
            {"verified", f.verified},
            {"requests", f.requests},
            {"fetched_bytes", f.fetched_bytes},
            {"retries", f.retries},
            {"redirects", f.redirects},
            {"waiting_reads", f.waiting_reads},
            {"requests_in_flight", f.in_flight},
            {"latency_us", f.latency_us},
            {"bytes_per_second", f.bytes_per_second},
            {"last_failure", f.last_failure},
            {"fetcher_pid", s.fetcher_pid},
            {"fetcher_restarts", s.fetcher_restarts}};
}

nlohmann::json json_of(const inventory_entry& entry) {
    const ctl::mount_status& s = entry.status;
    nlohmann::json j = {{"source", s.source},
                        {"transport", s.transport},
                        {"state", state_of(entry)},
                        {"mount_points", entry.mount_points},
                        {"target", place_of(entry)}};
    if (!s.device.empty()) j["device"] = s.device;
    if (entry.kept_by == caretaker::kernel) return j;
    j["id"] = s.id;
    j["size_bytes"] = s.size_bytes;
    j["block_size"] = s.block_size;
    j["connections"] = s.connections;
    j["attached_at"] = s.attached_at;
    if (entry.kept_by != caretaker::keeper) return j;
    j["live_connections"] = s.live_connections;
    j["keeper_pid"] = s.keeper_pid;
    j["server_pid"] = s.server_pid;
    j["server_restarts"] = s.server_restarts;
    j["requests"] = s.requests;
    j["reply_bytes"] = s.reply_bytes;
    j["errors"] = s.errors;
    j["takeovers"] = s.takeovers;
    if (s.remote) j["fetched"] = json_of(s);
    return j;
}

void print(const environment& env, const std::string& text) {
    std::fputs(text.c_str(), env.out);
}

void print_json(const environment& env, const std::vector<inventory_entry>& entries) {
    nlohmann::json list = nlohmann::json::array();
    for (const inventory_entry& entry : entries) list.push_back(json_of(entry));
    // Names need not be UTF-8; JSON must be.
    print(env, list.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void print_details(const environment& env, const inventory_entry& entry) {
    const ctl::mount_status& s = entry.status;
    std::string text = printable(place_of(entry)) + "\n";
    const auto line = [&text](std::string_view name, const std::string& value) {
        text += fmt::format("  {:<12} {}\n", name, value);
    };
    line("source", printable(s.source));
    line("transport", s.transport + (s.device.empty() ? "" : ", " + s.device));
    line("state", std::string(state_of(entry)));
    for (std::size_t i = 1; i < entry.mount_points.size(); ++i) line("also on", printable(entry.mount_points[i]));
    if (entry.kept_by != caretaker::kernel) {
        line("size", fmt::format("{} ({} bytes, blocks of {})", size_text(s.size_bytes), s.size_bytes, s.block_size));
        line("since", fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::localtime(static_cast<std::time_t>(s.attached_at))));
    }
    if (entry.kept_by == caretaker::keeper) {
        line("connections", fmt::format("{} of {} live", s.live_connections, s.connections));
        line("processes",
             fmt::format("keeper {}, server {} (restarted {} times)", s.keeper_pid, s.server_pid, s.server_restarts));
        line("requests", fmt::format("{}, {} sent, {} errors, {} taken over", s.requests, size_text(s.reply_bytes),
                                     s.errors, s.takeovers));
        if (s.remote) {
            const fetch::fetch_statistics& f = s.fetched;
            if (!s.resolved.empty()) line("image", printable(s.resolved));
            line("present", fmt::format("{} of {} ({} %){}", size_text(f.present_bytes), size_text(f.total_bytes),
                                        f.total_bytes == 0 ? 0 : f.present_bytes * 100 / f.total_bytes,
                                        f.verified ? ", checked against its digest" : ""));
            line("fetched", fmt::format("{} in {} requests, for {} that were read; {} retries",
                                        size_text(f.fetched_bytes), f.requests, size_text(s.reply_bytes), f.retries));
            line("link",
                 fmt::format("{:.1f} ms to the first byte, {:.1f} MB/s", static_cast<double>(f.latency_us) / 1000,
                             static_cast<double>(f.bytes_per_second) / 1e6));
            line("waiting", fmt::format("{} reads, for {} requests under way", f.waiting_reads, f.in_flight));
            line("fetcher", fmt::format("{} (restarted {} times)", s.fetcher_pid, s.fetcher_restarts));
            if (!f.last_failure.empty()) line("last failure", printable(f.last_failure));
        }
    } else if (entry.kept_by != caretaker::kernel) {
        line("hint", "nerofs reattach " + s.device);
    }
    print(env, text);
}

}  // namespace

status do_list(bool json, const environment& env) {
    const auto entries = mount::take_inventory(env.directory);
    if (json) {
        print_json(env, entries);
        return {};
    }
    if (entries.empty()) return {};
    print(env, fmt::format("{:<12} {:<14} {:<10} {:<28} {}\n", "DEVICE", "TRANSPORT", "STATE", "MOUNT", "SOURCE"));
    for (const inventory_entry& entry : entries) {
        const std::string_view state = entry.kept_by == caretaker::server_only ? "no keeper" : state_of(entry);
        print(env,
              fmt::format("{:<12} {:<14} {:<10} {:<28} {}\n", entry.status.device.empty() ? "-" : entry.status.device,
                          entry.status.transport, state, printable(place_of(entry)), printable(entry.status.source)));
    }
    return {};
}

status do_status(const std::string& target, bool json, const environment& env) {
    auto entries = mount::take_inventory(env.directory);
    if (!target.empty()) {
        std::erase_if(entries, [&](const inventory_entry& entry) { return !mount::is_meant(entry, target); });
        if (entries.empty())
            return fail(error_kind::not_found, "'" + target + "' is neither mounted nor attached", ENOENT);
    }
    if (json)
        print_json(env, entries);
    else
        for (const inventory_entry& entry : entries) print_details(env, entry);
    return {};
}

}  // namespace nerofs::commands
