// Logins: what is asked for, how often, with what, and who never hears of it.
#include "registry/session.h"

#include <algorithm>
#include <thread>

#include "support.h"

namespace nerofs::registry {
namespace {

// RFC 7617's own example.
constexpr std::string_view aladdin = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";

std::size_t with_authorization(const origin& o, std::string_view value, std::string_view path_part = "") {
    std::size_t n = 0;
    for (const auto& r : o.log())
        n += r.header("authorization") == value && r.path.find(path_part) != std::string::npos;
    return n;
}

std::string challenge(const origin& service, const std::string& scope = "repository:a/b:pull") {
    return R"(Bearer realm=")" + service.url("/token") + R"(",service="test-registry",scope=")" + scope + "\"";
}

// ---- Basic ----

TEST(basic, a_password_is_sent_when_it_is_asked_for) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "Aladdin", .password = "open sesame"});
    const auto s = t.open("a/b:1", password("Aladdin", "open sesame"));
    const auto image = resolve(*s);
    ASSERT_TRUE(image) << image.error().message();
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 2u);
    EXPECT_EQ(log[0].header("authorization"), "");
    EXPECT_EQ(log[1].header("authorization"), aladdin);
    const auto blob = open_layer(s, *image);
    ASSERT_TRUE(blob);
    EXPECT_EQ(read(*blob->source, 10, 1000), t.blob.substr(10, 1000));
    EXPECT_EQ(with_status(t.o, 401), 1u);  // once for all
}

TEST(basic, a_wrong_password_is_told_once) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "Aladdin", .password = "open sesame"});
    const auto s = t.open("a/b:1", password("Aladdin", "sesame"));
    expect_error(resolve(*s), error_kind::auth,
                 "image '" + t.o.host() +
                     "/a/b:1': the registry refuses access, asked with the credentials of -o oci.username and "
                     "oci.password (status 401); it says: UNAUTHORIZED",
                 "they may be wrong, have ended, or not be allowed to pull this image");
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 2u);
    EXPECT_EQ(log[0].header("authorization"), "");
    EXPECT_NE(log[1].header("authorization"), "");
}

// Registries and directories behind them count wrong passwords.
TEST(basic, what_was_refused_is_not_sent_again_and_again) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "Aladdin", .password = "open sesame"});
    auto o = t.options("a/b:1", password("Aladdin", "sesame"));
    o.retry = {60s, 60s, 60s};
    const auto s = session::make(*t.c, std::move(o));
    for (int i = 0; i < 20; ++i) ASSERT_FALSE(resolve(*s));
    EXPECT_EQ(t.o.log().size(), 2u);
}

TEST(basic, without_credentials_the_hint_says_how_to_log_in) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "Aladdin", .password = "open sesame"});
    oci::found_credential nobody;
    nobody.passed_over = {"credentials file '/root/.docker/config.json': permission denied"};
    expect_error(t.resolve("a/b:1", std::move(nobody)), error_kind::auth,
                 "image '" + t.o.host() +
                     "/a/b:1': the registry refuses access, asked without credentials (status 401); passed over: "
                     "credentials file '/root/.docker/config.json': permission denied; it says: UNAUTHORIZED",
                 "if the image exists it needs a login: 'docker login', or -o oci.username= with oci.password_file=");
    EXPECT_EQ(t.o.log().size(), 1u);
}

TEST(basic, a_bad_moment_of_the_registry_is_borne_once_the_password_was_good) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "Aladdin", .password = "open sesame"});
    const auto s = t.open("a/b:1", password("Aladdin", "open sesame"));
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    const auto blob = open_layer(s, *image);
    for (std::size_t moment = 1; moment <= 2; ++moment) {
        t.o.add_fault({.kind = fault_kind::status, .amount = 403, .path_part = "/blobs/", .times = 2});
        EXPECT_EQ(read(*blob->source, 0, 1000), t.blob.substr(0, 1000));
        EXPECT_EQ(t.o.count("/blobs/"), 3 * moment);
        std::this_thread::sleep_for(1100ms);  // one such moment isn't held against the next
    }
}

TEST(basic, a_credential_that_ended_can_be_replaced) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "me", .password = "first"});
    const auto s = t.open("a/b:1", password("me", "first"));
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    const auto blob = open_layer(s, *image);
    ASSERT_EQ(read(*blob->source, 0, 10), t.blob.substr(0, 10));
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "me", .password = "second"});
    EXPECT_TRUE(read(*blob->source, 0, 10).starts_with("[auth: the registry refuses access, asked with "));
    s->replace_credential(password("me", "second"));
    EXPECT_EQ(read(*blob->source, 0, 10), t.blob.substr(0, 10));
}

