#include "registry/exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "oci/registry_error.h"
#include "registry/pending.h"

namespace nerofs::registry {
namespace {

using clock = std::chrono::steady_clock;
using http::failure;
using http::failure_cause;

constexpr unsigned most_redirects = 5;
constexpr unsigned most_refusals = 6;  // of one question, by the registry; the session denies before

failure own_failure(error why) {
    failure f;
    f.why = std::move(why);
    f.cause = failure_cause::caller;
    return f;
}

tl::unexpected<failure> refuse(error_kind kind, http::method verb, const http::url& target, std::string_view why) {
    return tl::unexpected(
        own_failure(make_error(kind, fmt::format("{} {}: {}", http::name_of(verb), target.printable(), why))));
}

// Whether this is the registry's answer, not that of what stands at the other scheme's port: a server that is asked for
// http where it speaks TLS says 400, and one that only leads to https redirects there.
bool is_from_registry(const http::url& asked, const http::outcome& o) {
    const int status = o ? o->status : o.error().status;
    if (asked.secure) return status != 0;
    if (o && o->location) return !o->location->secure || o->location->host != asked.host;
    return status != 0 && status != 400;
}

}  // namespace

http::outcome exchange::get(const std::string& path, std::string_view accept, std::size_t most_bytes) {
    return insist({.path = path, .accept = std::string(accept), .most_bytes = most_bytes});
}

status exchange::reach() {
    if (session_.secure()) return {};
    if (auto o = insist({.path = {}, .accept = "application/json", .any_answer = true}); !o)
        return fail(std::move(o).error().why);
    return {};
}

// ---- again and again ----

http::outcome exchange::insist(const question& q) {
    std::string last;
    for (unsigned attempt = 0;; ++attempt) {
        http::outcome o = ask(q);
        if (o) return o;
        failure& f = o.error();
        if (f.cause == failure_cause::status) {
            if (const std::string said = oci::registry_error_text(f.body); !said.empty()) f.why.text += ": " + said;
        }
        if (f.why.kind == error_kind::retryable) {
            last = f.why.text;
            std::optional<std::chrono::milliseconds> floor;
            if (f.retry_after) floor = *f.retry_after;
            const auto when = clock::now() + session_.pause(attempt, floor);
            if (when < patience_.deadline) {
                pending<bool>().wait({when, patience_.stop});
                if (!patience_.stop.stop_requested()) continue;
            }
            f.why = out_of_patience("");
        }
        if (f.why.kind == error_kind::timeout && !last.empty()) f.why.text = "given up at the deadline: " + last;
        return o;
    }
}

error exchange::out_of_patience(std::string_view what) const {
    if (patience_.stop.stop_requested()) return make_error(error_kind::cancelled, "cancelled");
    return make_error(error_kind::timeout, fmt::format("{}: no answer in time", what));
}

// ---- https, else http ----

http::outcome exchange::ask(const question& q) {
    if (const auto secure = session_.secure()) return ask_by(*secure, q);
    http::outcome by_https = ask_by(true, q);
    if (by_https || by_https.error().cause != failure_cause::transport) return by_https;
    error& why = by_https.error().why;
    if (!session_.plain_allowed()) {
        // A certificate of nobody's, or no TLS at all.
        if (why.kind == error_kind::permanent)
            why.hint += (why.hint.empty() ? "" : "; ") + std::string("-o oci.insecure allows http");
        return by_https;
    }
    http::outcome by_http = ask_by(false, q);
    if (session_.secure() || by_http || by_http.error().cause == failure_cause::caller) return by_http;
    const error& other = by_http.error().why;
    why.text += "; and by http: " + other.text;
    why.hint.clear();
    if (other.kind == error_kind::retryable) why.kind = other.kind;
    return by_https;
}

// ---- one way: logins and redirects ----

http::outcome exchange::ask_by(bool secure, const question& q) {
    auto first = q.target ? result<http::url>(*q.target) : session_.url(secure, q.path);
    if (!first) return tl::unexpected(own_failure(std::move(first).error()));
    http::url target = *first;
    std::optional<source::authorizer::rejection> refused;
    std::string said;
    unsigned refusals = 0;
    unsigned redirects = 0;
    const bool writes = q.verb == http::method::post || q.verb == http::method::put;
    for (;;) {
        const bool own = http::same_origin(target, *first);
        http::fields secrets;
        if (own && !q.any_answer) {
            auto given = authorize(target, std::exchange(refused, std::nullopt));
            if (!given) {
                failure f = own_failure(std::move(given).error());
                if (f.why.kind == error_kind::auth && !said.empty()) f.why.text += "; it says: " + said;
                return tl::unexpected(std::move(f));
            }
            secrets = std::move(*given);
        }
        http::outcome o = send(target, secrets, q);
        if (own && is_from_registry(target, o)) session_.settle(secure);
        if (q.any_answer && session_.secure()) return http::response{};
        if (q.any_answer && o) {
            failure f = own_failure(make_error(error_kind::permanent, fmt::format("GET {}: the server answered {}, as "
                                                                                  "no registry does",
                                                                                  target.printable(), o->status)));
            f.cause = failure_cause::status;
            return tl::unexpected(std::move(f));
        }
        if (o && o->location) {
            if (++redirects > most_redirects)
                return refuse(error_kind::permanent, q.verb, *first, "too many redirects");
            if (first->secure && !o->location->secure && !session_.client().options().allow_plain)
                return refuse(error_kind::permanent, q.verb, *first, "redirected from https to plain http");
            if (writes && o->status != 307 && o->status != 308)
                return refuse(error_kind::permanent, q.verb, *first,
                              "redirected to what isn't asked by the same method");
            target = *o->location;
            continue;
        }
        if (o) {
            if (own) session_.accepted(secrets);
            if (o->status == 200 || writes) return o;
            return refuse(error_kind::permanent, q.verb, target, fmt::format("the server answered {}", o->status));
        }
        failure& f = o.error();
        if (!own || f.cause != failure_cause::status || f.why.kind != error_kind::auth) return o;
        if (++refusals > most_refusals) return o;
        said = oci::registry_error_text(f.body);
        refused = {f.status, std::move(f.challenges), std::move(secrets)};
    }
}

http::outcome exchange::send(const http::url& to, const http::fields& secrets, const question& q) {
    http::request r;
    r.verb = q.verb;
    r.target = to;
    if (!q.accept.empty()) r.headers.add("Accept", q.accept);
    if (!q.content_type.empty()) r.headers.add("Content-Type", q.content_type);
    r.body = q.body;
    r.secrets = secrets;
    r.most_body_bytes = q.most_bytes;
    r.progress = session_.progress();
    const pending<http::outcome> answer;
    const auto id = session_.client().start(std::move(r), answer.receiver());
    if (auto o = answer.wait(patience_)) return std::move(*o);
    session_.client().cancel(id);
    return tl::unexpected(own_failure(out_of_patience(fmt::format("{} {}", http::name_of(q.verb), to.printable()))));
}

result<http::fields> exchange::authorize(const http::url& to,
                                         const std::optional<source::authorizer::rejection>& refused) {
    const pending<result<http::fields>> answer;
    session_.authorize(to, refused, answer.receiver());
    if (auto given = answer.wait(patience_)) return std::move(*given);
    return fail(out_of_patience("the registry's token service"));
}

}  // namespace nerofs::registry
