#include "oci/registry_auth.h"

#include <fmt/format.h>

#include <random>
#include <utility>

#include "http/challenge.h"
#include "http/retry.h"
#include "oci/registry_error.h"
#include "oci/text.h"

namespace nerofs::oci {
namespace {

using clock = std::chrono::steady_clock;

double chance() {
    thread_local std::minstd_rand generator{std::random_device{}()};
    return std::uniform_real_distribution<double>(0, 1)(generator);
}

struct wish {
    std::optional<bearer_challenge> bearer;
    bool basic = false;
    std::string others;  // names of schemes we don't know
};

std::string_view authorization_in(const http::fields& fields) {
    const std::string* const value = fields.find("Authorization");
    return value == nullptr ? std::string_view() : std::string_view(*value);
}

wish wish_of(const std::vector<std::string>& values) {
    wish found;
    for (const std::string& value : values) {
        for (const http::challenge& c : http::parse_challenges(value)) {
            if (c.scheme == "basic")
                found.basic = true;
            else if (c.scheme != "bearer")
                found.others += (found.others.empty() ? "" : ", ") + shown(c.scheme);
            else if (!found.bearer)
                found.bearer = {std::string(c.parameter("realm")), std::string(c.parameter("service")),
                                std::string(c.parameter("scope"))};
        }
    }
    return found;
}

}  // namespace

std::shared_ptr<registry_auth> registry_auth::make(http::client& client, registry_auth_options options) {
    return std::shared_ptr<registry_auth>(new registry_auth(client, std::move(options)));
}

registry_auth::registry_auth(http::client& client, registry_auth_options options)
    : client_(client),
      options_(std::move(options)),
      audience_(registry_origin(api_host(options_.image), options_.secure)) {
    const auto& found = options_.who.value;
    if (found) who_ = credential{found->username, found->password.copy(), found->identity_token.copy()};
}

// With the mutex held.
http::fields registry_auth::current() const {
    http::fields given;
    if (scheme_ == scheme::basic && who_)
        given.add("Authorization", basic_authorization(who_->username, who_->password).reveal());
    if (scheme_ == scheme::bearer && token_ && !is_expired(*token_, clock::now()))
        given.add("Authorization", bearer_authorization(token_->value).reveal());
    return given;
}

void registry_auth::authorize(const http::url& target, const std::optional<rejection>& refused, completion done) {
    std::unique_lock lock(mutex_);
    if (!audience_.may_have_token(target.text())) {
        lock.unlock();
        return done(http::fields{});
    }
    // If something else was refused than what there is now, that was replaced meanwhile.
    if (refused && authorization_in(refused->used) == authorization_in(current())) {
        const auto next = learn_from(*refused);
        if (!next || *next == step::renew) lock.unlock();
        if (!next) return done(fail(next.error()));
        if (*next == step::renew)
            return renew_credential([self = shared_from_this(), done = std::move(done)](const status& how) {
                if (how)
                    self->give(done);
                else
                    done(fail(how.error()));
            });
    }
    if (lock.owns_lock()) lock.unlock();
    give(std::move(done));
}

// What there is now, as soon as there is one.
void registry_auth::give(completion done) {
    std::unique_lock lock(mutex_);
    const auto now = clock::now();
    if (scheme_ == scheme::bearer && (!token_ || is_expired(*token_, now)))
        return need_token(
            [self = shared_from_this(), done = std::move(done)](const status& how) {
                if (!how) return done(fail(how.error()));
                std::unique_lock inner(self->mutex_);
                http::fields given = self->current();
                inner.unlock();
                done(std::move(given));
            },
            std::move(lock));
    http::fields given = current();
    if (scheme_ == scheme::bearer && needs_refresh(*token_, now) && !asking_ && now >= not_before_)
        need_token([](const status&) {}, std::move(lock));
    else
        lock.unlock();
    done(std::move(given));
}

// With the mutex held.
result<registry_auth::step> registry_auth::learn_from(const rejection& refused) {
    const wish wanted = wish_of(refused.challenges);
    if (refused.status == 401 && wanted.bearer) {
        NEROFS_CHECK(check_realm(*wanted.bearer, options_.rule));
        scheme_ = scheme::bearer;
        challenge_ = *wanted.bearer;
        audience_.add_realm(challenge_);
        token_.reset();
        return step::give;
    }
    if (refused.status == 401 && wanted.basic && scheme_ != scheme::basic && who_ && !who_->password.empty()) {
        scheme_ = scheme::basic;
        return step::give;
    }
    // Credentials that end are answered with 403 by some registries.
    if (scheme_ == scheme::basic && options_.renew && !renewed_) return step::renew;
    error e = refusal("the registry refuses", refused.status, {});
    if (refused.status == 401 && !wanted.bearer && !wanted.basic)
        e.text += wanted.others.empty() ? "; it doesn't say how to log in"
                                        : fmt::format("; of its ways to log in ({}) none is known", wanted.others);
    return fail(std::move(e));
}

// Queues for a token, and asks for one unless that is under way.
void registry_auth::need_token(waiter done, std::unique_lock<std::mutex> lock) {
    waiters_.push_back(std::move(done));
    if (std::exchange(asking_, true)) return;
    ask_until_ = clock::now() + options_.token_timeout;
    lock.unlock();
    ask(0);
}

void registry_auth::ask(unsigned attempt) {
    std::unique_lock lock(mutex_);
    http::request r;
    const bool by_identity_token = who_ && !who_->identity_token.empty();
    auto target = http::parse_url(by_identity_token ? challenge_.realm : token_url(challenge_, options_.image));
    if (!target) {
        lock.unlock();
        return finish(fail(error_kind::auth, "the URL of the registry's token service is malformed"));
    }
    r.target = std::move(*target);
    if (by_identity_token) {
        r.verb = http::method::post;
        r.form = token_form(challenge_, options_.image, who_->identity_token).reveal();
    } else if (who_ && audience_.may_have_credentials(r.target.text())) {
        r.secrets.add("Authorization", basic_authorization(who_->username, who_->password).reveal());
    }
    r.headers.add("Accept", "application/json");
    r.most_body_bytes = token_answer_cap;
    r.deadline = ask_until_;
    lock.unlock();
    const auto asked = clock::now();
    client_.start(std::move(r), [self = shared_from_this(), attempt, asked](http::outcome answer) {
        self->on_answer(attempt, asked, std::move(answer));
    });
}

void registry_auth::on_answer(unsigned attempt, http::time_point asked, http::outcome answer) {
    if (!answer) return on_failure(attempt, answer.error());
    if (answer->status != 200)
        return finish(fail(error_kind::auth,
                           fmt::format("the registry's token service answered with status {}", answer->status)));
    const std::string& body = answer->body;
    auto token =
        parse_token(std::as_bytes(std::span(body.data(), body.size())), {asked, std::chrono::system_clock::now()});
    wipe(answer->body);
    if (!token) return finish(fail(std::move(token).error()));
    {
        const std::lock_guard lock(mutex_);
        token_ = std::move(*token);
        renewed_ = false;
    }
    finish({});
}

void registry_auth::on_failure(unsigned attempt, const http::failure& why) {
    if (why.why.kind == error_kind::auth) {
        bool again = false;
        {
            const std::lock_guard lock(mutex_);
            again = who_ && options_.renew && !renewed_;
        }
        if (!again) return finish(fail(refusal("the registry's token service refuses", why.status, why.body)));
        return renew_credential([self = shared_from_this(), attempt](const status& how) {
            if (how)
                self->ask(attempt + 1);
            else
                self->finish(how);
        });
    }
    std::optional<std::chrono::milliseconds> floor;
    if (why.retry_after) floor = *why.retry_after;
    const auto when = clock::now() + http::retry_delay({}, attempt, floor, chance());
    if (why.why.kind != error_kind::retryable || when >= ask_until_) {
        error e = why.why;
        return finish(fail(std::move(e).in("the registry's token service")));
    }
    client_.at(when, [self = shared_from_this(), attempt](const status& how) {
        if (how)
            self->ask(attempt + 1);
        else
            self->finish(how);
    });
}

void registry_auth::renew_credential(waiter done) {
    options_.renew([self = shared_from_this(), done = std::move(done)](result<credential> found) {
        if (!found) return done(fail(std::move(found).error()));
        {
            const std::lock_guard lock(self->mutex_);
            self->who_ = std::move(*found);
            self->renewed_ = true;
        }
        done({});
    });
}

void registry_auth::finish(const status& how) {
    std::vector<waiter> waiters;
    {
        const std::lock_guard lock(mutex_);
        waiters.swap(waiters_);
        asking_ = false;
        if (!how) not_before_ = clock::now() + std::chrono::seconds(1);
    }
    for (const waiter& w : waiters) w(how);
}

error registry_auth::refusal(std::string_view what, int answered, std::string_view body) const {
    const std::string said = registry_error_text(body);
    error e = make_error(error_kind::auth, fmt::format("{} (status {}{}{}), asked with {}", what, answered,
                                                       said.empty() ? "" : ", ", said, to_string(options_.who.origin)));
    for (const std::string& note : options_.who.passed_over) e.text += "; " + note;
    if (!options_.who.value)
        e.hint =
            "the image may not exist or need a login: docker login, podman login, or -o oci.username= and "
            "oci.password_file=";
    return e;
}

}  // namespace nerofs::oci
