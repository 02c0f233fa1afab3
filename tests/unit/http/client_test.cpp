// Everything about the client but ranges: statuses, connections, time, cancelling, secrets, threads.
#include "http/client.h"

#include <atomic>
#include <latch>
#include <thread>

#include "support.h"

namespace nerofs::http {
namespace {

TEST(client, a_whole_answer) {
    served s(10);
    const outcome o = ask(*s.c, s.get());
    ASSERT_TRUE(o);
    EXPECT_EQ(o->status, 200);
    EXPECT_EQ(o->body, s.blob);
    EXPECT_EQ(o->total, 10u);
    EXPECT_EQ(*o->headers.find("content-type"), "application/octet-stream");
}

TEST(client, a_whole_answer_into_a_sink) {
    served s;
    taken t;
    request r = s.get();
    r.sink = t.sink();
    ASSERT_TRUE(ask(*s.c, std::move(r)));
    EXPECT_EQ(t.first, 0u);
    EXPECT_EQ(t.bytes, s.blob);
}

TEST(client, a_whole_answer_that_ends_early_is_short) {
    served s;
    s.o.add_fault(fault_of(fault_kind::short_body, 100));
    expect_failure(ask(*s.c, s.get()), error_kind::retryable, failure_cause::short_body,
                   "the body ended after 100 of 100000 bytes");
}

TEST(client, a_body_over_its_cap_is_refused) {
    served s(5000);
    request r = s.get();
    r.most_body_bytes = 4999;
    expect_failure(ask(*s.c, r), error_kind::corrupt, failure_cause::refused,
                   "the answer of 5000 bytes is larger than 4999");
    s.o.add_fault(fault_of(fault_kind::chunked));  // without Content-Length
    expect_failure(ask(*s.c, r), error_kind::corrupt, failure_cause::refused, "the answer is larger than 4999 bytes");
    r.most_body_bytes = 5000;
    EXPECT_EQ(ask(*s.c, r)->body, s.blob);
}

TEST(client, head) {
    served s;
    request r = s.get();
    r.verb = method::head;
    const outcome o = ask(*s.c, std::move(r));
    ASSERT_TRUE(o);
    EXPECT_EQ(o->total, s.blob.size());
    EXPECT_EQ(o->body, "");
    EXPECT_EQ(s.o.log()[0].method, "HEAD");
}

TEST(client, post_of_a_form) {
    served s;
    request r = s.get("/blob");
    r.verb = method::post;
    r.form = "grant_type=refresh_token&service=x";
    ASSERT_TRUE(ask(*s.c, std::move(r)));
    const auto log = s.o.log();
    EXPECT_EQ(log[0].method, "POST");
    EXPECT_EQ(log[0].header("content-length"), "34");
    EXPECT_EQ(log[0].header("content-type"), "application/x-www-form-urlencoded");
    EXPECT_EQ(log[0].header("expect"), "");
}

TEST(client, put_of_a_body) {
    served s;
    request r = s.get("/blob");
    r.verb = method::put;
    r.headers.add("Content-Type", "application/x-test");
    r.body = std::make_shared<const std::string>("\0bytes", 6);
    ASSERT_TRUE(ask(*s.c, std::move(r)));
    const auto log = s.o.log();
    EXPECT_EQ(log[0].method, "PUT");
    EXPECT_EQ(log[0].body, std::string("\0bytes", 6));
    EXPECT_EQ(log[0].header("content-type"), "application/x-test");
    EXPECT_EQ(log[0].header("expect"), "");
}

TEST(client, redirects_are_told_and_not_followed) {
    served s;
    s.o.set_redirects({.on = true});
    const std::string digest = s.o.add_blob("a/b", s.blob);
    const outcome o = ask(*s.c, s.range(0, 9, "/v2/a/b/blobs/" + digest));
    ASSERT_TRUE(o);
    EXPECT_EQ(o->status, 307);
    ASSERT_TRUE(o->location);
    EXPECT_EQ(o->location->port, s.o.storage_port());
    EXPECT_TRUE(o->location->target.starts_with("/storage/" + digest.substr(7) + "?X-Ends="));
    EXPECT_EQ(s.o.count(), 1u);
}

TEST(client, errors_carry_their_body_and_keep_the_connection) {
    served s;
    for (const auto& [code, kind] :
         {std::pair{429, error_kind::retryable}, {503, error_kind::retryable}, {403, error_kind::auth}}) {
        test::fault f = fault_of(fault_kind::status, static_cast<std::uint64_t>(code));
        f.retry_after = "3";
        s.o.add_fault(f);
        const outcome o = ask(*s.c, s.get());
        expect_failure(o, kind, failure_cause::status, "the server answered " + std::to_string(code));
        EXPECT_EQ(o.error().status, code);
        EXPECT_EQ(o.error().retry_after, 3s);
        EXPECT_EQ(o.error().body, R"({"errors":[{"code":"FAULT","message":"on purpose"}]})");
    }
    EXPECT_EQ(ask(*s.c, s.get("/nothing")).error().why.kind, error_kind::not_found);
    EXPECT_EQ(s.o.connections(), 1u);
}

TEST(client, a_401_carries_its_challenges) {
    served s;
    s.o.set_auth({.scheme = test::origin_auth::kind::basic, .user = "u", .password = "p"});
    const outcome o = ask(*s.c, s.get());
    expect_failure(o, error_kind::auth, failure_cause::status, "the server answered 401");
    EXPECT_EQ(o.error().challenges, std::vector<std::string>{R"(Basic realm="test")"});
}

TEST(client, secrets_are_sent_and_never_shown) {
    served s;
    request r = s.get("/nothing?X-Signature=s3cret");
    r.secrets.add("Authorization", "Bearer s3cret");
    r.headers.add("Accept", "application/json");
    const outcome o = ask(*s.c, std::move(r));
    ASSERT_FALSE(o);
    EXPECT_EQ(s.o.log()[0].header("authorization"), "Bearer s3cret");
    EXPECT_EQ(s.o.log()[0].header("accept"), "application/json");
    EXPECT_EQ(o.error().why.message(), "GET " + s.o.url("/nothing") + "?...: the server answered 404 (not found)");
}

TEST(client, a_header_cannot_smuggle_another) {
    served s;
    for (const std::string& value :
         {std::string("a\r\nRange: bytes=0-"), std::string("a\nb"), std::string("a\0b", 3)}) {
        request r = s.get();
        r.secrets.add("Authorization", value);
        expect_failure(ask(*s.c, std::move(r)), error_kind::usage, failure_cause::caller,
                       "a header has bytes that can't be sent");
    }
    request r = s.get();
    r.headers.add("A b", "c");
    expect_failure(ask(*s.c, std::move(r)), error_kind::usage, failure_cause::caller,
                   "a header has bytes that can't be sent");
    EXPECT_EQ(s.o.count(), 0u);
}

TEST(client, plain_http_leaves_this_machine_only_by_option) {
    served s;
    request r;
    r.target = url_of("http://registry.example/x");
    const outcome o = ask(*s.c, r);
    expect_failure(o, error_kind::usage, failure_cause::caller,
                   "plain http, which anyone on the way can read and change, is not allowed");
    EXPECT_EQ(o.error().why.hint, "use https, or allow it explicitly");
}

TEST(client, nobody_listens) {
    served s;
    s.o.go_away(origin::away::refuse);
    const outcome o = ask(*s.c, s.get());
    expect_failure(o, error_kind::retryable, failure_cause::transport, "cannot connect: Connection refused");
    EXPECT_EQ(o.error().why.code, ECONNREFUSED);
    EXPECT_EQ(o.error().status, 0);
    s.o.come_back();
    EXPECT_TRUE(ask(*s.c, s.get()));
    s.o.go_away(origin::away::drop);
    EXPECT_EQ(ask(*s.c, s.get()).error().why.kind, error_kind::retryable);
    s.o.come_back();
    EXPECT_TRUE(ask(*s.c, s.get()));
}

TEST(client, a_server_that_doesnt_speak_tls) {
    served s;
    request r;
    r.target = url_of("https://" + s.o.host() + "/blob");
    const outcome o = ask(*s.c, std::move(r));
    expect_failure(o, error_kind::permanent, failure_cause::transport, "wrong version number");
    EXPECT_EQ(o.error().why.hint, "the server doesn't speak TLS at this port; plain http has to be asked for");
    EXPECT_EQ(s.o.count(), 0u);
}

TEST(client, connections_are_used_again) {
    served s;
    for (int i = 0; i < 20; ++i) ASSERT_TRUE(ask(*s.c, s.range(0, 99)));
    EXPECT_EQ(s.o.connections(), 1u);
    EXPECT_EQ(s.o.log()[19].connection, 1u);
}

TEST(client, connections_to_a_host_are_bounded_and_all_used) {
    served s(100'000, {.connections_per_host = 3});
    s.o.set_shape({.delay = 5ms});
    std::vector<std::future<outcome>> all;
    for (int i = 0; i < 24; ++i) all.push_back(begin(*s.c, s.range(0, 99)));
    for (auto& f : all) EXPECT_EQ(f.get()->body, s.part(0, 99));
    EXPECT_EQ(s.o.count(), 24u);
    EXPECT_EQ(s.o.connections(), 3u);
}

TEST(client, demand_goes_first) {
    served s(100'000, {.connections_per_host = 1});
    s.o.add_fault(fault_of(fault_kind::silence));
    client::id first = 0;
    auto stuck = begin(*s.c, s.range(0, 0), &first);
    while (s.o.count() == 0) std::this_thread::yield();
    std::vector<std::future<outcome>> all;
    for (const priority p : {priority::background, priority::ahead, priority::demand}) {
        request r = s.range(static_cast<std::uint64_t>(p) + 1, 50);
        r.priority = p;
        all.push_back(begin(*s.c, std::move(r)));
    }
    s.c->cancel(first);
    EXPECT_FALSE(stuck.get());
    for (auto& f : all) ASSERT_TRUE(f.get());
    std::vector<std::uint64_t> order;
    for (const auto& r : s.o.log()) order.push_back(r.range->first);
    EXPECT_EQ(order, (std::vector<std::uint64_t>{0, 1, 2, 3}));
}

TEST(client, too_many_waiting_requests_are_turned_away) {
    served s(1000, {.connections_per_host = 1, .most_waiting = 2});
    s.o.add_fault(fault_of(fault_kind::silence));
    client::id first = 0;
    auto stuck = begin(*s.c, s.get(), &first);
    while (s.o.count() == 0) std::this_thread::yield();
    auto a = begin(*s.c, s.get());
    auto b = begin(*s.c, s.get());
    expect_failure(ask(*s.c, s.get()), error_kind::retryable, failure_cause::transport,
                   "too many requests are waiting");
    s.c->cancel(first);
    expect_failure(stuck.get(), error_kind::cancelled, failure_cause::caller, "cancelled");
    EXPECT_TRUE(a.get());
    EXPECT_TRUE(b.get());
}

TEST(client, the_deadline_ends_a_request_wherever_it_is) {
    served s(1000, {.connections_per_host = 1});
    s.o.add_fault(fault_of(fault_kind::silence));
    request r = s.get();
    r.deadline = std::chrono::steady_clock::now() + 100ms;
    auto active = begin(*s.c, r);
    auto waiting = begin(*s.c, r);
    expect_failure(active.get(), error_kind::timeout, failure_cause::caller, "not finished in time");
    const outcome o = waiting.get();
    ASSERT_FALSE(o);
    EXPECT_EQ(o.error().why.kind, error_kind::timeout);
    r.deadline = std::chrono::steady_clock::now() - 1s;
    expect_failure(ask(*s.c, r), error_kind::timeout, failure_cause::caller, "in time");
}

TEST(client, cancel) {
    served s(1000, {.connections_per_host = 1});
    s.o.add_fault(fault_of(fault_kind::stall, 10));
    client::id active = 0;
    client::id waiting = 0;
    auto a = begin(*s.c, s.get(), &active);
    auto w = begin(*s.c, s.get(), &waiting);
    while (s.o.count() == 0) std::this_thread::yield();
    s.c->cancel(waiting);
    expect_failure(w.get(), error_kind::cancelled, failure_cause::caller, "cancelled");
    s.c->cancel(active);
    expect_failure(a.get(), error_kind::cancelled, failure_cause::caller, "cancelled");
    s.c->cancel(active);
    s.c->cancel(12345);
    EXPECT_TRUE(ask(*s.c, s.get()));
}

TEST(client, the_destructor_ends_everything) {
    served s(1000, {.connections_per_host = 2});
    s.o.add_fault(fault_of(fault_kind::silence, 0, test::always));
    std::vector<std::future<outcome>> all;
    for (int i = 0; i < 10; ++i) all.push_back(begin(*s.c, s.get()));
    std::promise<status> timer;
    s.c->at(time_point::max(), [&](status how) { timer.set_value(std::move(how)); });
    s.c.reset();
    for (auto& f : all) expect_failure(f.get(), error_kind::cancelled, failure_cause::caller, "cancelled");
    EXPECT_EQ(timer.get_future().get().error().kind, error_kind::cancelled);
}

TEST(client, what_a_completion_starts_while_the_client_ends_is_cancelled_too) {
    served s;
    s.o.add_fault(fault_of(fault_kind::silence, 0, test::always));
    std::atomic<int> ended = 0;
    s.c->start(s.get(), [&](outcome first) {
        EXPECT_EQ(first.error().why.kind, error_kind::cancelled);
        ++ended;
        s.c->start(s.get(), [&](outcome second) {
            EXPECT_EQ(second.error().why.kind, error_kind::cancelled);
            ++ended;
        });
    });
    // Not reset(), which takes the pointer away before it ends the client.
    delete s.c.get();
    (void)s.c.release();
    EXPECT_EQ(ended, 2);
}

TEST(client, timers_ring_in_order_and_can_be_cancelled) {
    const auto c = client::make().value();
    std::mutex mutex;
    std::string order;
    std::latch all(3);
    const auto ring = [&](char name) {
        return [&, name](const status& how) {
            const std::lock_guard lock(mutex);
            order += how ? name : '-';
            EXPECT_TRUE(c->on_thread());
            all.count_down();
        };
    };
    const time_point now = std::chrono::steady_clock::now();
    c->at(now + 60ms, ring('b'));
    c->at(now + 20ms, ring('a'));
    c->cancel(c->at(now + 1h, ring('c')));
    all.wait();
    EXPECT_FALSE(c->on_thread());
    EXPECT_EQ(order, "-ab");
}

TEST(client, completions_may_start_requests) {
    served s;
    std::promise<int> done;
    std::function<void(int)> step = [&](int n) {
        if (n == 10) return done.set_value(n);
        s.c->start(s.range(0, 9), [&, n](outcome o) {
            EXPECT_TRUE(o);
            EXPECT_TRUE(s.c->on_thread());
            step(n + 1);
        });
    };
    step(0);
    EXPECT_EQ(done.get_future().get(), 10);
    EXPECT_EQ(s.o.count(), 10u);
}

TEST(client, a_stalled_transfer_doesnt_hold_up_others) {
    served s;
    s.o.add_fault(fault_of(fault_kind::stall, 10));
    client::id stuck = 0;
    auto f = begin(*s.c, s.range(0, 99'999), &stuck);
    while (s.o.count() == 0) std::this_thread::yield();
    for (int i = 0; i < 50; ++i) ASSERT_TRUE(ask(*s.c, s.range(0, 99)));
    EXPECT_EQ(f.wait_for(0s), std::future_status::timeout);
    s.c->cancel(stuck);
    EXPECT_FALSE(f.get());
}

TEST(client, many_threads) {
    served s;
    std::vector<std::jthread> threads;
    std::atomic<int> good = 0;
    for (unsigned t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            for (unsigned i = 0; i < 50; ++i) {
                client::id which = 0;
                auto f = begin(*s.c, s.range(t * 100 + i, 50'000 + i), &which);
                if (i % 5 == 0) s.c->cancel(which);
                const outcome o = f.get();
                if (o && o->body == s.part(t * 100 + i, 50'000 + i)) ++good;
                if (!o && o.error().why.kind == error_kind::cancelled) ++good;
            }
        });
    threads.clear();
    EXPECT_EQ(good, 200);
    EXPECT_LE(s.o.connections(), 50u);
}

TEST(client, timing_is_measured) {
    served s;
    s.o.set_shape({.delay = 30ms});
    const outcome first = ask(*s.c, s.range(0, 99));
    ASSERT_TRUE(first);
    EXPECT_TRUE(first->timing.fresh_connection);
    EXPECT_GE(first->timing.first_byte, 30ms);
    EXPECT_GE(first->timing.total, first->timing.first_byte);
    EXPECT_FALSE(ask(*s.c, s.range(0, 99))->timing.fresh_connection);
}

TEST(client, the_thread_has_a_name) {
    served s;
    std::promise<std::string> name;
    s.c->at(std::chrono::steady_clock::now(), [&](const status&) {
        char text[16] = {};
        pthread_getname_np(pthread_self(), text, sizeof text);
        name.set_value(text);
    });
    EXPECT_EQ(name.get_future().get(), "nerofs-http");
}

TEST(client, this_machine_is_not_asked_for_through_a_proxy) {
    served s;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    const outcome o = ask(*s.c, s.get());
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    EXPECT_TRUE(o);
}

TEST(client, others_are_asked_for_through_the_proxy_of_the_environment) {
    // The origin plays a proxy for plain http, which is asked with the whole URL.
    served s(1000, {.allow_plain = true});
    setenv("http_proxy", s.o.url().c_str(), 1);
    request r;
    r.target = url_of("http://registry.example/x");
    const outcome o = ask(*s.c, r);
    unsetenv("http_proxy");
    EXPECT_EQ(s.o.connections(), 1u);
    EXPECT_FALSE(o);  // it isn't really one
}

}  // namespace
}  // namespace nerofs::http