TEST(login, of_an_unknown_kind) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "u", .password = "p", .challenge = "Negotiate"});
    const auto found = t.resolve("a/b:1", password("u", "p"));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::auth);
    EXPECT_NE(found.error().text.find("it wants a kind of login that isn't known here"), std::string::npos)
        << found.error().text;
    EXPECT_EQ(t.o.log().size(), 1u);
}

// ---- Bearer ----

TEST(bearer, an_anonymous_token) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    const auto image = t.resolve();
    ASSERT_TRUE(image) << image.error().message();
    const auto log = t.o.log();
    ASSERT_EQ(log.size(), 3u);
    EXPECT_EQ(log[0].status, 401);
    EXPECT_EQ(log[1].target, "/token?service=test-registry&scope=repository%3Aa%2Fb%3Apull");
    EXPECT_EQ(log[1].header("authorization"), "");
    EXPECT_TRUE(log[2].header("authorization").starts_with("Bearer token-"));
}

TEST(bearer, the_password_goes_to_the_token_service_only) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .user = "Aladdin", .password = "open sesame"});
    const auto s = t.open("a/b:1", password("Aladdin", "open sesame"));
    const auto image = resolve(*s);
    ASSERT_TRUE(image) << image.error().message();
    const auto blob = open_layer(s, *image);
    EXPECT_EQ(read(*blob->source, 0, 10), t.blob.substr(0, 10));
    EXPECT_EQ(with_authorization(t.o, aladdin, "/token"), 1u);
    EXPECT_EQ(with_authorization(t.o, aladdin), 1u);
    EXPECT_EQ(t.o.count("/token"), 1u);  // for manifest and blob
}

TEST(bearer, a_token_service_that_refuses) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .user = "Aladdin", .password = "open sesame"});
    expect_error(t.resolve(), error_kind::auth,
                 "image '" + t.o.host() +
                     "/a/b:1': the registry's token service refuses, asked without credentials (status 401: "
                     "UNAUTHORIZED); it says: UNAUTHORIZED",
                 "if the image exists it needs a login: 'docker login', or -o oci.username= with oci.password_file=");
    EXPECT_EQ(t.o.count("/token"), 1u);
}

TEST(bearer, an_identity_token_is_posted_to_the_token_service_and_nowhere_else) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .identity_token = "who I am/+="});
    oci::found_credential who;
    who.value = oci::credential{"<token>", {}, oci::secret(std::string_view("who I am/+="))};
    who.origin = {oci::credential_kind::helper, "test", {}};
    const auto s = t.open("a/b:1", std::move(who));
    ASSERT_TRUE(resolve(*s));
    std::size_t posts = 0;
    for (const auto& r : t.o.log()) {
        posts += r.method == "POST";
        EXPECT_EQ(r.method == "POST", r.path == "/token");
        EXPECT_EQ(r.target.find("who"), std::string::npos);
        if (r.path == "/token") {
            EXPECT_EQ(r.body,
                      "grant_type=refresh_token&client_id=nerofs&service=test-registry&scope=repository%3Aa%2Fb%3Apull"
                      "&refresh_token=who%20I%20am%2F%2B%3D");
        }
    }
    EXPECT_EQ(posts, 1u);
}

// What Docker Hub does with images that aren't there or aren't public: a token that opens nothing.
TEST(bearer, a_token_that_opens_nothing_is_no_reason_for_a_storm) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .challenge = challenge(t.o, "repository:a/b:push")});
    auto o = t.options();
    o.retry = {60s, 60s, 60s};
    const auto s = session::make(*t.c, std::move(o));
    for (int i = 0; i < 10; ++i)
        expect_error(resolve(*s), error_kind::auth,
                     "image '" + t.o.host() +
                         "/a/b:1': the registry refuses the token that its token service gave, asked without "
                         "credentials (status 401)" +
                         (i == 0 ? "; it says: UNAUTHORIZED" : ""),
                     "if the image exists it needs a login: 'docker login', or -o oci.username= with "
                     "oci.password_file=");
    EXPECT_EQ(t.o.count("/token"), 2u);
    EXPECT_EQ(t.o.count("/manifests/"), 3u);
}

// ---- tokens end ----

