#include "cli/mount_options.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nerofs::cli {
namespace {

using std::chrono_literals::operator""s;

mount_options parsed(std::string_view list) {
    const auto options = parse_mount_options(list);
    EXPECT_TRUE(options) << list << ": " << options.error().message();
    return options ? *options : mount_options{};
}

// The error's one line. Every one of them is the user's fault, and none has an errno.
std::string refused(std::string_view list) {
    const auto options = parse_mount_options(list);
    if (options) return "accepted";
    EXPECT_EQ(options.error().kind, error_kind::usage) << list;
    EXPECT_EQ(options.error().code, 0) << list;
    return options.error().message();
}

const std::string hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

TEST(mount_options, nothing_means_a_read_only_mount) {
    const mount_options options = parsed("");
    EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_RDONLY));
    EXPECT_EQ(options.propagation, 0u);
    EXPECT_EQ(options.data, "");
    EXPECT_FALSE(options.loop || options.oci.given || options.s3.given);
    EXPECT_EQ(options.nbd, nbd_options{});
}

TEST(mount_options, each_flag_sets_or_clears_its_bit) {
    struct row {
        std::string list;
        unsigned long flags;  // beside MS_RDONLY
    };
    const std::vector<row> rows = {
        {"ro", 0},
        {"rw", 0},
        {"nosuid", MS_NOSUID},
        {"nosuid,suid", 0},
        {"nodev", MS_NODEV},
        {"nodev,dev", 0},
        {"noexec", MS_NOEXEC},
        {"noexec,exec", 0},
        {"sync", MS_SYNCHRONOUS},
        {"sync,async", 0},
        {"dirsync", MS_DIRSYNC},
        {"noatime", MS_NOATIME},
        {"noatime,atime", 0},
        {"relatime", MS_RELATIME},
        {"relatime,norelatime", 0},
        {"strictatime", MS_STRICTATIME},
        {"strictatime,nostrictatime", 0},
        {"nodiratime", MS_NODIRATIME},
        {"nodiratime,diratime", 0},
        {"lazytime", MS_LAZYTIME},
        {"lazytime,nolazytime", 0},
        {"nosymfollow", MS_NOSYMFOLLOW},
        {"nosymfollow,symfollow", 0},
        {"mand", MS_MANDLOCK},
        {"mand,nomand", 0},
        {"iversion", MS_I_VERSION},
        {"iversion,noiversion", 0},
        {"silent", MS_SILENT},
        {"silent,loud", 0},
        {"remount", MS_REMOUNT},
        {"move", MS_MOVE},
        {"bind", MS_BIND},
        {"rbind", MS_BIND | MS_REC},
        {"rbind,bind", MS_BIND},
        {"nosuid,nodev,noexec", MS_NOSUID | MS_NODEV | MS_NOEXEC},
    };
    std::string all;
    for (const row& r : rows) {
        EXPECT_EQ(parsed(r.list).flags, r.flags | MS_RDONLY) << r.list;
        EXPECT_EQ(parsed(r.list).data, "") << r.list;
        all += "," + r.list;
    }
    for (const std::string_view name : flag_options())
        EXPECT_TRUE(all.find(name) != std::string::npos || parsed(name).propagation != 0) << name << " has no test";
}

TEST(mount_options, of_rules_for_access_times_the_later_counts) {
    EXPECT_EQ(parsed("noatime,relatime").flags, static_cast<unsigned long>(MS_RDONLY | MS_RELATIME));
    EXPECT_EQ(parsed("relatime,strictatime").flags, static_cast<unsigned long>(MS_RDONLY | MS_STRICTATIME));
    EXPECT_EQ(parsed("strictatime,noatime").flags, static_cast<unsigned long>(MS_RDONLY | MS_NOATIME));
}

TEST(mount_options, propagation_is_kept_apart_as_it_takes_a_call_of_its_own) {
    const std::vector<std::pair<std::string, unsigned long>> rows = {
        {"shared", MS_SHARED},         {"rshared", MS_SHARED | MS_REC},
        {"private", MS_PRIVATE},       {"rprivate", MS_PRIVATE | MS_REC},
        {"slave", MS_SLAVE},           {"rslave", MS_SLAVE | MS_REC},
        {"unbindable", MS_UNBINDABLE}, {"runbindable", MS_UNBINDABLE | MS_REC},
        {"rshared,slave", MS_SLAVE},
    };
    for (const auto& [list, bits] : rows) {
        EXPECT_EQ(parsed(list).propagation, bits) << list;
        EXPECT_EQ(parsed(list).flags, static_cast<unsigned long>(MS_RDONLY)) << list;
    }
}

