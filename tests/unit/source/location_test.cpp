// Redirects and credentials: who is asked, with what, and how often.
#include <algorithm>

#include "support.h"

namespace nerofs::source {
namespace {

// Gets tokens from the origin's token service as a registry client would, and remembers what happened.
class token_getter : public authorizer {
  public:
    explicit token_getter(sourced& t) : t_(t) {}

    void authorize(const http::url& target, const std::optional<rejection>& refused, completion done) override {
        EXPECT_EQ(target.port, t_.o.port());
        EXPECT_FALSE(busy_) << "asked again before it has answered";
        EXPECT_TRUE(t_.c->on_thread());
        if (!refused || current_.find("Authorization") == nullptr ||
            (refused->used.find("Authorization") &&
             *refused->used.find("Authorization") != *current_.find("Authorization"))) {
            if (!refused) return done(current_);
            if (current_.find("Authorization")) return done(current_);
        }
        EXPECT_EQ(refused->challenges.size(), 1u);
        ++refreshes;
        busy_ = true;
        http::request r;
        r.target = http::parse_url(t_.o.url("/token?service=test-registry&scope=repository:a/b:pull")).value();
        t_.c->start(std::move(r), [this, done = std::move(done)](http::outcome o) {
            busy_ = false;
            if (!o) return done(fail(std::move(o).error().why));
            const std::size_t begin = o->body.find("token-");
            current_ = {};
            current_.add("Authorization", "Bearer " + o->body.substr(begin, o->body.find('"', begin) - begin));
            done(current_);
        });
    }

    std::atomic<int> refreshes = 0;

  private:
    sourced& t_;
    http::fields current_;
    bool busy_ = false;
};

class fixed : public authorizer {
  public:
    explicit fixed(result<http::fields> answer) : answer_(std::move(answer)) {}
    void authorize(const http::url&, const std::optional<rejection>& refused, completion done) override {
        if (refused) ++rejections;
        done(answer_);
    }
    std::atomic<int> rejections = 0;

