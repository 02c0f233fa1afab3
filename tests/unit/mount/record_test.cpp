#include "mount/record.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/channel.h"
#include "os/files.h"
#include "support/scratch_directory.h"

namespace nerofs::mount {
namespace {

using namespace std::chrono_literals;

record example() {
    record r;
    r.id = "0123456789abcdef";
    r.transport = "nbd (netlink)";
    r.index = 3;
    r.source = "../image with space\n%41.erofs";
    r.path = "/srv/image with space\n%41.erofs";
    r.target = "/mnt/\xff\x01";
    r.fs_offset = 4096;
    r.extra_devices = true;
    r.identity = {1ull << 40, -5, 77, "c1b9d5a2-f162-11cf-9ece-0020afc76f16"};
    r.block_size = 512;
    r.connections = 2;
    r.timeout = 30s;
    r.dead_timeout = 300s;
    r.attached_at = 1795331012;
    r.backend = "/run/nerofs/0123456789abcdef.record";
    return r;
}

std::string with(std::string text, const std::string& what, const std::string& instead) {
    const auto at = text.find(what);
    EXPECT_NE(at, std::string::npos) << what;
    return text.replace(at, what.size(), instead);
}

TEST(record, every_field_comes_back_and_values_cannot_break_lines) {
    const record r = example();
    const std::string text = encode_record(r);
    EXPECT_EQ(text.substr(0, 16), "nerofs-record 4\n");
    EXPECT_NE(text.find("\npath=/srv/image%20with%20space%0a%2541.erofs\n"), std::string::npos) << text;
    const auto back = decode_record(text);
    ASSERT_TRUE(back) << back.error().text;
    EXPECT_EQ(encode_record(*back), text);
    EXPECT_EQ(back->source, r.source);
    EXPECT_EQ(back->target, r.target);
    EXPECT_EQ(back->identity, r.identity);
    EXPECT_EQ(back->timeout, 30s);
}

TEST(record, of_an_image_that_is_fetched) {
    record r = example();
    r.path.clear();
    r.remote.kind = fetch::remote_kind::registry;
    r.remote.name = "registry.example/team/tools:1.2";
    r.remote.layer = 3;
    r.remote.platform = "linux/arm64/v8";
    r.remote.timeout = 7s;
    r.remote.prefetch = fetch::prefetch_mode::all;
    r.remote.background_rate = 1u << 20;
    r.remote.credential_kind = 3;
    r.remote.credential_place = "/root/.docker/config.json";
    r.remote_identity.parts = {
        {fetch::part_kind::metadata, "sha256-ab-512", "sha256:ab", 512, "", 0, ""},
        {fetch::part_kind::content, "sha256-cd-123456", "sha256:cd", 123456, "sha256:ef", 50000, "sha256:01"}};
    r.remote_identity.resolved = "registry.example/team/tools@sha256:cd";
    r.remote_identity.plain_http = true;
    r.cache = {false, "/srv/cache with space", 1u << 30};
    const auto back = decode_record(encode_record(r));
    ASSERT_TRUE(back) << back.error().text;
    EXPECT_EQ(back->remote, r.remote);
    EXPECT_EQ(back->remote_identity, r.remote_identity);
    EXPECT_EQ(back->cache, r.cache);
    r.remote.layer.reset();
    EXPECT_EQ(decode_record(encode_record(r))->remote.layer, std::nullopt);
    const std::string good = encode_record(r);
    for (const auto& [what, instead] : std::initializer_list<std::pair<std::string, std::string>>{
             {"remote=2", "remote=3"},
             {"remote=2", "remote=0"},  // and no path
             {"remote_name=registry.example/team/tools:1.2", "remote_name="},
             {"part_size=123456", "part_size=0"},
             {"part_kind=2", "part_kind=3"},
             {"part_kind=2", "part_kind=0"},  // whose bytes are no layer's
             {"parts=2", "parts=1"},
             {"parts=2", "parts=0"},
             {"parts=2", "parts=18446744073709551615"},
             {"remote_prefetch=2", "remote_prefetch=3"},
             {"remote_timeout=7", "remote_timeout=0"},
             {"remote_layer=", "remote_layer=x"}})
        EXPECT_FALSE(decode_record(with(good, what, instead))) << instead;
}

TEST(record, whatever_is_damaged_is_corrupt_never_half_read) {
    const std::string good = encode_record(example());
    for (std::size_t size = 1; size < good.size(); ++size)
        EXPECT_FALSE(decode_record(std::string_view(good).substr(0, size))) << size;
    for (const auto& [what, instead] :
         std::initializer_list<std::pair<std::string, std::string>>{{"index=3", "index=-2"},
                                                                    {"index=3", "index=3x"},
                                                                    {"index=3", "index=99999999999999"},
                                                                    {"path=/", "path="},
                                                                    {"id=0123456789abcdef", "id=../../../etc/shad"},
                                                                    {"connections=2", "connections=65"},
                                                                    {"connections=2", "connections=0"},
                                                                    {"block_size=512", "block_size=511"},
                                                                    {"timeout=30", "timeout=-1"},
                                                                    {"extra_devices=1", "extra_devices=2"},
                                                                    {"%2541.erofs\ntarget", "%254%\ntarget"},
                                                                    {"%2541.erofs\ntarget", "%2\ntarget"},
                                                                    {"source=", "sauce="}})
        EXPECT_FALSE(decode_record(with(good, what, instead))) << instead;
    EXPECT_FALSE(decode_record(good + "x"));
    EXPECT_FALSE(decode_record(std::string(70000, 'x')));
    EXPECT_EQ(decode_record(with(good, "record 4", "record 1")).error().kind, error_kind::unsupported);
}

TEST(record, the_peers_local_record_is_understood_and_its_others_are_named) {
    const auto local = decode_record("LOCAL /srv/with space.erofs\n");
    ASSERT_TRUE(local);
    EXPECT_EQ(local->path, "/srv/with space.erofs");
    EXPECT_EQ(local->connections, 1u);
    EXPECT_TRUE(local->identity.uuid.empty());
    EXPECT_EQ(decode_record("S3_OBJECT b/k host 0 1 (nil)").error().text,
              "a recovery file of kind S3_OBJECT is not supported yet");
    for (const char* bad :
         {"", "LOCAL", "LOCAL ", "LOCAL relative", "LOCAL /a\nLOCAL /b", "local /x", "\n", "OCI_LAYER",
          "OCI_LAYER r linux/amd64", "OCI_LAYER r linux/amd64 x", "OCI_LAYER r linux/amd64 1 a b",
          "OCI_LAYER  linux/amd64 1", "OCI_NATIVE_BLOB r p 5", "OCI_NATIVE_BLOB r p sha256:ab\nLOCAL /x",
          "TARINDEX_OCI_BLOB r p sha256:ab  relative ", "TARINDEX_OCI_BLOB r p sha256:ab  /a /b c"})
        EXPECT_EQ(decode_record(bad).error().kind, error_kind::corrupt) << bad;
}

TEST(run_directory, is_made_at_first_use_for_its_owner_alone) {
    const test::scratch_directory parent;
    const run_directory directory(parent.path() + "/run/nerofs");
    ASSERT_TRUE(directory.prepare());
    ASSERT_TRUE(directory.prepare());
    struct stat found {};
    ASSERT_EQ(::stat(directory.path().c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0700u);
    ASSERT_EQ(::chmod(directory.path().c_str(), 0777), 0);
    EXPECT_EQ(directory.prepare().error().kind, error_kind::permission);
    ::rmdir(directory.path().c_str());
    ASSERT_EQ(::symlink("/tmp", directory.path().c_str()), 0);
    EXPECT_FALSE(directory.prepare()) << "a link to a directory that others write";
}

TEST(run_directory, records_are_stored_private_listed_and_erased_with_their_socket) {
    const test::scratch_directory parent;
    const run_directory directory(parent.path());
    const record r = example();
    ASSERT_TRUE(directory.store(r));
    const auto listening = os::listen_at(directory.control_path(r.id));
    ASSERT_TRUE(listening);
    ASSERT_TRUE(os::write_file_atomically(parent.path() + "/not-an-id.record", "x"));
    EXPECT_EQ(directory.ids(), std::vector<std::string>{r.id});
    EXPECT_EQ(encode_record(*directory.load(directory.record_path(r.id))), encode_record(r));
    struct stat found {};
    ASSERT_EQ(::stat(directory.record_path(r.id).c_str(), &found), 0);
    EXPECT_EQ(found.st_mode & 07777, 0600u);
    directory.erase(r.id);
    EXPECT_NE(::access(directory.record_path(r.id).c_str(), F_OK), 0);
    EXPECT_NE(::access(directory.control_path(r.id).c_str(), F_OK), 0);
}

TEST(run_directory, garbage_is_what_nobody_serves_and_no_device_has) {
    const test::scratch_directory parent;
    const run_directory directory(parent.path());
    record served = example();
    record orphan = example();
    orphan.id = "00000000000000aa";
    orphan.backend = directory.record_path(orphan.id);
    ASSERT_TRUE(directory.store(served));
    ASSERT_TRUE(directory.store(orphan));
    {
        const auto listening = os::listen_at(directory.control_path(served.id));
        directory.collect_garbage();
        EXPECT_EQ(directory.ids(), std::vector<std::string>{served.id});
    }
    directory.collect_garbage();
    EXPECT_TRUE(directory.ids().empty());
}

TEST(nbd_index, is_read_from_names_people_use) {
    EXPECT_EQ(*nbd_index_of("/dev/nbd3"), 3);
    EXPECT_EQ(*nbd_index_of("nbd12"), 12);
    for (const char* bad : {"/dev/nbd", "/dev/nbd-1", "/dev/nbd0p1", "/dev/loop0", "", "nbd99999999999"})
        EXPECT_EQ(nbd_index_of(bad).error().kind, error_kind::usage) << bad;
}

TEST(record, the_peers_records_of_images_name_what_is_fetched) {
    const auto layer = decode_record("OCI_LAYER docker.io/library/x:1 linux/arm64/v8 2 dXNlcjpwYXNz\n");
    ASSERT_TRUE(layer) << layer.error().text;
    EXPECT_EQ(layer->remote.kind, fetch::remote_kind::registry);
    EXPECT_EQ(layer->remote.name, "docker.io/library/x:1");
    EXPECT_EQ(layer->remote.platform, "linux/arm64/v8");
    EXPECT_EQ(layer->remote.layer, 2u);
    EXPECT_EQ(layer->peer_login, "dXNlcjpwYXNz");
    EXPECT_TRUE(layer->remote_identity.parts.empty()) << "which bytes it meant isn't said";
    const auto blob = decode_record("OCI_NATIVE_BLOB host:5000/a linux/amd64 sha256:ab");
    ASSERT_TRUE(blob) << blob.error().text;
    EXPECT_EQ(blob->remote.blob, "sha256:ab");
    EXPECT_EQ(blob->peer_login, "");
    const auto tar = decode_record("TARINDEX_OCI_BLOB r linux/amd64 sha256:ab  /i /z");
    ASSERT_TRUE(tar) << tar.error().text;
    EXPECT_EQ(tar->peer_login, "");
    EXPECT_EQ(tar->remote.tarindex, "/i");
    EXPECT_EQ(tar->remote.zinfo, "/z");
    // The login isn't ours to write.
    record r = example();
    r.peer_login = "dXNlcjpwYXNz";
    EXPECT_EQ(encode_record(r).find("dXNl"), std::string::npos);
}

TEST(ids, are_sixteen_hex_digits_and_a_peers_record_has_always_the_same) {
    EXPECT_EQ(new_id().size(), 16u);
    EXPECT_NE(new_id(), new_id());
    EXPECT_EQ(id_of_peer_record("a"), "c8ce1068c4cd36fa") << "FNV-1a of \"a\" is af63dc4c8601ec8c";
    EXPECT_NE(id_of_peer_record("/a"), id_of_peer_record("/b"));
}

}  // namespace
}  // namespace nerofs::mount