TEST(mount_options, what_belongs_to_mount_and_fstab_is_ignored) {
    for (const std::string_view name : ignored_options()) EXPECT_EQ(parsed(name), mount_options{}) << name;
    for (const std::string_view list :
         {"defaults,_netdev,nofail,auto,noauto", "x-systemd.automount,x-systemd.idle-timeout=5min", "user=joe",
          "X-mount.mkdir=0755", "comment=a word", "uhelper=udisks2,helper=x", "x-a=\"b,c\"", "", ",", ",,,defaults,,"})
        EXPECT_EQ(parsed(list), mount_options{}) << list;
}

TEST(mount_options, a_flag_takes_no_value) {
    EXPECT_EQ(refused("ro=1"), "option 'ro': takes no value");
    EXPECT_EQ(refused("loop=/dev/loop0"), "option 'loop': takes no value");
    EXPECT_EQ(refused("oci.insecure=yes"), "option 'oci.insecure': takes no value");
}

TEST(mount_options, loop_asks_for_a_loop_device) {
    EXPECT_TRUE(parsed("loop").loop);
    EXPECT_EQ(parsed("loop").data, "");
    EXPECT_EQ(refused("loop,oci.layer=0"), "option 'loop': only a local image can be on a loop device");
    EXPECT_EQ(refused("s3.sig=4,loop"), "option 'loop': only a local image can be on a loop device");
}

TEST(mount_options, file_system_options_go_to_the_kernel_unchanged_and_in_order) {
    EXPECT_EQ(
        parsed("device=/a,ro,fsoffset=4096,nosuid,cache_strategy=readahead,domain_id=d,dax,acl,user_xattr,"
               "device=/b,noacl,dax=always")
            .data,
        "device=/a,fsoffset=4096,cache_strategy=readahead,domain_id=d,dax,acl,user_xattr,device=/b,noacl,dax=always");
    EXPECT_EQ(parsed("context=\"system_u:object_r:tmp_t:s0:c1,c2\",acl").data,
              "context=\"system_u:object_r:tmp_t:s0:c1,c2\",acl");
    EXPECT_EQ(parsed("device=/a\\,b,acl=").data, "device=/a\\,b,acl=");
}

TEST(mount_options, more_data_than_the_kernel_copies_is_refused) {
    EXPECT_EQ(parsed("device=" + std::string(4088, 'x')).data.size(), 4095u);
    EXPECT_EQ(refused("device=" + std::string(4089, 'x')),
              "file-system options: 4096 bytes are more than the 4095 the kernel takes");
}

TEST(mount_options, nbd) {
    EXPECT_EQ(parsed("nbd.method=auto").nbd.method, nbd_method::automatic);
    EXPECT_EQ(parsed("nbd.method=netlink").nbd.method, nbd_method::netlink);
    EXPECT_EQ(parsed("nbd.method=ioctl").nbd.method, nbd_method::ioctl);
    EXPECT_EQ(refused("nbd.method=usb"), "option 'nbd.method=usb': must be auto, netlink or ioctl");

    EXPECT_EQ(parsed("nbd.connections=1").nbd.connections, 1u);
    EXPECT_EQ(parsed("nbd.connections=64").nbd.connections, 64u);
    for (const std::string_view bad : {"0", "65", "99", "-1", "+1", "1 ", "x", "", "1x", "0x1", "99999999999999999999"})
        EXPECT_EQ(refused("nbd.connections=" + std::string(bad)),
                  "option 'nbd.connections=" + std::string(bad) + "': must be 1 to 64");

    EXPECT_EQ(parsed("nbd.timeout=1").nbd.timeout, 1s);
    EXPECT_EQ(parsed("nbd.timeout=2592000").nbd.timeout, 2592000s);
    EXPECT_EQ(refused("nbd.timeout=0"), "option 'nbd.timeout=0': must be 1 to 2592000 seconds");
    EXPECT_EQ(refused("nbd.timeout=5s"), "option 'nbd.timeout=5s': must be 1 to 2592000 seconds");
    EXPECT_EQ(refused("nbd.timeout"), "option 'nbd.timeout': needs a value, nbd.timeout=SECONDS");

    EXPECT_EQ(parsed("nbd.dead_timeout=0").nbd.dead_timeout, 0s);
    EXPECT_EQ(parsed("nbd.dead_timeout=31536000").nbd.dead_timeout, 31536000s);
    EXPECT_EQ(refused("nbd.dead_timeout=31536001"),
              "option 'nbd.dead_timeout=31536001': must be 0 to 31536000 seconds");
}