TEST(tokens, that_live_two_seconds_are_renewed_while_many_read) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .token_life = 2s});
    const auto s = t.open();
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    const auto first = open_layer(s, *image);
    const auto second = open_layer(s, *image);
    const auto end = std::chrono::steady_clock::now() + 5s;
    std::size_t reads = 0;
    while (std::chrono::steady_clock::now() < end) {
        readings some;
        for (std::size_t i = 0; i < 8; ++i)
            some.push_back(begin(*(i % 2 == 0 ? first : second)->source, (reads + i) * 1000 % 90'000, 1000));
        expect_all(some, t.blob);
        reads += 8;
    }
    EXPECT_GE(t.o.count("/token"), 3u);  // 5 s of tokens that live 2 s
    EXPECT_LE(t.o.count("/token"), 6u);  // renewed after 1.5 s each
    // The one challenge at the start; afterwards there was always a token in time.
    EXPECT_EQ(with_status(t.o, 401), 1u);
}

TEST(tokens, that_end_before_their_time_are_renewed_once_for_all) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .token_life = 100s});
    const auto s = t.open();
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    std::vector<opened_blob> blobs;
    for (int i = 0; i < 8; ++i) blobs.push_back(open_layer(s, *image).value());
    for (auto& b : blobs) ASSERT_EQ(read(*b.source, 0, 10), t.blob.substr(0, 10));
    for (std::size_t round = 1; round <= 3; ++round) {
        // They were good for a while: such as are refused at once open nothing, and get no successors.
        const auto later = std::chrono::steady_clock::now() + 1100ms;
        std::this_thread::sleep_until(later);
        t.o.pass_time(200s);
        readings some;
        for (std::size_t i = 0; i < 80; ++i) some.push_back(begin(*blobs[i % 8].source, i * 1000, 1000));
        expect_all(some, t.blob);
        EXPECT_EQ(t.o.count("/token"), 1 + round);
    }
}

TEST(tokens, one_request_for_all_who_wait_for_one) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    t.o.set_shape({.delay = 50ms});
    const auto s = t.open();
    s->settle(false);
    std::vector<std::jthread> threads;
    std::atomic<int> good = 0;
    for (int i = 0; i < 8; ++i)
        threads.emplace_back([&] {
            if (resolve(*s)) ++good;
        });
    threads.clear();
    EXPECT_EQ(good, 8);
    EXPECT_EQ(t.o.count("/token"), 1u);
}

TEST(tokens, a_new_one_is_fetched_while_the_old_one_works) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .token_life = 4s});
    const auto s = t.open();
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    const auto blob = open_layer(s, *image);
    // Renewed from 3 s on; the service is slow, and nobody waits for it.
    t.o.add_fault({.kind = fault_kind::slow_head, .amount = 500, .path_part = "/token"});
    const auto due = std::chrono::steady_clock::now() + 3100ms;
    std::this_thread::sleep_until(due);
    const auto before = std::chrono::steady_clock::now();
    EXPECT_EQ(read(*blob->source, 0, 10), t.blob.substr(0, 10));
    EXPECT_LT(std::chrono::steady_clock::now() - before, 400ms);
    EXPECT_TRUE(soon([&] { return t.o.count("/token") >= 2; }));
    EXPECT_EQ(with_status(t.o, 401), 1u);
}

TEST(tokens, a_token_service_that_is_away_is_waited_for) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    t.o.add_fault({.kind = fault_kind::status, .amount = 503, .path_part = "/token", .times = 4});
    ASSERT_TRUE(t.resolve());
    EXPECT_EQ(t.o.count("/token"), 5u);

    t.o.add_fault({.kind = fault_kind::status, .amount = 503, .path_part = "/token", .times = always});
    const auto s = t.open();
    expect_error(resolve(*s, within(1500ms)), error_kind::timeout,
                 "image '" + t.o.host() + "/a/b:1': given up at the deadline: the registry's token service: GET " +
                     t.o.url("/token") + "?...: the server answered 503 (service unavailable): FAULT: on purpose");
}

TEST(tokens, a_token_service_that_answers_nonsense) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    t.o.add_fault({.kind = fault_kind::short_length, .amount = 5, .path_part = "/token"});
    const auto found = t.resolve();
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::corrupt) << found.error().message();
    EXPECT_EQ(found.error().text.find("token-"), std::string::npos);  // none of it is shown
}

// Readers of a mount wait for what a fresh mount would take for an answer.
TEST(tokens, nonsense_is_no_end_when_the_service_was_good_before) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    const auto s = t.open();
    const auto image = resolve(*s);
    ASSERT_TRUE(image);
    const auto blob = open_layer(s, *image);
    t.o.pass_time(1000s);
    t.o.add_fault({.kind = fault_kind::short_length, .amount = 5, .path_part = "/token", .times = 3});
    EXPECT_EQ(read(*blob->source, 0, 10), t.blob.substr(0, 10));
}

// ---- who is told ----

TEST(audience, a_token_service_elsewhere_is_asked_if_it_may_be) {
    registered t;
    origin service;
    service.set_auth({.scheme = origin_auth::kind::bearer, .user = "me", .password = "word"});
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .challenge = challenge(service)});
    // It isn't the registry's own, so its tokens open nothing; but both are on this machine, so it is asked.
    ASSERT_FALSE(t.resolve("a/b:1", password("me", "word")));
    EXPECT_EQ(service.count("/token"), 2u);
}

