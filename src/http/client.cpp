#include "http/client.h"

#include <curl/curl.h>
#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <system_error>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include "http/transfer.h"

namespace nerofs::http {
namespace {

using clock = std::chrono::steady_clock;

struct multi_cleanup {
    void operator()(void* multi) const { curl_multi_cleanup(multi); }
};

// A timer of at().
struct alarm {
    time_point when;
    client::timer on_time;
};

struct start_command {
    std::unique_ptr<transfer> what;
};
struct alarm_command {
    client::id id;
    alarm what;
};
struct cancel_command {
    client::id id;
};
using command = std::variant<start_command, alarm_command, cancel_command>;

// libcurl's global state is made once and kept: it can't be taken down while another library may use it.
bool curl_is_ready() {
    static const bool ready = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK;
    return ready;
}

error cancelled() {
    return make_error(error_kind::cancelled, "cancelled");
}

}  // namespace

// Everything below `commands_` belongs to the thread.
class client::loop {
  public:
    loop(client_options options, void* multi) : options_(std::move(options)), multi_(multi) {
        curl_multi_setopt(multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING);
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, static_cast<long>(options_.connections));
    }

    void run_thread() {
        thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
        pthread_setname_np(thread_.native_handle(), options_.thread_name);
    }

    // Not a destructor: the thread uses all members until it has ended.
    void end() {
        thread_.request_stop();
        curl_multi_wakeup(multi_.get());
        thread_.join();
    }

    id next_id() { return next_id_.fetch_add(1, std::memory_order_relaxed); }

    void push(command c) {
        {
            const std::lock_guard lock(mutex_);
            commands_.push_back(std::move(c));
        }
        if (!on_thread()) curl_multi_wakeup(multi_.get());
    }

    bool on_thread() const { return std::this_thread::get_id() == thread_id_.load(std::memory_order_relaxed); }
    const client_options& options() const { return options_; }

  private:
    struct flight {
        std::unique_ptr<transfer> what;
        time_point due;         // as it stands in due_; the transfer's own moves on while libcurl runs
        bool admitted = false;  // counts as active, no longer as waiting
    };
    struct host {
        std::size_t active = 0;
        std::array<std::deque<id>, 3> waiting;  // by priority
        bool idle() const {
            return active == 0 && std::all_of(waiting.begin(), waiting.end(), [](const auto& w) { return w.empty(); });
        }
    };

    void run(const std::stop_token& stop) {
        thread_id_.store(std::this_thread::get_id(), std::memory_order_relaxed);
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        while (!stop.stop_requested()) {
            take_commands();
            admit();
            int running = 0;
            curl_multi_perform(multi_.get(), &running);
            flush();
            reap();
            check_time();
            // What ended made room for what waits.
            if (std::exchange(ended_, false) && waiting_ > 0) continue;
            if (!has_commands() && !stop.stop_requested())
                curl_multi_poll(multi_.get(), nullptr, 0, milliseconds_to_wait(), nullptr);
        }
        end_everything();
    }

    bool has_commands() {
        const std::lock_guard lock(mutex_);
        return !commands_.empty();
    }

    void take_commands() {
        std::vector<command> taken;
        {
            const std::lock_guard lock(mutex_);
            taken.swap(commands_);
        }
        for (command& c : taken) {
            if (auto* s = std::get_if<start_command>(&c)) enqueue(std::move(s->what));
            if (auto* a = std::get_if<alarm_command>(&c)) {
                due_.emplace(a->what.when, a->id);
                alarms_.emplace(a->id, std::move(a->what));
            }
            if (auto* x = std::get_if<cancel_command>(&c)) cancel(x->id);
        }
    }

    void enqueue(std::unique_ptr<transfer> t) {
        if (auto objection = t->objection(options_)) return t->complete(t->give_up(std::move(*objection)));
        if (waiting_ >= options_.most_waiting)
            return t->complete(t->give_up(
                t->make_failure(error_kind::retryable, failure_cause::transport, "too many requests are waiting")));
        host& h = hosts_[t->asked().target.origin()];
        h.waiting[static_cast<std::size_t>(t->asked().priority)].push_back(t->id());
        ++waiting_;
        const id which = t->id();
        const time_point due = t->due();
        due_.emplace(due, which);
        transfers_.emplace(which, flight{std::move(t), due, false});
    }

    void reschedule(id which, flight& f) {
        due_.erase({f.due, which});
        f.due = f.what->due();
        due_.emplace(f.due, which);
    }

    void admit() {
        if (waiting_ == 0) return;
        for (auto& [name, h] : hosts_) {
            for (auto& queue : h.waiting) {
                while (!queue.empty() && h.active < options_.connections_per_host && active_ < options_.connections) {
                    const id next = queue.front();
                    queue.pop_front();
                    --waiting_;
                    open(next, h);
                }
            }
        }
        failed_to_open();
    }

    void open(id which, host& h) {
        flight& f = transfers_.at(which);
        f.admitted = true;
        ++h.active;
        ++active_;
        if (!f.what->open(options_, clock::now()) || curl_multi_add_handle(multi_.get(), f.what->easy()) != CURLM_OK)
            not_opened_.push_back(which);
        reschedule(which, f);
    }

    // Apart from admit(), which walks the hosts.
    void failed_to_open() {
        for (const id which : std::exchange(not_opened_, {})) {
            transfer& t = *transfers_.at(which).what;
            end(which, t.give_up(t.make_failure(error_kind::retryable, failure_cause::transport,
                                                "the request can't be set up")));
        }
    }