TEST(mount_options, oci_blob_is_a_digest) {
    EXPECT_EQ(parsed("oci.blob=" + hex64).oci.blob, hex64);
    EXPECT_EQ(parsed("oci.blob=sha256:" + hex64).oci.blob, hex64);
    EXPECT_EQ(parsed("oci.blob=sha256:" + std::string(64, 'A')).oci.blob, std::string(64, 'a'));
    EXPECT_TRUE(parsed("oci.blob=" + hex64).oci.given);
    for (const std::string& bad :
         {std::string(), std::string("sha256:"), hex64.substr(1), hex64 + "0", "sha512:" + hex64, std::string(64, 'g')})
        EXPECT_EQ(refused("oci.blob=" + bad), "option 'oci.blob=" + bad + "': must be a sha256 digest, 64 hex digits");
}

TEST(mount_options, oci_layer_is_a_whole_number) {
    EXPECT_EQ(parsed("oci.layer=0").oci.layer, 0u);
    EXPECT_EQ(parsed("oci.layer=126").oci.layer, 126u);
    for (const std::string_view bad : {"abc", "", "-1", "1x", " 1", "4294967296"})
        EXPECT_EQ(refused("oci.layer=" + std::string(bad)),
                  "option 'oci.layer=" + std::string(bad) + "': must be the number of a layer, from 0");
}

TEST(mount_options, oci_blob_and_layer_exclude_each_other) {
    EXPECT_EQ(refused("oci.layer=0,oci.blob=" + hex64),
              "options 'oci.blob' and 'oci.layer': only one can say what to mount");
}

TEST(mount_options, oci_platform) {
    EXPECT_EQ(parsed("oci.platform=linux/amd64").oci.platform, (oci_platform{"linux", "amd64", ""}));
    EXPECT_EQ(parsed("oci.platform=linux/arm64/v8").oci.platform, (oci_platform{"linux", "arm64", "v8"}));
    for (const std::string_view bad :
         {"", "linux", "linux/", "/amd64", "linux/arm64/", "a/b/c/d", "Linux/amd64", "linux/a b"})
        EXPECT_EQ(
            refused("oci.platform=" + std::string(bad)),
            "option 'oci.platform=" + std::string(bad) + "': must be OS/ARCH or OS/ARCH/VARIANT, as linux/arm64/v8");
}

TEST(mount_options, oci_credentials_and_files) {
    const oci_options oci = parsed("oci.username=me,oci.password=p=q,oci.tarindex=/i x,oci.zinfo=z,oci.insecure").oci;
    EXPECT_EQ(oci.username, "me");
    EXPECT_EQ(oci.password, "p=q");
    EXPECT_EQ(oci.tarindex, "/i x");
    EXPECT_EQ(oci.zinfo, "z");
    EXPECT_TRUE(oci.insecure);
    EXPECT_EQ(parsed("oci.password_file=/run/p").oci.password_file, "/run/p");
    for (const std::string_view name : {"oci.username", "oci.password"})
        EXPECT_EQ(refused(std::string(name) + "="), "option '" + std::string(name) + "': must not be empty");
    for (const std::string_view name : {"oci.password_file", "oci.tarindex", "oci.zinfo", "s3.passwd_file"})
        EXPECT_EQ(refused(std::string(name) + "="), "option '" + std::string(name) + "=': must not be empty");
    EXPECT_EQ(refused("oci.password_file=/p,oci.password=x"),
              "options 'oci.password' and 'oci.password_file': only one can be given");
}

