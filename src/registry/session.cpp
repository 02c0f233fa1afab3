#include "registry/session.h"

#include <fmt/format.h>

#include <span>
#include <utility>

#include "http/challenge.h"
#include "oci/origin.h"
#include "oci/registry_error.h"

namespace nerofs::registry {
namespace {

using clock = std::chrono::steady_clock;

// What is refused so soon after it came has not ended, but was never good.
constexpr std::chrono::seconds fresh{1};

struct wish {
    std::optional<oci::bearer_challenge> bearer;
    bool basic = false;
    bool other = false;
};

wish wish_of(const std::vector<std::string>& values) {
    wish found;
    for (const std::string& value : values) {
        for (const http::challenge& c : http::parse_challenges(value)) {
            if (c.scheme == "basic")
                found.basic = true;
            else if (c.scheme != "bearer")
                found.other = true;
            else if (!found.bearer)
                found.bearer = {std::string(c.parameter("realm")), std::string(c.parameter("service")),
                                std::string(c.parameter("scope"))};
        }
    }
    return found;
}

std::string_view authorization_in(const http::fields& fields) {
    const std::string* const value = fields.find("Authorization");
    return value == nullptr ? std::string_view() : std::string_view(*value);
}

http::fields with(const oci::secret& authorization) {
    http::fields given;
    given.add("Authorization", authorization.reveal());
    return given;
}

}  // namespace

std::shared_ptr<session> session::make(http::client& client, session_options options) {
    return std::shared_ptr<session>(new session(client, std::move(options)));
}

session::session(http::client& client, session_options options) : client_(client), options_(std::move(options)) {}

bool session::plain_allowed() const {
    return options_.insecure || oci::is_loopback(oci::api_host(options_.image));
}

std::optional<bool> session::secure() const {
    const std::lock_guard lock(mutex_);
    return secure_;
}

void session::settle(bool secure) {
    const std::lock_guard lock(mutex_);
    if (!secure_) secure_ = secure;
}

void session::accepted(const http::fields& given) {
    if (authorization_in(given).empty()) return;
    const std::lock_guard lock(mutex_);
    proven_ = true;
    refusals_ = failures_ = 0;
    failed_.reset();
}

void session::replace_credential(oci::found_credential who) {
    const std::lock_guard lock(mutex_);
    options_.who = std::move(who);
    proven_ = false;
    refusals_ = failures_ = 0;
    failed_.reset();
}

result<http::url> session::url(bool secure, std::string_view path) const {
    return http::parse_url(
        fmt::format("{}://{}/v2/{}", secure ? "https" : "http", oci::api_host(options_.image), path));
}

std::chrono::milliseconds session::pause(unsigned attempt, std::optional<std::chrono::milliseconds> retry_after) {
    const std::lock_guard lock(mutex_);
    return spread(attempt, retry_after);
}

std::chrono::milliseconds session::spread(unsigned attempt, std::optional<std::chrono::milliseconds> retry_after) {
    const double random = options_.random ? options_.random() : std::uniform_real_distribution<>(0, 1)(random_);
    return http::retry_delay(options_.retry, attempt, retry_after, random);
}

// ---- what is given ----

// Plain http counts as the registry only as long as it may be one.
bool session::may_have_token(const http::url& target) const {
    if (!target.secure && (!plain_allowed() || secure_ == true)) return false;
    return oci::audience(oci::registry_origin(oci::api_host(options_.image), target.secure))
        .may_have_token(target.text());
}

bool session::token_works(http::time_point now) const {
    return token_ && !oci::is_expired(*token_, now);
}

http::fields session::current(http::time_point now) const {
    if (scheme_ == scheme::basic && has_password())
        return with(oci::basic_authorization(options_.who.value->username, options_.who.value->password));
    if (scheme_ == scheme::bearer && token_works(now)) return with(oci::bearer_authorization(token_->value));
    return {};
}

void session::authorize(const http::url& target, const std::optional<rejection>& refused, completion done) {
    locked lock(mutex_);
    if (!may_have_token(target)) {
        lock.unlock();
        return done(http::fields{});
    }
    // If something else was refused than what there is now, that was replaced meanwhile.
    if (refused && authorization_in(refused->used) == authorization_in(current(clock::now()))) {
        if (auto learned = learn_from(*refused); !learned) {
            lock.unlock();
            return done(fail(std::move(learned).error()));
        }
    }
    give(std::move(lock), std::move(done));
}

// What there is, as soon as there is something.
void session::give(locked lock, completion done) {
    const auto now = clock::now();
    const bool paused = failed_ && now < failed_->until;
    const bool without_token = scheme_ == scheme::bearer && !token_works(now);
    if (paused && (scheme_ != scheme::bearer || without_token)) {
        error why = failed_->why;
        lock.unlock();
        return done(fail(std::move(why)));
    }
    if (without_token) {
        waiting_.push_back(std::move(done));
        return ask_for_token(std::move(lock));
    }
    http::fields given = current(now);
    if (scheme_ == scheme::bearer && oci::needs_refresh(*token_, now) && !paused)
        ask_for_token(std::move(lock));  // for the next ones
    else
        lock.unlock();
    done(std::move(given));
}

// ---- what a refusal says ----

status session::learn_from(const rejection& refused) {
    const auto now = clock::now();
    const wish wanted = wish_of(refused.challenges);
    const bool had_some = !authorization_in(refused.used).empty();
    if (wanted.bearer) {
        const auto rule = options_.insecure ? oci::transport_rule::plain_allowed : oci::transport_rule::https_only;
        if (auto right = oci::check_realm(*wanted.bearer, rule, oci::is_loopback(oci::api_host(options_.image)));
            !right)
            return remember(std::move(right).error());
        const bool same = scheme_ == scheme::bearer && challenge_ == *wanted.bearer;
        scheme_ = scheme::bearer;
        challenge_ = *wanted.bearer;
        drop_token(now);
        return had_some && same ? count_refusal(refused, now) : status();
    }
    if (wanted.basic && scheme_ != scheme::basic) {
        if (!has_password()) return remember(denied("the registry refuses access", refused.status, {}));
        drop_token(now);
        scheme_ = scheme::basic;
        since_ = {};
        return {};
    }
    if (had_some) {
        if (scheme_ == scheme::bearer) drop_token(now);
        return count_refusal(refused, now);
    }
    error e = denied("the registry refuses access", refused.status, {});
    if (refused.status == 401 && wanted.other) e.text += "; it wants a kind of login that isn't known here";
    return remember(std::move(e));
}

// A credential that was never good is told so soon: some places lock an account that comes with wrong passwords. One
// that was good may have met a bad moment of the registry's.
status session::count_refusal(const rejection& refused, http::time_point now) {
    if (scheme_ == scheme::basic) {
        if (now - since_ >= fresh) refusals_ = 0;
        since_ = now;
    }
    const unsigned borne = proven_ ? 2 : scheme_ == scheme::bearer ? 1 : 0;
    if (++refusals_ <= borne) return {};
    return remember(denied(scheme_ == scheme::bearer ? "the registry refuses the token that its token service gave"
                                                     : "the registry refuses access",
                           refused.status, {}));
}

// One that was good for a while starts the counts anew.
void session::drop_token(http::time_point now) {
    if (token_ && now - since_ >= fresh) refusals_ = failures_ = 0;
    token_.reset();
}

tl::unexpected<error> session::remember(error why, std::optional<std::chrono::seconds> retry_after) {
    std::optional<std::chrono::milliseconds> floor;
    if (retry_after) floor = *retry_after;
    failed_ = {why, clock::now() + spread(failures_++, floor)};
    return fail(std::move(why));
}

error session::denied(std::string_view who_denies, int answered, std::string_view said) const {
    const std::string with_what = options_.who.value ? "with " + to_string(options_.who.origin) : "without credentials";
    error e = make_error(error_kind::auth, fmt::format("{}, asked {} (status {}{}{})", who_denies, with_what, answered,
                                                       said.empty() ? "" : ": ", said));
    for (const std::string& note : options_.who.passed_over) e.text += "; passed over: " + note;
    e.hint = options_.who.value ? "they may be wrong, have ended, or not be allowed to pull this image"
                                : "if the image exists it needs a login: 'docker login', or -o oci.username= with "
                                  "oci.password_file=";
    return e;
}

// ---- tokens ----

// Unless it is being asked for already.
void session::ask_for_token(locked lock) {
    if (std::exchange(asking_, true)) return;
    http::request r;
    // Who may be told the credential: the registry whose challenge this is, and whom it named.
    oci::audience listeners(oci::registry_origin(oci::api_host(options_.image), secure_.value_or(true)));
    listeners.add_realm(challenge_);
    const auto& who = options_.who.value;
    const bool by_identity = who && !who->identity_token.empty();
    const auto target = http::parse_url(by_identity ? challenge_.realm : oci::token_url(challenge_, options_.image));
    if (target && listeners.may_have_credentials(target->text()) && by_identity) {
        r.verb = http::method::post;
        r.form = oci::token_form(challenge_, options_.image, who->identity_token).reveal();
    } else if (target && listeners.may_have_credentials(target->text()) && has_password()) {
        r.secrets = with(oci::basic_authorization(who->username, who->password));
    }
    const auto asked = clock::now();
    lock.unlock();
    if (!target) {
        http::failure f;
        f.why = make_error(error_kind::auth, "its URL can't be used");
        return on_answer(asked, tl::unexpected(std::move(f)));
    }
    r.target = *target;
    r.headers.add("Accept", "application/json");
    r.most_body_bytes = oci::token_answer_cap;
    r.deadline = asked + options_.token_timeout;
    r.progress = options_.progress;
    client_.start(std::move(r), [self = shared_from_this(), asked](http::outcome answer) {
        self->on_answer(asked, std::move(answer));
    });
}

void session::on_answer(http::time_point asked, http::outcome answer) {
    locked lock(mutex_);
    std::optional<std::chrono::seconds> retry_after;
    auto token = token_in(asked, std::move(answer), retry_after);
    asking_ = false;
    result<http::fields> given;
    const auto now = clock::now();
    if (token) {
        drop_token(now);
        token_ = std::move(*token);
        since_ = now;
        // Though it may have ended on its way: then the registry says so.
        given = with(oci::bearer_authorization(token_->value));
    } else {
        given = remember(std::move(token).error(), retry_after);
    }
    const auto waiting = std::exchange(waiting_, {});
    lock.unlock();
    for (const completion& done : waiting) done(given);
}

result<oci::bearer_token> session::token_in(http::time_point asked, http::outcome answer,
                                            std::optional<std::chrono::seconds>& retry_after) const {
    error why;
    if (answer && answer->status == 200) {
        auto token = oci::parse_token(std::as_bytes(std::span(answer->body.data(), answer->body.size())),
                                      {asked, std::chrono::system_clock::now()});
        oci::wipe(answer->body);
        if (token) return token;
        why = std::move(token).error();
    } else if (answer) {
        why = make_error(error_kind::permanent,
                         fmt::format("the registry's token service answered with status {}", answer->status));
    } else {
        const http::failure& f = answer.error();
        const std::string said = oci::registry_error_text(f.body);
        if (f.why.kind == error_kind::auth) return fail(denied("the registry's token service refuses", f.status, said));
        retry_after = f.retry_after;
        why = f.why;
        if (!said.empty()) why.text += ": " + said;
        why = std::move(why).in("the registry's token service");
        if (why.kind == error_kind::timeout) why.kind = error_kind::retryable;  // its time, not the reader's
    }
    // It was good before, so it may be again: readers wait.
    if (proven_ && why.kind != error_kind::cancelled) why.kind = error_kind::retryable;
    return fail(std::move(why));
}

}  // namespace nerofs::registry