  private:
    result<http::fields> answer_;
};

std::size_t count_if(const origin& o, bool storage, int status) {
    const auto log = o.log();
    return static_cast<std::size_t>(std::count_if(
        log.begin(), log.end(), [&](const auto& r) { return r.storage == storage && r.status == status; }));
}

TEST(redirects, are_followed_once_and_remembered) {
    sourced t;
    t.o.set_redirects({.on = true});
    range_source& s = t.open(t.registry_path());
    ASSERT_TRUE(probe(s));
    for (unsigned i = 0; i < 10; ++i) EXPECT_EQ(read(s, i * 100, 1000), t.part(i * 100, 1000));
    EXPECT_EQ(t.o.count("/v2/"), 1u);
    EXPECT_EQ(t.o.count("/storage/"), 11u);
    EXPECT_EQ(s.stats().redirects, 1u);
    EXPECT_EQ(s.stats().refreshes, 0u);
}

TEST(redirects, one_read_finds_the_way_for_all) {
    sourced t;
    t.o.set_redirects({.on = true});
    t.o.set_shape({.delay = 20ms});
    range_source& s = t.open(t.registry_path());
    expect_all(begin_all(s, 20), t.blob);
    EXPECT_EQ(t.o.count("/v2/"), 1u);
    EXPECT_EQ(t.o.count("/storage/"), 20u);
}

// The others needn't wait for the end of the body that proved the way.
TEST(redirects, the_way_is_known_with_the_first_bytes) {
    sourced t;
    t.o.set_redirects({.on = true});
    range_source_options o = quick();
    o.progress = {1, 1h};
    range_source& s = t.open(t.registry_path(), o);
    t.o.add_fault(fault_of(fault_kind::stall, 10, 1, "/storage/"));
    const auto stuck = begin(s, 0, 1000);
    EXPECT_EQ(read(s, 500, 1000), t.part(500, 1000));
    EXPECT_EQ(stuck->result.wait_for(0s), std::future_status::timeout);
    EXPECT_EQ(t.o.count("/v2/"), 1u);
}

TEST(redirects, an_expired_url_is_found_anew_by_one_read) {
    for (const int code : {401, 403, 404, 410}) {
        SCOPED_TRACE(code);
        sourced t;
        t.o.set_redirects({.on = true, .life = 60s, .expired_status = code});
        range_source& s = t.open(t.registry_path());
        ASSERT_TRUE(probe(s));
        t.o.pass_time(61s);
        t.o.clear_log();
        expect_all(begin_all(s, 20), t.blob);
        EXPECT_EQ(t.o.count("/v2/"), 1u);
        EXPECT_LE(count_if(t.o, true, code), 8u);  // those that were on their way
        EXPECT_EQ(count_if(t.o, true, 206), 20u);
        EXPECT_EQ(s.stats().refreshes, 1u);
    }
}

TEST(redirects, urls_that_live_shorter_than_the_reads_between_them) {
    sourced t;
    t.o.set_redirects({.on = true, .life = 2s});
    range_source& s = t.open(t.registry_path());
    for (unsigned i = 0; i < 300; ++i) {
        t.o.pass_time(1500ms);
        ASSERT_EQ(read(s, i * 100, 100), t.part(i * 100, 100));
    }
    EXPECT_EQ(count_if(t.o, true, 206), 300u);
}

TEST(redirects, on_the_same_host) {
    sourced t;
    t.o.set_redirects({.on = true, .status = 302, .other_port = false});
    range_source& s = t.open(t.registry_path());
    EXPECT_EQ(read(s, 0, 100), t.part(0, 100));
    EXPECT_EQ(read(s, 100, 100), t.part(100, 100));
    EXPECT_EQ(t.o.count("/v2/"), 1u);
    EXPECT_EQ(t.o.count("/storage/"), 2u);
}

TEST(redirects, a_url_that_is_refused_though_fresh_is_an_error) {
    sourced t;
    t.o.set_redirects({.on = true, .life = 0ms});
    range_source& s = t.open(t.registry_path());
    EXPECT_EQ(read(s, 0, 100).substr(0, 7), "[auth: ");
    EXPECT_EQ(t.o.count("/v2/"), quick().most_refusals);
}

TEST(redirects, a_failing_storage_is_asked_again_without_the_registry) {
    sourced t;
    t.o.set_redirects({.on = true});
    range_source& s = t.open(t.registry_path());
    t.o.add_fault(fault_of(fault_kind::status, 503, 2, "/storage/"));
    EXPECT_EQ(read(s, 0, 100), t.part(0, 100));
    EXPECT_EQ(t.o.count("/v2/"), 1u);
    EXPECT_EQ(t.o.count("/storage/"), 3u);
}

TEST(redirects, a_loop_ends) {
    sourced t;
    t.o.add_file("/loop", "x");
    range_source& s = t.open("/loop");
    // The storage's answer to a path of its own is another redirect to itself.
    t.o.set_redirects({.on = true, .other_port = false});
    test::fault f = fault_of(fault_kind::status, 302, always, "/loop");
    f.location = "/loop?again";
    t.o.add_fault(f);
    EXPECT_EQ(read(s, 0, 1), "[permanent: GET " + t.o.url("/loop") + ": too many redirects]");
    EXPECT_EQ(t.o.count(), quick().most_redirects + 1);
}

TEST(redirects, elsewhere_and_then_back_is_followed_again) {
    sourced t;
    t.o.set_redirects({.on = true});
    range_source& s = t.open(t.registry_path());
    ASSERT_TRUE(probe(s));
    // What is remembered begins to redirect itself.
    test::fault f = fault_of(fault_kind::status, 307, 1, "/storage/");
    f.location = "/elsewhere";
    t.o.add_fault(f);
    EXPECT_EQ(read(s, 0, 100), t.part(0, 100));
    EXPECT_EQ(t.o.count("/v2/"), 2u);
}

TEST(credentials, are_asked_for_when_a_401_says_so_and_once_for_all) {
    sourced t;
    t.o.set_auth({.scheme = test::origin_auth::kind::bearer});
    t.o.set_shape({.delay = 5ms});
    const auto who = std::make_shared<token_getter>(t);
    range_source& s = t.open(t.registry_path(), quick(), who);
    expect_all(begin_all(s, 20), t.blob);
    EXPECT_EQ(who->refreshes, 1);
    EXPECT_EQ(t.o.count("/token"), 1u);
    EXPECT_EQ(count_if(t.o, false, 401), 1u);
    EXPECT_EQ(t.o.count("/v2/"), 21u);
}

TEST(credentials, an_expired_token_is_refreshed_once) {
    sourced t;
    t.o.set_auth({.scheme = test::origin_auth::kind::bearer, .token_life = 300s});
    const auto who = std::make_shared<token_getter>(t);
    range_source& s = t.open(t.registry_path(), quick(), who);
    ASSERT_TRUE(probe(s));
    t.o.set_shape({.delay = 10ms});
    t.o.pass_time(301s);
    t.o.clear_log();
    expect_all(begin_all(s, 20), t.blob);
    EXPECT_EQ(who->refreshes, 2);
    EXPECT_EQ(t.o.count("/token"), 1u);
    EXPECT_LE(count_if(t.o, false, 401), 8u);
}

TEST(credentials, tokens_that_live_shorter_than_the_reads_between_them) {
    sourced t;
    t.o.set_auth({.scheme = test::origin_auth::kind::bearer, .token_life = 2s});
    t.o.set_redirects({.on = true, .life = 2s});
    range_source& s = t.open(t.registry_path(), quick(), std::make_shared<token_getter>(t));
    for (unsigned i = 0; i < 200; ++i) {
        t.o.pass_time(1500ms);
        ASSERT_EQ(read(s, i * 100, 100), t.part(i * 100, 100));
    }
}

TEST(credentials, never_reach_another_origin) {
    sourced t;
    t.o.set_auth({.scheme = test::origin_auth::kind::bearer});
    t.o.set_redirects({.on = true});
    range_source& s = t.open(t.registry_path(), quick(), std::make_shared<token_getter>(t));
    EXPECT_EQ(read(s, 0, 100), t.part(0, 100));
    EXPECT_EQ(read(s, 100, 100), t.part(100, 100));
    int at_storage = 0;
    for (const auto& r : t.o.log()) {
        if (!r.storage) continue;
        ++at_storage;
        EXPECT_EQ(r.header("authorization"), "");
    }
    EXPECT_EQ(at_storage, 2);
}

TEST(credentials, that_are_refused_again_and_again_are_an_error) {
    sourced t;
    t.o.set_auth({.scheme = test::origin_auth::kind::basic, .user = "u", .password = "right"});
    http::fields wrong;
    wrong.add("Authorization", "Basic d3Jvbmc6czNjcmV0");
    const auto who = std::make_shared<fixed>(wrong);
    range_source& s = t.open(t.registry_path(), quick(), who);
    const std::string text = read(s, 0, 10);
    EXPECT_EQ(text, "[auth: GET " + t.o.url(t.registry_path()) +
                        ": the server answered 401 (credentials are missing or were not accepted)]");
    EXPECT_EQ(t.o.count(), quick().most_refusals);
    EXPECT_EQ(who->rejections, static_cast<int>(quick().most_refusals) - 1);
}

TEST(credentials, without_an_authorizer_a_401_is_an_error_at_once) {
    sourced t;
    t.o.set_auth({.scheme = test::origin_auth::kind::basic, .user = "u", .password = "p"});
    EXPECT_EQ(read(t.open("/blob"), 0, 10).substr(0, 7), "[auth: ");
    EXPECT_EQ(t.o.count(), 1u);
}

TEST(credentials, an_authorizers_error_is_the_reads) {
    sourced t;
    const auto who = std::make_shared<fixed>(fail(error_kind::auth, "no credentials for this registry"));
    range_source& s = t.open("/blob", quick(), who);
    readings all;
    for (unsigned i = 0; i < 100; ++i) all.push_back(begin(s, 0, 10));
    for (const auto& r : all) EXPECT_EQ(r->result.get().how.error().text, "no credentials for this registry");
    EXPECT_EQ(t.o.count(), 0u);
}

TEST(credentials, an_authorizer_that_will_be_there_later_is_waited_for) {
    sourced t;
    const auto who = std::make_shared<fixed>(fail(error_kind::retryable, "the token service is away"));
    EXPECT_EQ(read(t.open("/blob", quick(), who), 0, 10, in(60ms)),
              "[timeout: given up at the deadline: the token service is away]");
}

}  // namespace
}  // namespace nerofs::source