TEST(mount_options, s3) {
    const s3_options s3 = parsed(
                              "s3.endpoint=https://s3.example.org:9000,s3.passwd_file=/"
                              "p,s3.region=eu-central-1,s3.sig=4,s3.urlstyle=path")
                              .s3;
    EXPECT_TRUE(s3.given);
    EXPECT_EQ(s3.endpoint, "https://s3.example.org:9000");
    EXPECT_EQ(s3.passwd_file, "/p");
    EXPECT_EQ(s3.region, "eu-central-1");
    EXPECT_EQ(s3.signature, s3_signature::v4);
    EXPECT_EQ(s3.url_style, s3_url_style::path);
    EXPECT_EQ(parsed("s3.sig=2").s3.signature, s3_signature::v2);
    EXPECT_EQ(parsed("s3.urlstyle=vhost").s3.url_style, s3_url_style::vhost);
    EXPECT_EQ(parsed("s3.endpoint=minio:9000").s3.endpoint, "minio:9000");
    EXPECT_EQ(refused("s3.sig=3"), "option 's3.sig=3': must be 2 or 4");
    EXPECT_EQ(refused("s3.urlstyle=host"), "option 's3.urlstyle=host': must be vhost or path");
    EXPECT_EQ(refused("s3.region=a b"), "option 's3.region=a b': must be the name of a region, as eu-central-1");
    EXPECT_EQ(refused("s3.endpoint="), "option 's3.endpoint': must be HOST, HOST:PORT or an http or https URL");
    EXPECT_EQ(refused("s3.endpoint=ftp://x"), "option 's3.endpoint': must be HOST, HOST:PORT or an http or https URL");
    EXPECT_EQ(refused("s3.sig=4,oci.layer=1"),
              "options 'oci.*' and 's3.*': a source is either in a registry or in an object store");
}

TEST(mount_options, a_duplicate_overrides_across_lists) {
    mount_options options;
    ASSERT_TRUE(add_mount_options(options, "nbd.timeout=5,nosuid,acl,oci.layer=1"));
    ASSERT_TRUE(add_mount_options(options, "nbd.timeout=7,suid,oci.layer=2"));
    ASSERT_TRUE(check_mount_options(options));
    EXPECT_EQ(options.nbd.timeout, 7s);
    EXPECT_EQ(options.flags, static_cast<unsigned long>(MS_RDONLY));
    EXPECT_EQ(options.oci.layer, 2u);
    EXPECT_EQ(options.data, "acl");
}

TEST(mount_options, an_unknown_option_of_ours_is_named_and_the_nearest_suggested) {
    EXPECT_EQ(refused("oci.insecureXYZ"), "option 'oci.insecureXYZ': not known; did you mean 'oci.insecure'?");
    EXPECT_EQ(refused("nbd.conections=2"), "option 'nbd.conections': not known; did you mean 'nbd.connections'?");
    EXPECT_EQ(refused("nbd.timeuot=2"), "option 'nbd.timeuot': not known; did you mean 'nbd.timeout'?");
    EXPECT_EQ(refused("s3.passwdfile=/x"), "option 's3.passwdfile': not known; did you mean 's3.passwd_file'?");
    EXPECT_EQ(refused("oci.whatever"), "option 'oci.whatever': not known");
    for (const std::string_view name : {"cache.whatever=/c", "source.x=1", "prefetch.somewhat=x"})
        EXPECT_TRUE(refused(name).ends_with(": not known")) << refused(name);
}

