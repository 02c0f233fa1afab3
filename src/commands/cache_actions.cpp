#include <fmt/chrono.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "cache/store.h"
#include "commands/actions.h"
#include "commands/remote_request.h"
#include "commands/text.h"
#include "mount/cache_place.h"
#include "mount/inventory.h"
#include "mount/remote_image.h"

namespace nerofs::commands {
namespace {

using namespace std::chrono_literals;

constexpr auto look_every = 200ms;
constexpr auto answer_time = 5s;
constexpr auto patience_without_progress = 120s;

void print(const environment& env, const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), env.out);
}

// "[#####.....] 51 %  56 of 110 MiB, 45.1 MB/s" over itself on a terminal, and once a line at the end.
class progress {
  public:
    explicit progress(const environment& env) : env_(env), terminal_(::isatty(::fileno(env.out)) == 1) {}

    void show(const fetch::fetch_statistics& s) {
        if (!terminal_) return;
        constexpr std::uint64_t width = 30;
        const std::uint64_t total = std::max<std::uint64_t>(1, s.total_bytes);
        const std::uint64_t done = std::min(width, s.present_bytes * width / total);
        print(env_,
              fmt::format("\r[{}{}] {:3} %  {} of {}, {:.1f} MB/s   ", std::string(done, '#'),
                          std::string(width - done, '.'), s.present_bytes * 100 / total, size_text(s.present_bytes),
                          size_text(s.total_bytes), static_cast<double>(s.bytes_per_second) / 1e6));
        std::fflush(env_.out);
    }
    void finish(const std::string& name, const fetch::fetch_statistics& s) {
        show(s);
        print(env_, fmt::format("{}{}: {} in the cache{}\n", terminal_ ? "\n" : "", printable(name),
                                size_text(s.present_bytes), s.verified ? ", checked against its digest" : ""));
    }

  private:
    const environment& env_;
    bool terminal_;
};

// Looks at the statistics until everything is there, and checked if it `has_digest`. An error when nothing moves for
// long.
template <class Ask>
status wait_for_all(const std::string& name, bool has_digest, const environment& env, Ask&& ask) {
    progress bar(env);
    std::uint64_t last = 0;
    auto moved = std::chrono::steady_clock::now();
    for (;;) {
        NEROFS_TRY(const fetch::fetch_statistics s, ask());
        const bool all = s.present_bytes == s.total_bytes && s.total_bytes > 0;
        if (all && (s.verified || !has_digest)) {
            bar.finish(name, s);
            return {};
        }
        bar.show(s);
        const auto now = std::chrono::steady_clock::now();
        if (s.present_bytes != last) moved = now;
        last = s.present_bytes;
        if (now - moved > patience_without_progress)
            return fail(error_kind::timeout,
                        s.last_failure.empty() ? "nothing comes any more" : "nothing comes any more: " + s.last_failure,
                        ETIMEDOUT);
        ::usleep(std::chrono::duration_cast<std::chrono::microseconds>(look_every).count());
    }
}

status fetch_mounted(const mount::inventory_entry& entry, const environment& env) {
    const std::string path = env.directory.control_path(entry.status.id);
    const auto ask = [&](ctl::message what, ctl::message answer) -> result<os::packet> {
        NEROFS_TRY(const os::channel keeper, mount::connect_keeper(path));
        NEROFS_CHECK(ctl::send_simple(keeper, what));
        return ctl::receive_answer(keeper, answer, os::in_time(answer_time));
    };
    NEROFS_TRY(const os::packet begun, ask(ctl::message::fetch_all, ctl::message::done));
    return wait_for_all(entry.status.source, !entry.status.resolved.empty(), env,
                        [&]() -> result<fetch::fetch_statistics> {
                            NEROFS_TRY(const os::packet packet, ask(ctl::message::status, ctl::message::status_answer));
                            wire_reader body = ctl::body_of(packet);
                            NEROFS_TRY(const ctl::mount_status now, ctl::decode_status(body));
                            return now.fetched;
                        });
}

status fetch_source(const cli::nerofs_fetch& command, const environment& env) {
    NEROFS_TRY(const cli::source_spec spec,
               cli::classify_source(command.target, command.options, cli::local_entry::none));
    if (std::holds_alternative<cli::local_source>(spec))
        return fail(error_kind::usage, "it is neither mounted nor an image that can be fetched");
    NEROFS_TRY(remote_wish wish, remote_wish_of(spec, command.options));
    if (wish.cache.none) return fail(error_kind::usage, "option 'cache=none': nothing would be left of it");
    NEROFS_TRY(mount::remote_image image, open_by_itself({wish.source, wish.secrets, wish.cache}));
    if (!image.note().empty()) return fail(error_kind::permanent, image.note());
    NEROFS_CHECK(image.fetch_all());
    const status done =
        wait_for_all(wish.shown, image.identity().has_digests(), env, [&]() -> result<fetch::fetch_statistics> {
            NEROFS_TRY(const bool replaced, image.look_after());
            if (replaced) NEROFS_CHECK(image.fetch_all());
            return image.statistics();
        });
    image.close();
    return done;
}

