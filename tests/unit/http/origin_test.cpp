// The origin itself, where other tests rely on it without noticing.
#include "support/origin/origin.h"

#include "support.h"

namespace nerofs::http {
namespace {

TEST(origin_fault, text) {
    const auto f = test::parse_fault("short_body=1000,path=/storage/,skip=2,times=always,chance=0.25");
    ASSERT_TRUE(f);
    EXPECT_EQ(f->kind, fault_kind::short_body);
    EXPECT_EQ(f->amount, 1000u);
    EXPECT_EQ(f->path_part, "/storage/");
    EXPECT_EQ(f->skip, 2u);
    EXPECT_EQ(f->times, test::always);
    EXPECT_EQ(f->probability, 0.25);
    EXPECT_EQ(test::parse_fault("status=429,retry-after=3")->retry_after, "3");
    EXPECT_EQ(test::parse_fault("drop")->times, 1u);
    for (const char* text : {"", "nonsense", "drop=x", "drop,skip", "drop,skip=x", "drop,when=1"})
        EXPECT_FALSE(test::parse_fault(text)) << text;
}

TEST(origin_fault, chance_is_the_same_for_the_same_seed) {
    const auto hits = [](std::uint64_t seed) {
        test::fault_list list(seed);
        list.add({.kind = fault_kind::drop, .path_part = "/b", .times = test::always, .probability = 0.5});
        std::string out;
        for (int i = 0; i < 64; ++i) out += list.take("/blob").empty() ? '.' : 'x';
        EXPECT_TRUE(list.take("/other").empty());
        return out;
    };
    EXPECT_EQ(hits(1), hits(1));
    EXPECT_NE(hits(1), hits(2));
    EXPECT_NE(hits(1).find('x'), std::string::npos);
    EXPECT_NE(hits(1).find('.'), std::string::npos);
}

TEST(origin_registry, manifests_by_tag_and_digest) {
    served s;
    const std::string manifest = R"({"schemaVersion":2})";
    const std::string digest =
        s.o.add_manifest("a/b", "latest", "application/vnd.oci.image.manifest.v1+json", manifest);
    for (const std::string& reference : {std::string("latest"), digest}) {
        const outcome o = ask(*s.c, s.get("/v2/a/b/manifests/" + reference));
        ASSERT_TRUE(o);
        EXPECT_EQ(o->body, manifest);
        EXPECT_EQ(*o->headers.find("Docker-Content-Digest"), digest);
        EXPECT_EQ(*o->headers.find("Content-Type"), "application/vnd.oci.image.manifest.v1+json");
    }
    EXPECT_EQ(ask(*s.c, s.get("/v2/a/b/manifests/v1")).error().status, 404);
    EXPECT_EQ(ask(*s.c, s.get("/v2/a/c/manifests/latest")).error().status, 404);
    EXPECT_EQ(ask(*s.c, s.get("/v2/"))->status, 200);
}

TEST(origin_registry, a_token_is_for_its_scope_and_its_time) {
    served s;
    s.o.set_auth({.scheme = test::origin_auth::kind::bearer, .token_life = 60s});
    s.o.add_manifest("a/b", "t", "x/y", "{}");
    s.o.add_manifest("c", "t", "x/y", "{}");
    const outcome refused = ask(*s.c, s.get("/v2/a/b/manifests/t"));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().challenges,
              std::vector<std::string>{"Bearer realm=\"" + s.o.url("/token") +
                                       "\",service=\"test-registry\",scope=\"repository:a/b:pull\""});
    const outcome token = ask(*s.c, s.get("/token?service=test-registry&scope=repository%3Aa%2Fb%3Apull"));
    ASSERT_TRUE(token);
    const std::size_t begin = token->body.find("token-");
    const auto with = [&](std::string_view path) {
        request r = s.get(path);
        r.secrets.add("Authorization", "Bearer " + token->body.substr(begin, token->body.find('"', begin) - begin));
        return ask(*s.c, std::move(r));
    };
    EXPECT_TRUE(with("/v2/a/b/manifests/t"));
    EXPECT_EQ(with("/v2/c/manifests/t").error().status, 401);
    s.o.pass_time(61s);
    EXPECT_EQ(with("/v2/a/b/manifests/t").error().status, 401);
}

TEST(origin_ranges, forms) {
    served s(100);
    const auto range = [&](const char* value) {
        request r = s.get();
        r.headers.add("Range", value);
        return ask(*s.c, std::move(r));
    };
    // A 206 to what the client doesn't know as a range is refused; the text says what came.
    EXPECT_EQ(range("bytes=0-9").error().status, 206);
    EXPECT_EQ(range("bytes=100-").error().status, 416);
    EXPECT_EQ(range("bytes=5-4")->body, s.blob);
    EXPECT_EQ(range("lines=1-2")->body, s.blob);
    EXPECT_EQ(range("bytes=0-1,3-4")->body, s.blob);
}

TEST(origin_shape, connections_above_the_most_are_closed) {
    origin o({.most_connections = 1});
    o.add_file("/x", "x");
    const auto a = client::make().value();
    const auto b = client::make().value();
    request r;
    r.target = url_of(o.url("/x"));
    EXPECT_TRUE(ask(*a, r));
    EXPECT_FALSE(ask(*b, r));
}

}  // namespace
}  // namespace nerofs::http
