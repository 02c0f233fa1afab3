// registry_reader [OPTION]... REFERENCE [COMMAND]: reads an image of a registry as nerofs does, for the tests.
//
//     (none)           prints what the name leads to, a line each: image, index, manifest, config, layer
//     copy N FILE      reads layer N in pieces, several at a time, into FILE, and checks the digest
//     blob DIGEST FILE the same with a blob whose size isn't known
//     again N SECONDS  reads layer N at random places for so long, and compares with what came first
//
//     --ca FILE, --insecure, --user NAME, --password-file FILE, --timeout SECONDS (20), --platform OS/ARCHITECTURE
//
// Credentials that aren't given are looked for as nerofs does. Exit status 1: "KIND: error" on stderr.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <future>
#include <random>
#include <string>
#include <vector>

#include "oci/credentials.h"
#include "oci/digest_check.h"
#include "oci/select_layer.h"
#include "registry/blob.h"
#include "registry/resolve.h"

namespace nerofs {
namespace {

struct wishes {
    http::client_options client;
    oci::given_credential given;
    oci::platform platform = oci::parse_platform("linux/amd64").value();
    std::chrono::seconds timeout{20};
    std::vector<std::string> words;
};

wishes read_arguments(int argc, char** argv) {
    wishes w;
    const auto usage = [] {
        std::fputs("usage: see the head of registry_reader.cpp\n", stderr);
        std::exit(2);
    };
    for (int i = 1; i < argc; ++i) {
        const std::string name = argv[i];
        const auto value = [&]() -> std::string {
            if (++i == argc) usage();
            return argv[i];
        };
        if (name == "--ca")
            w.client.ca_file = value();
        else if (name == "--insecure")
            w.client.allow_plain = true;
        else if (name == "--user")
            w.given.username = value();
        else if (name == "--password-file")
            w.given.password_file = value();
        else if (name == "--timeout")
            w.timeout = std::chrono::seconds(std::stoi(value()));
        else if (name == "--platform")
            w.platform = oci::parse_platform(value()).value();
        else if (name.starts_with("--"))
            usage();
        else
            w.words.push_back(name);
    }
    if (w.words.size() != 1 && w.words.size() != 4) usage();
    return w;
}

class reader {
  public:
    explicit reader(wishes w) : wishes_(std::move(w)) {}

    status run();

  private:
    registry::patience patience() const { return {std::chrono::steady_clock::now() + wishes_.timeout, {}}; }
    std::future<status> begin(source::range_source& s, std::uint64_t offset, std::uint64_t length, char* into) const;
    result<std::string> read_all(const registry::opened_blob& blob) const;
    status keep(const std::string& bytes, const oci::digest& name, const std::string& path) const;
    status again(const registry::opened_blob& blob, const std::string& bytes, std::chrono::seconds time) const;

    const wishes wishes_;
};

std::future<status> reader::begin(source::range_source& s, std::uint64_t offset, std::uint64_t length,
                                  char* into) const {
    const auto done = std::make_shared<std::promise<status>>();
    source::read_request what{.offset = offset, .length = length, .sink = {}, .deadline = patience().deadline};
    what.sink = [offset, into](std::uint64_t at, std::span<const std::byte> some) -> status {
        std::memcpy(into + (at - offset), some.data(), some.size());
        return {};
    };
    s.read(std::move(what), [done](source::read_result r) { done->set_value(std::move(r.how)); });
    return done->get_future();
}

result<std::string> reader::read_all(const registry::opened_blob& blob) const {
    constexpr std::uint64_t piece = 300'007;
    std::string bytes(blob.size, '\0');
    std::vector<std::future<status>> pieces;
    for (std::uint64_t at = 0; at < blob.size; at += piece)
        pieces.push_back(begin(*blob.source, at, std::min(piece, blob.size - at), bytes.data() + at));
    status all;
    for (auto& one : pieces)
        if (auto how = one.get(); !how) all = std::move(how);
    if (!all) return fail(std::move(all).error());
    return bytes;
}

status reader::keep(const std::string& bytes, const oci::digest& name, const std::string& path) const {
    NEROFS_CHECK(oci::check_digest(std::as_bytes(std::span(bytes.data(), bytes.size())), name, "blob"));
    std::ofstream file(path, std::ios::binary);
    if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())) || !file.flush()) return fail_errno(path);
    return {};
}