result<cache::store> open_store(const cli::mount_options& options) {
    return cache::store::open(mount::store_options_for(cache_choice_of(options)));
}

status list(cache::store& store, bool json, const environment& env) {
    NEROFS_TRY(std::vector<cache::blob_info> blobs, store.list());
    std::sort(blobs.begin(), blobs.end(), [](const auto& a, const auto& b) { return a.last_use > b.last_use; });
    if (json) {
        nlohmann::json all = nlohmann::json::array();
        for (const cache::blob_info& b : blobs)
            all.push_back({{"name", b.key.name()},
                           {"digest", b.key.digest()},
                           {"size_bytes", b.key.size()},
                           {"present_bytes", b.present_bytes},
                           {"disk_bytes", b.disk_bytes},
                           {"in_use", b.pinned},
                           {"verified", b.verified},
                           {"last_use", std::chrono::system_clock::to_time_t(b.last_use)}});
        print(env, all.dump(2) + "\n");
        return {};
    }
    if (blobs.empty()) return {};
    print(env, fmt::format("{:>10} {:>10} {:<8} {:<17} {}\n", "PRESENT", "SIZE", "STATE", "LAST USE", "NAME"));
    for (const cache::blob_info& b : blobs)
        print(env, fmt::format("{:>10} {:>10} {:<8} {:%Y-%m-%d %H:%M}  {}\n", size_text(b.present_bytes),
                               size_text(b.key.size()),
                               b.pinned     ? "in use"
                               : b.verified ? "checked"
                                            : "-",
                               fmt::localtime(std::chrono::system_clock::to_time_t(b.last_use)), b.key.name()));
    return {};
}

status remove(cache::store& store, const std::vector<std::string>& names, const environment& env) {
    NEROFS_TRY(const std::vector<cache::blob_info> blobs, store.list());
    for (const std::string& name : names) {
        const auto found = std::find_if(blobs.begin(), blobs.end(), [&](const cache::blob_info& b) {
            return b.key.name() == name || (!b.key.digest().empty() && b.key.digest() == name);
        });
        if (found == blobs.end()) return fail(error_kind::not_found, "'" + name + "' is not in the cache", ENOENT);
        auto freed = store.remove(found->key);
        if (!freed) return fail(std::move(freed).error().in("'" + name + "'"));
        print(env, fmt::format("{}: {} freed\n", name, size_text(*freed)));
    }
    return {};
}

}  // namespace

status do_fetch(const cli::nerofs_fetch& command, const environment& env) {
    const auto run = [&]() -> status {
        for (const mount::inventory_entry& entry : mount::take_inventory(env.directory))
            if (mount::is_meant(entry, command.target)) return fetch_mounted(entry, env);
        return fetch_source(command, env);
    };
    auto done = run();
    if (done) return {};
    return fail(std::move(done).error().in("cannot fetch '" + shown_source(command.target) + "'"));
}

status do_index_push(const cli::nerofs_index_push& command, const environment& env) {
    const auto run = [&]() -> status {
        NEROFS_TRY(const cli::source_spec spec,
                   cli::classify_source(command.image, command.options, cli::local_entry::none));
        if (!std::holds_alternative<cli::oci_source>(spec))
            return fail(error_kind::usage, "it is no image in a registry (docker://NAME)");
        NEROFS_TRY(remote_wish wish, remote_wish_of(spec, command.options));
        wish.source.push_indexes = true;
        wish.source.prefetch = fetch::prefetch_mode::none;
        NEROFS_TRY(mount::remote_image image, open_by_itself({wish.source, wish.secrets, wish.cache}));
        print(env, fmt::format("{}: indexes pushed as {}\n", printable(image.identity().resolved), image.pushed()));
        image.close();
        return {};
    };
    auto done = run();
    if (!done) return fail(std::move(done).error().in("cannot push the indexes of '" + printable(command.image) + "'"));
    return {};
}

status do_cache(const cli::nerofs_cache& command, const environment& env) {
    NEROFS_TRY(cache::store store, open_store(command.options));
    switch (command.action) {
        case cli::nerofs_cache::action_kind::list:
            return list(store, command.json, env);
        case cli::nerofs_cache::action_kind::remove:
            return remove(store, command.names, env);
        case cli::nerofs_cache::action_kind::collect:
            break;
    }
    NEROFS_TRY(const cache::store_usage usage, store.gc());
    print(env, fmt::format("{} in use on disk, {} freed\n", size_text(usage.used_bytes), size_text(usage.freed_bytes)));
    return {};
}

}  // namespace nerofs::commands