TEST(mount_options, how_remote_sources_are_fetched_and_kept) {
    const remote_options all = parsed(
                                   "cache.dir=/c/d,cache.size=20G,prefetch=all,prefetch.rate=10M,source.timeout=5,"
                                   "source.ca_file=/ca.pem,source.insecure")
                                   .remote;
    EXPECT_EQ(all.cache_directory, "/c/d");
    EXPECT_EQ(all.cache_bytes, 20ull << 30);
    EXPECT_EQ(all.ahead, prefetch::all);
    EXPECT_EQ(all.rate, 10ull << 20);
    EXPECT_EQ(all.timeout, 5s);
    EXPECT_EQ(all.ca_file, "/ca.pem");
    EXPECT_TRUE(all.insecure);
    EXPECT_FALSE(all.no_cache);
    EXPECT_TRUE(parsed("cache=none").remote.no_cache);
    EXPECT_EQ(parsed("cache.size=4096").remote.cache_bytes, 4096u);
    EXPECT_EQ(parsed("").remote, remote_options());
    EXPECT_EQ(refused("cache=some"), "option 'cache=some': must be none");
    EXPECT_EQ(refused("cache.dir=here"), "option 'cache.dir=here': must be an absolute path");
    for (const std::string_view wrong : {"", "0", "-1", "K", "5X", "5KM", "2000T", "18446744073709551615K", "1.5G"})
        EXPECT_EQ(refused("cache.size=" + std::string(wrong)),
                  "option 'cache.size=" + std::string(wrong) + "': must be a number of bytes, as 500M or 20G");
    EXPECT_EQ(refused("source.timeout=0"), "option 'source.timeout=0': must be 1 to 86400 seconds");
    EXPECT_EQ(refused("cache=none,cache.size=1G"),
              "options 'cache=none' and 'cache.*': without a cache there is nothing to set");
}

TEST(mount_options, quotes_hold_commas) {
    EXPECT_EQ(parsed("oci.password=\"a,b\",nosuid").oci.password, "a,b");
    EXPECT_EQ(parsed("oci.password=\"a,b\",nosuid").flags, static_cast<unsigned long>(MS_RDONLY | MS_NOSUID));
    EXPECT_EQ(parsed("oci.password=a\\,b").oci.password, "a,b");
    EXPECT_EQ(parsed("oci.password=\"a\\\"b\"").oci.password, "a\"b");
    EXPECT_EQ(parsed("oci.password=\"a=b,ro=1\"").oci.password, "a=b,ro=1");
    // Inside a value quotes protect commas too, as util-linux has it, but are part of the value.
    EXPECT_EQ(parsed("oci.password=x\"a,b\"").oci.password, "x\"a,b\"");
    EXPECT_EQ(parsed("oci.password=a\\b\\").oci.password, "a\\b\\");
    EXPECT_EQ(refused("oci.password=\"\""), "option 'oci.password': must not be empty");
    EXPECT_EQ(refused("oci.password=\"a,b"), "option 'oci.password': a quote is not closed");
    EXPECT_EQ(refused("ac\"l"), "option list: a quote is not closed");
    EXPECT_EQ(refused("=x"), "option list: '=' without a name before it");
    EXPECT_EQ(refused(std::string_view("a\0b", 3)), "option list: holds a NUL byte");
}

TEST(mount_options, a_secret_is_in_no_error) {
    const std::string secret = "hunter2";
    const std::vector<std::string> lists = {
        "oci.pasword=" + secret,
        "oci.passwordfile=" + secret,
        "oci.password=\"" + secret,
        "oci.password=" + secret + ",oci.layer=x",
        "oci.password=" + secret + ",oci.password_file=/p",
        "oci.password=" + secret + ",oci.insecure=1",
        "oci.password=" + secret + ",s3.sig=4",
        "oci.username=me:" + secret,
        "oci.insecure=" + secret,
        "s3.endpoint=https://ak:" + secret + "@host",
        "s3.secret=" + secret,
        "=" + secret,
    };
    for (const std::string& list : lists) {
        const std::string text = refused(list);
        EXPECT_NE(text, "accepted") << list;
        EXPECT_EQ(text.find(secret), std::string::npos) << text;
    }
    EXPECT_EQ(refused("oci.username=me:hunter2"),
              "option 'oci.username': must not hold a colon; the password is an option of its own");
    EXPECT_EQ(refused("s3.endpoint=https://ak:sk@host"),
              "option 's3.endpoint': must not hold credentials; they belong in s3.passwd_file");
}

TEST(mount_options, hostile_text_stays_on_one_line) {
    EXPECT_EQ(refused("nbd.\x1b[31m\n=1"), "option 'nbd.\\x1b[31m\\x0a': not known");
    EXPECT_EQ(refused("nbd.\xc2\x9b"), "option 'nbd.\\xc2\\x9b': not known");
    EXPECT_LT(refused("nbd." + std::string(100000, 'x')).size(), 250u);
}

}  // namespace
}  // namespace nerofs::cli