TEST(audience, a_plain_token_service_on_another_machine_is_refused_before_it_is_asked) {
    registered t;
    origin service;
    const std::string realm = "http://0.0.0.0:" + std::to_string(service.port()) + "/token?secret=1";
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .challenge = R"(Bearer realm=")" + realm + "\""});
    expect_error(t.resolve("a/b:1", password("me", "word")), error_kind::auth,
                 "image '" + t.o.host() +
                     "/a/b:1': the registry's token service 'http://0.0.0.0:" + std::to_string(service.port()) +
                     "/token': is not https, so nothing is sent there; it says: UNAUTHORIZED",
                 "-o oci.insecure allows http");
    EXPECT_EQ(service.connections(), 0u);
}

TEST(audience, a_token_service_with_a_password_in_its_url_is_refused) {
    registered t;
    origin service;
    t.o.set_auth({.scheme = origin_auth::kind::bearer,
                  .challenge = R"(Bearer realm="http://user:pass@)" + service.host() + R"(/token")"});
    const auto found = t.resolve("a/b:1", password("me", "word"));
    ASSERT_FALSE(found);
    EXPECT_EQ(found.error().kind, error_kind::auth);
    EXPECT_EQ(found.error().text.find("pass@"), std::string::npos);
    EXPECT_EQ(service.connections(), 0u);
}

TEST(audience, a_token_service_is_not_followed_elsewhere) {
    registered t;
    origin elsewhere;
    t.o.set_auth({.scheme = origin_auth::kind::bearer, .user = "me", .password = "word"});
    t.o.add_fault({.kind = fault_kind::status,
                   .amount = 307,
                   .path_part = "/token",
                   .times = always,
                   .location = elsewhere.url("/token")});
    const auto found = t.resolve("a/b:1", password("me", "word"));
    ASSERT_FALSE(found);
    EXPECT_EQ(elsewhere.connections(), 0u);
}

TEST(audience, nothing_is_given_for_other_hosts_ports_and_schemes) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::basic, .user = "Aladdin", .password = "open sesame"});
    const auto s = t.open("a/b:1", password("Aladdin", "open sesame"));
    ASSERT_TRUE(resolve(*s));
    const auto given = [&](const std::string& url) {
        std::promise<std::string> value;
        s->authorize(http::parse_url(url).value(), std::nullopt, [&](result<http::fields> fields) {
            const std::string* const v = fields.value().find("Authorization");
            value.set_value(v == nullptr ? "" : *v);
        });
        return value.get_future().get();
    };
    EXPECT_EQ(given(t.o.url("/v2/a/b/blobs/x")), aladdin);
    EXPECT_EQ(given("http://127.0.0.1:" + std::to_string(t.o.storage_port()) + "/v2/"), "");
    EXPECT_EQ(given("http://localhost:" + std::to_string(t.o.port()) + "/v2/"), "");
    EXPECT_EQ(given("http://127.0.0.1/v2/"), "");
    EXPECT_EQ(given("http://127.0.0.1." + t.o.host().substr(9) + "/v2/"), "");
}

TEST(audience, plain_http_is_not_the_registry_once_it_speaks_https) {
    registered t;
    const auto s = t.open("a/b:1", password("me", "word"));
    s->settle(true);
    std::optional<source::authorizer::rejection> refused{{401, {R"(Basic realm="x")"}, {}}};
    std::size_t fields = 7;
    s->authorize(http::parse_url(t.o.url("/v2/")).value(), refused,
                 [&](result<http::fields> given) { fields = given.value().all().size(); });
    EXPECT_EQ(fields, 0u);
    s->authorize(http::parse_url("https://" + t.o.host() + "/v2/").value(), refused,
                 [&](result<http::fields> given) { fields = given.value().all().size(); });
    EXPECT_EQ(fields, 1u);
}

// ---- the end ----

TEST(session, the_end_of_the_client_answers_who_waits_for_a_token) {
    registered t;
    t.o.set_auth({.scheme = origin_auth::kind::bearer});
    t.o.add_fault({.kind = fault_kind::silence, .path_part = "/token", .times = always});
    const auto s = t.open();
    std::promise<result<http::fields>> answer;
    s->authorize(http::parse_url(t.o.url("/v2/")).value(), source::authorizer::rejection{401, {challenge(t.o)}, {}},
                 [&](result<http::fields> given) { answer.set_value(std::move(given)); });
    EXPECT_TRUE(soon([&] { return t.o.count("/token") > 0; }));
    t.c.reset();
    const auto given = answer.get_future().get();
    ASSERT_FALSE(given);
    EXPECT_EQ(given.error().kind, error_kind::cancelled);
}

}  // namespace
}  // namespace nerofs::registry