status reader::again(const registry::opened_blob& blob, const std::string& bytes, std::chrono::seconds time) const {
    const auto end = std::chrono::steady_clock::now() + time;
    std::minstd_rand random(1);
    std::size_t reads = 0;
    do {
        constexpr std::size_t at_once = 8;
        std::string into[at_once];
        std::uint64_t offsets[at_once];
        std::vector<std::future<status>> some;
        for (std::size_t i = 0; i < at_once; ++i) {
            offsets[i] = std::uniform_int_distribution<std::uint64_t>(0, bytes.size() - 1)(random);
            into[i].resize(std::min<std::size_t>(bytes.size() - offsets[i], 50'000));
            some.push_back(begin(*blob.source, offsets[i], into[i].size(), into[i].data()));
        }
        status all;
        for (std::size_t i = 0; i < at_once; ++i)
            if (auto how = some[i].get(); !how) all = std::move(how);
        NEROFS_CHECK(all);
        for (std::size_t i = 0; i < at_once; ++i)
            if (bytes.compare(offsets[i], into[i].size(), into[i]) != 0)
                return fail(error_kind::corrupt, "other bytes than before");
        reads += at_once;
    } while (std::chrono::steady_clock::now() < end);
    std::printf("%s reads\n", reads > 0 ? "all" : "no");
    return {};
}

status reader::run() {
    const std::vector<std::string>& words = wishes_.words;
    NEROFS_TRY(registry::session_options options, [&]() -> result<registry::session_options> {
        registry::session_options o;
        NEROFS_TRY(o.image, oci::parse_reference(words[0]));
        NEROFS_TRY(o.who, oci::find_credential(o.image, wishes_.given, *oci::system_world()));
        o.insecure = wishes_.client.allow_plain;
        return o;
    }());
    NEROFS_TRY(const auto client, http::client::make(wishes_.client));
    const auto session = registry::session::make(*client, std::move(options));
    const std::string command = words.size() > 1 ? words[1] : "";
    if (command == "blob") {
        NEROFS_TRY(const oci::digest name, oci::parse_digest(words.at(2)));
        NEROFS_TRY(const auto blob, registry::open_blob(session, name, std::nullopt, patience()));
        NEROFS_TRY(const std::string bytes, read_all(blob));
        return keep(bytes, name, words.at(3));
    }
    NEROFS_TRY(const registry::resolved_image found, registry::resolve(*session, wishes_.platform, patience()));
    if (command.empty()) {
        std::printf("image %s\n", to_string(found.image).c_str());
        if (found.index) std::printf("index %s\n", found.index->to_string().c_str());
        std::printf("manifest %s %s\n", found.digest.to_string().c_str(), found.manifest.media_type.c_str());
        if (found.manifest.config) std::printf("config %s\n", found.manifest.config->digest.to_string().c_str());
        for (std::size_t i = 0; i < found.manifest.layers.size(); ++i) {
            const oci::descriptor& layer = found.manifest.layers[i].blob;
            std::printf("layer %zu %s %llu %s\n", i, layer.digest.to_string().c_str(),
                        static_cast<unsigned long long>(layer.size), layer.media_type.c_str());
        }
        return {};
    }
    const oci::layer_choice choice{static_cast<std::uint32_t>(std::stoul(words.at(2))), {}};
    NEROFS_TRY(const std::size_t number, oci::select_layer(found.manifest, choice));
    const oci::descriptor& layer = found.manifest.layers[number].blob;
    NEROFS_TRY(const auto blob, registry::open_blob(session, layer.digest, layer.size, patience()));
    NEROFS_TRY(const std::string bytes, read_all(blob));
    if (command == "copy") return keep(bytes, layer.digest, words.at(3));
    return again(blob, bytes, std::chrono::seconds(std::stoi(words.at(3))));
}

}  // namespace
}  // namespace nerofs

int main(int argc, char** argv) {
    const nerofs::status how = nerofs::reader(nerofs::read_arguments(argc, argv)).run();
    if (how) return 0;
    const std::string kind(to_string(how.error().kind));
    std::fprintf(stderr, "%s: %s\n", kind.c_str(), how.error().message().c_str());
    return 1;
}