    // A sink's refusal ends its transfer; what that needs from libcurl's side is that it isn't at work.
    void flush() {
        std::vector<id> refused;
        for (auto& [which, f] : transfers_)
            if (!f.what->flush()) refused.push_back(which);
        for (const id which : refused) end(which, transfers_.at(which).what->finish(CURLE_WRITE_ERROR));
    }

    void reap() {
        int left = 0;
        while (CURLMsg* message = curl_multi_info_read(multi_.get(), &left)) {
            if (message->msg != CURLMSG_DONE) continue;
            char* owner = nullptr;
            const CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &owner);
            auto* t = static_cast<transfer*>(static_cast<void*>(owner));
            end(t->id(), t->finish(code));
        }
    }

    // Takes the transfer out of everything and then tells its owner.
    void end(id which, outcome o) {
        const auto found = transfers_.find(which);
        due_.erase({found->second.due, which});
        const bool admitted = found->second.admitted;
        const std::unique_ptr<transfer> t = std::move(found->second.what);
        transfers_.erase(found);
        const auto h = hosts_.find(t->asked().target.origin());
        if (admitted) {
            if (t->is_open()) curl_multi_remove_handle(multi_.get(), t->easy());
            --h->second.active;
            --active_;
        } else {
            auto& queue = h->second.waiting[static_cast<std::size_t>(t->asked().priority)];
            queue.erase(std::find(queue.begin(), queue.end(), which));
            --waiting_;
        }
        if (h->second.idle()) hosts_.erase(h);
        ended_ = true;
        t->complete(std::move(o));
    }

    void cancel(id which) {
        if (const auto t = transfers_.find(which); t != transfers_.end()) {
            transfer& what = *t->second.what;
            end(which, what.give_up(what.make_failure(error_kind::cancelled, failure_cause::caller, "cancelled")));
        } else if (const auto a = alarms_.find(which); a != alarms_.end()) {
            ring(a, fail(cancelled()));
        }
    }

    void ring(std::map<id, alarm>::iterator at, status how) {
        const alarm a = std::move(at->second);
        due_.erase({a.when, at->first});
        alarms_.erase(at);
        a.on_time(std::move(how));
    }

    void check_time() {
        const time_point now = clock::now();
        while (!due_.empty() && due_.begin()->first <= now) {
            const auto [when, which] = *due_.begin();
            if (const auto a = alarms_.find(which); a != alarms_.end()) {
                ring(a, {});
                continue;
            }
            flight& f = transfers_.at(which);
            auto why = f.what->check(now);
            reschedule(which, f);
            if (why) end(which, f.what->give_up(std::move(*why)));
        }
    }

    int milliseconds_to_wait() const {
        constexpr std::chrono::milliseconds most = std::chrono::minutes(10);
        if (due_.empty()) return static_cast<int>(most.count());
        const time_point now = clock::now();
        if (due_.begin()->first <= now) return 0;
        const auto left = due_.begin()->first - now;
        if (left >= most) return static_cast<int>(most.count());
        // Rounded up: a little early would mean to come here again and again.
        return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(left).count());
    }

    void end_everything() {
        do {
            while (!transfers_.empty()) cancel(transfers_.begin()->first);
            while (!alarms_.empty()) cancel(alarms_.begin()->first);
            take_commands();
        } while (!transfers_.empty() || !alarms_.empty() || has_commands());
    }

    const client_options options_;
    const std::unique_ptr<void, multi_cleanup> multi_;  // outlives the easy handles
    std::atomic<id> next_id_ = 1;
    std::atomic<std::thread::id> thread_id_;
    std::mutex mutex_;
    std::vector<command> commands_;

    std::map<id, flight> transfers_;
    std::map<id, alarm> alarms_;
    std::map<std::string, host> hosts_;  // by origin; only those with something to do
    std::set<std::pair<time_point, id>> due_;
    std::vector<id> not_opened_;
    std::size_t waiting_ = 0;
    std::size_t active_ = 0;
    bool ended_ = false;  // something, since the last admit()

    std::jthread thread_;
};

client::client(std::unique_ptr<loop> l) : loop_(std::move(l)) {}

result<std::unique_ptr<client>> client::make(client_options options) {
    void* multi = curl_is_ready() ? curl_multi_init() : nullptr;
    if (!multi) return fail(error_kind::retryable, "libcurl can't be started: out of memory or descriptors");
    auto l = std::make_unique<loop>(std::move(options), multi);
    try {
        l->run_thread();
    } catch (const std::system_error& e) {
        return fail(errno_error(e.code().value(), "cannot start a thread"));
    }
    return std::unique_ptr<client>(new client(std::move(l)));
}

client::~client() {
    loop_->end();
}

client::id client::start(request what, completion done) {
    const id which = loop_->next_id();
    loop_->push(start_command{std::make_unique<transfer>(which, std::move(what), std::move(done))});
    return which;
}

client::id client::at(time_point when, timer on_time) {
    const id which = loop_->next_id();
    loop_->push(alarm_command{which, {when, std::move(on_time)}});
    return which;
}

void client::cancel(id which) {
    loop_->push(cancel_command{which});
}

bool client::on_thread() const {
    return loop_->on_thread();
}

const client_options& client::options() const {
    return loop_->options();
}

}  // namespace nerofs::http
