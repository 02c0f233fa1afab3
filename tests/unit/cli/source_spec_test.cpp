#include "cli/source_spec.h"

#include <gtest/gtest.h>

#include <string>

#include "cli/exit_code.h"

namespace nerofs::cli {
namespace {

const std::string hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

mount_options with(std::string_view list) {
    const auto options = parse_mount_options(list);
    EXPECT_TRUE(options) << options.error().message();
    return *options;
}

template <class T>
T classified(std::string_view source, std::string_view list = "", local_entry found = local_entry::none) {
    const auto spec = classify_source(source, with(list), found);
    EXPECT_TRUE(spec) << spec.error().message();
    if (!spec || !std::holds_alternative<T>(*spec)) {
        ADD_FAILURE() << "another kind than expected: " << source;
        return T{};
    }
    return std::get<T>(*spec);
}

std::string refused(std::string_view source, std::string_view list = "", local_entry found = local_entry::none) {
    const auto spec = classify_source(source, with(list), found);
    return spec ? "accepted as " + describe(*spec, with(list)) : spec.error().message();
}

std::string answer(std::string_view source, std::string_view list = "") {
    const mount_options options = with(list);
    const auto spec = classify_source(source, options, local_entry::none);
    EXPECT_TRUE(spec) << spec.error().message();
    const error e = not_supported_yet(*spec, options);
    EXPECT_EQ(e.kind, error_kind::unsupported);
    EXPECT_EQ(to_exit_code(e), exit_bit::mount_failed);
    EXPECT_EQ(e.hint, "this version mounts files, block devices, http and https URLs, and images in registries");
    return e.text;
}

TEST(source_spec, a_local_file_or_device) {
    EXPECT_EQ(classified<local_source>("a.erofs", "", local_entry::file), (local_source{"a.erofs", false}));
    EXPECT_EQ(classified<local_source>("/dev/sda", "loop", local_entry::block_device),
              (local_source{"/dev/sda", true}));
    EXPECT_EQ(describe(local_source{"a b", false}, {}), "file 'a b'");
    EXPECT_EQ(describe(local_source{"/dev/sda", true}, {}), "device '/dev/sda'");
}

TEST(source_spec, a_local_file_wins_over_a_scheme_but_not_over_options) {
    EXPECT_EQ(classified<local_source>("docker://x", "", local_entry::file).path, "docker://x");
    EXPECT_EQ(classified<oci_source>("x", "oci.layer=0", local_entry::file).repository, "library/x");
    EXPECT_EQ(classified<s3_source>("b/k", "s3.sig=4", local_entry::file), (s3_source{"b", "k"}));
}

TEST(source_spec, what_is_not_there_is_said) {
    const auto spec = classify_source("/no/image", {}, local_entry::none);
    ASSERT_FALSE(spec);
    EXPECT_EQ(spec.error().kind, error_kind::not_found);
    EXPECT_EQ(spec.error().message(), "image '/no/image': no such file or device");
    EXPECT_EQ(refused("debian:12"),
              "image 'debian:12': no such file or device; an image in a registry is named docker://debian:12");
    EXPECT_EQ(refused("./Image"), "image './Image': no such file or device");
    EXPECT_EQ(refused("/etc", "", local_entry::other), "image '/etc': is neither a regular file nor a block device");
}

TEST(source_spec, registry_images) {
    EXPECT_EQ(classified<oci_source>("docker://debian"), (oci_source{"docker.io", "library/debian", "latest", ""}));
    EXPECT_EQ(classified<oci_source>("oci://me/app:1.2"), (oci_source{"docker.io", "me/app", "1.2", ""}));
    EXPECT_EQ(classified<oci_source>("DOCKER://ghcr.io/a/b/c:T"), (oci_source{"ghcr.io", "a/b/c", "T", ""}));
    EXPECT_EQ(classified<oci_source>("localhost:5000/x", "oci.insecure"),
              (oci_source{"localhost:5000", "x", "latest", ""}));
    EXPECT_EQ(classified<oci_source>("docker://[::1]:5000/x"), (oci_source{"[::1]:5000", "x", "latest", ""}));
    EXPECT_EQ(classified<oci_source>("docker://index.docker.io/x"),
              (oci_source{"docker.io", "library/x", "latest", ""}));
    EXPECT_EQ(classified<oci_source>("x@sha256:" + hex64, "oci.layer=0"),
              (oci_source{"docker.io", "library/x", "", "sha256:" + hex64}));
    EXPECT_EQ(classified<oci_source>("r.io/x:t@sha256:" + hex64, "oci.layer=0"),
              (oci_source{"r.io", "x", "t", "sha256:" + hex64}));
}

TEST(source_spec, malformed_registry_images) {
    const std::string hint = "; an image is [REGISTRY/]NAME[:TAG][@sha256:HEX]";
    EXPECT_EQ(refused("docker://"), "image '': there is no name" + hint);
    EXPECT_EQ(refused("docker://r.io/"), "image 'r.io/': there is no name" + hint);
    EXPECT_EQ(refused("docker://Debian"), "image 'Debian': the name must be in lower-case letters" + hint);
    EXPECT_EQ(refused("docker://a:"), "image 'a:': there is no tag behind the colon" + hint);
    EXPECT_EQ(refused("docker://r.io:0/a"), "image 'r.io:0/a': the registry is not HOST or HOST:PORT" + hint);
    EXPECT_EQ(refused("x@sha256:", "oci.layer=0"),
              "image 'x@sha256:': the digest is not sha256: and 64 hex digits" + hint);
    EXPECT_EQ(refused("docker://me:hunter2@r.io/a"), "image: '@' must be followed by sha256: and 64 hex digits");
}

TEST(source_spec, objects) {
    EXPECT_EQ(classified<s3_source>("s3://bucket/dir/key x"), (s3_source{"bucket", "dir/key x"}));
    EXPECT_EQ(classified<s3_source>("s3://bucket/key", "s3.sig=4"), (s3_source{"bucket", "key"}));
    for (const std::string bad : {"", "bucket", "bucket/", "/key", "b?/key"})
        EXPECT_EQ(refused(bad, "s3.sig=4"), "object '" + bad + "': must be BUCKET/KEY");
}

TEST(source_spec, urls) {
    EXPECT_EQ(classified<url_source>("https://h.example:8443/a.erofs").url, "https://h.example:8443/a.erofs");
    EXPECT_EQ(classified<url_source>("HTTP://[::1]/a?b").url, "HTTP://[::1]/a?b");
    EXPECT_EQ(refused("https://"), "URL 'https://': needs a host, as https://HOST[:PORT]/PATH");
    EXPECT_EQ(refused("http:///x"), "URL 'http:///x': needs a host, as https://HOST[:PORT]/PATH");
    EXPECT_EQ(refused("http://h/a b"),
              "URL 'http://h/a b': holds a space or a control character; a space in a URL is %20");
    EXPECT_EQ(refused("ftp://h/a"),
              "source 'ftp://h/a': the scheme 'ftp' is not known; the schemes are docker, oci, s3, http and https");
}

TEST(source_spec, options_and_scheme_must_agree) {
    EXPECT_EQ(refused("https://h/a", "oci.layer=0"), "source 'https://h/a': is not what the oci.* options are for");
    EXPECT_EQ(refused("docker://a", "s3.sig=4"), "source 'docker://a': is not what the s3.* options are for");
    for (const std::string_view source : {"docker://a", "s3://b/k", "https://h/a"})
        EXPECT_EQ(refused(source, "loop"), "option 'loop': only a local image can be on a loop device");
}

TEST(source_spec, what_was_understood_is_in_the_answer) {
    EXPECT_EQ(answer("docker://debian"), "registry image 'docker.io/library/debian:latest': not supported yet");
    EXPECT_EQ(answer("r.io/a:1", "oci.layer=0,oci.platform=linux/arm64/v8"),
              "registry image 'r.io/a:1' (layer 0, platform linux/arm64/v8): not supported yet");
    EXPECT_EQ(answer("r.io/a", "oci.blob=" + hex64 + ",oci.platform=linux/amd64"),
              "registry image 'r.io/a:latest' (blob sha256:" + hex64 + ", platform linux/amd64): not supported yet");
    EXPECT_EQ(answer("b/k", "s3.endpoint=http://minio:9000"), "object 'b/k' at 'http://minio:9000': not supported yet");
    EXPECT_EQ(answer("s3://b/k"), "object 'b/k': not supported yet");
    EXPECT_EQ(answer("https://h/a.erofs"), "URL 'https://h/a.erofs': not supported yet");
}

TEST(source_spec, secrets_are_in_no_text) {
    EXPECT_EQ(answer("https://me:hunter2@h:1/a?X-Amz-Signature=hunter2#hunter2"),
              "URL 'https://h:1/a?...': not supported yet");
    EXPECT_EQ(refused("ftp://me:hunter2@h/a").find("hunter2"), std::string::npos);
    EXPECT_EQ(refused("https://me:hunter2@/a").find("hunter2"), std::string::npos);
    EXPECT_EQ(refused("https://me:hunter2@h/a", "oci.layer=0").find("hunter2"), std::string::npos);
    EXPECT_EQ(answer("a", "oci.username=hunter2,oci.password=hunter2").find("hunter2"), std::string::npos);
}

TEST(split_source, finds_the_path) {
    const auto split = [](std::string_view text) {
        const auto found = split_source(text, [](const std::string& path) {
            return path == "image" || path == "with:colon" || path == "both" || path == "both:x";
        });
        return found.source + " " + found.path;
    };
    EXPECT_EQ(split("image"), "image /");
    EXPECT_EQ(split("image:"), "image /");
    EXPECT_EQ(split("image:/etc"), "image /etc");
    EXPECT_EQ(split("image:etc/a:b"), "image etc/a:b");
    EXPECT_EQ(split("with:colon"), "with:colon /");
    EXPECT_EQ(split("with:colon:/x"), "with:colon /x");
    EXPECT_EQ(split("both:x"), "both:x /");
    EXPECT_EQ(split("both:x:y"), "both x:y");
    EXPECT_EQ(split("missing:etc"), "missing:etc /");
    EXPECT_EQ(split("docker://host:5000/name:tag"), "docker://host:5000/name:tag /");
    EXPECT_EQ(split("docker://host:5000/name:tag:/etc/passwd"), "docker://host:5000/name:tag /etc/passwd");
    EXPECT_EQ(split("https://host/image.erofs:/a:/b"), "https://host/image.erofs:/a /b");
}

TEST(exit_code, follows_mount) {
    EXPECT_EQ(to_exit_code(make_error(error_kind::usage, "x")), 1);
    EXPECT_EQ(to_exit_code(errno_error(EPERM, "mount")), 1);
    EXPECT_EQ(to_exit_code(errno_error(ENOMEM, "fork")), 2);
    EXPECT_EQ(to_exit_code(errno_error(EMFILE, "open")), 2);
    EXPECT_EQ(to_exit_code(errno_error(EAGAIN, "fork")), 2);
    EXPECT_EQ(to_exit_code(errno_error(EINTR, "wait")), 8);
    EXPECT_EQ(to_exit_code(make_error(error_kind::cancelled, "x")), 8);
    EXPECT_EQ(to_exit_code(errno_error(EINVAL, "mount")), 32) << "the kernel's EINVAL is no wrong command line";
    for (const error_kind kind : {error_kind::permanent, error_kind::retryable, error_kind::not_found, error_kind::auth,
                                  error_kind::corrupt, error_kind::timeout, error_kind::unsupported})
        EXPECT_EQ(to_exit_code(make_error(kind, "x")), 32) << to_string(kind);
    EXPECT_EQ(exit_bit::internal, 4);
    EXPECT_EQ(exit_bit::mtab, 16);
    EXPECT_EQ(exit_bit::some_succeeded, 64);
}

}  // namespace
}  // namespace nerofs::cli
