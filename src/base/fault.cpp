#include "base/fault.h"

#if NEROFS_FAULTS

#include <signal.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <cstring>

namespace nerofs::fault {
namespace {

constexpr std::size_t max_entries = 8;

struct entry {
    std::string_view point;
    std::string_view action;
    unsigned nth = 1;  // 0: each time
    std::size_t argument = 0;
    std::atomic<unsigned> seen{0};
};

struct plan {
    std::array<entry, max_entries> entries;
    std::size_t count = 0;

    void parse(std::string_view text) {
        count = 0;
        while (!text.empty() && count < max_entries) {
            const std::size_t end = text.find(',');
            std::string_view one = text.substr(0, end);
            text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
            auto field = [&one] {
                const std::size_t colon = one.find(':');
                const std::string_view part = one.substr(0, colon);
                one = colon == std::string_view::npos ? std::string_view() : one.substr(colon + 1);
                return part;
            };
            entry& e = entries[count++];
            e.point = field();
            e.action = field();
            const std::string_view nth = field();
            e.nth = 1;
            e.argument = 0;
            e.seen = 0;
            if (nth == "*")
                e.nth = 0;
            else
                std::from_chars(nth.data(), nth.data() + nth.size(), e.nth);
            const std::string_view argument = field();
            std::from_chars(argument.data(), argument.data() + argument.size(), e.argument);
        }
    }
};

std::atomic<void (*)(std::string_view)> killer_function{nullptr};

plan& current() {
    static plan instance;
    static const bool loaded = [] {
        if (const char* text = std::getenv("NEROFS_FAULT")) instance.parse(text);
        return true;
    }();
    (void)loaded;
    return instance;
}

entry* hit(std::string_view name, bool wants_limit) {
    plan& p = current();
    for (std::size_t i = 0; i < p.count; ++i) {
        entry& e = p.entries[i];
        if (e.point != name || (e.action == "limit") != wants_limit) continue;
        const unsigned seen = ++e.seen;
        if (e.nth == 0 || seen == e.nth) return &e;
    }
    return nullptr;
}

void die(std::string_view name, int signal) {
    if (auto* killer = killer_function.load()) {
        killer(name);
        return;
    }
    ::kill(::getpid(), signal);
}

}  // namespace

int point(std::string_view name) {
    entry* e = hit(name, false);
    if (!e) return 0;
    if (e->action == "kill")
        die(name, SIGKILL);
    else if (e->action == "abort")
        std::abort();
    else if (e->action == "stop")
        ::kill(::getpid(), SIGSTOP);
    else if (e->action == "exit")
        ::_exit(static_cast<int>(e->argument));
    else if (e->action == "errno")
        return static_cast<int>(e->argument);
    return 0;
}

std::size_t limit(std::string_view name, std::size_t wanted) {
    entry* e = hit(name, true);
    return e && e->argument < wanted ? e->argument : wanted;
}

void set_plan(std::string_view text) {
    current().parse(text);
}

void set_killer(void (*killer)(std::string_view)) {
    killer_function = killer;
}

}  // namespace nerofs::fault

#endif
