// The origin as a program, for shell tests and benchmarks; see README.md for its options and commands.
#include <signal.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <iostream>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "support/origin/origin.h"

namespace {

using namespace nerofs::test;

[[noreturn]] void die(const std::string& why) {
    std::fprintf(stderr, "origin: %s\n", why.c_str());
    std::exit(2);
}

std::uint64_t number(std::string_view text, std::string_view what) {
    std::uint64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) die(std::string(what) + ": not a number");
    return value;
}

std::chrono::milliseconds milliseconds(std::string_view text, std::string_view what) {
    return std::chrono::milliseconds(number(text, what));
}

struct pair {
    std::string first;
    std::string second;
};

// "A=B" at the first '='.
pair split(const std::string& text, char at, std::string_view what) {
    const std::size_t found = text.find(at);
    if (found == std::string::npos) die(std::string(what) + ": '" + at + "' expected in " + text);
    return {text.substr(0, found), text.substr(found + 1)};
}

// What the command line says.
struct settings {
    origin_options options;
    origin_shape shape;
    origin_auth auth;
    origin_redirects redirects;
    bool referrers = false;
    std::vector<pair> files;   // path, file
    std::vector<pair> blobs;   // repository, file
    std::vector<pair> images;  // repository:tag, file
    std::string layer_type = "application/vnd.erofs";
    std::string diff_ids;  // of the images' configurations, as JSON without brackets
    std::vector<fault> faults;
    bool control = false;
    std::string log;
};

fault fault_from(const std::string& text) {
    const auto f = parse_fault(text);
    if (!f) die("unknown fault " + text);
    return *f;
}

settings parse(const std::vector<std::string>& arguments) {
    settings s;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& name = arguments[i];
        const auto value = [&]() -> const std::string& {
            if (++i == arguments.size()) die(name + " needs a value");
            return arguments[i];
        };
        if (name == "--port") {
            s.options.port = static_cast<std::uint16_t>(number(value(), name));
        } else if (name == "--seed") {
            s.options.seed = number(value(), name);
        } else if (name == "--max-connections") {
            s.options.most_connections = number(value(), name);
        } else if (name == "--file") {
            s.files.push_back(split(value(), '=', name));
        } else if (name == "--blob") {
            s.blobs.push_back(split(value(), '=', name));
        } else if (name == "--image") {
            s.images.push_back(split(value(), '=', name));
        } else if (name == "--layer-type") {
            s.layer_type = value();
        } else if (name == "--diff-id") {
            s.diff_ids += (s.diff_ids.empty() ? "\"" : ",\"") + value() + "\"";
        } else if (name == "--delay") {
            s.shape.delay = milliseconds(value(), name);
        } else if (name == "--accept-delay") {
            s.shape.accept_delay = milliseconds(value(), name);
        } else if (name == "--body-delay") {
            s.shape.body_delay = milliseconds(value(), name);
        } else if (name == "--bandwidth") {
            s.shape.connection_bytes_per_second = number(value(), name);
        } else if (name == "--total-bandwidth") {
            s.shape.total_bytes_per_second = number(value(), name);
        } else if (name == "--basic" || name == "--bearer-user") {
            const pair p = split(value(), ':', name);
            s.auth.scheme = name == "--basic" ? origin_auth::kind::basic : origin_auth::kind::bearer;
            s.auth.user = p.first;
            s.auth.password = p.second;
        } else if (name == "--bearer") {
            s.auth.scheme = origin_auth::kind::bearer;
        } else if (name == "--token-life") {
            s.auth.token_life = milliseconds(value(), name);
        } else if (name == "--referrers") {
            s.referrers = true;
        } else if (name == "--redirect") {
            s.redirects.on = true;
        } else if (name == "--redirect-path") {
            s.redirects.on = true;
            s.redirects.other_port = false;
        } else if (name == "--redirect-life") {
            s.redirects.life = milliseconds(value(), name);
        } else if (name == "--fault") {
            s.faults.push_back(fault_from(value()));
        } else if (name == "--log") {
            s.log = value();
        } else if (name == "--control") {
            s.control = true;
        } else {
            die("unknown argument " + name);
        }
    }
    return s;
}

std::vector<std::string> pieces_of(const std::string& text, char between) {
    std::vector<std::string> pieces;
    std::istringstream in(text);
    for (std::string piece; std::getline(in, piece, between);) pieces.push_back(piece);
    return pieces;
}

// What a layer is by its file's name, as the tools that push images say it.
std::string type_of(const std::string& file, const std::string& otherwise) {
    const std::string tar = "application/vnd.oci.image.layer.v1.tar";
    if (file.ends_with(".tar")) return tar;
    if (file.ends_with(".tar.gz")) return tar + "+gzip";
    if (file.ends_with(".tar.zst")) return tar + "+zstd";
    return otherwise;
}

// A manifest, as the tools that push images write it.
void add_image(origin& o, const pair& image, const settings& s) {
    const std::size_t colon = image.first.rfind(':');
    if (colon == std::string::npos) die("--image: REPOSITORY:TAG=FILE,... expected");
    const std::string repository = image.first.substr(0, colon);
    std::string layers;
    std::string digests;
    for (const std::string& file : pieces_of(image.second, ',')) {
        const content layer = content::of_file(file);
        const std::uint64_t size = layer.size();
        const std::string digest = o.add_blob(repository, layer);
        layers += std::string(layers.empty() ? "" : ",") + R"({"mediaType":")" + type_of(file, s.layer_type) +
                  R"(","digest":")" + digest + R"(","size":)" + std::to_string(size) + "}";
        digests += (digests.empty() ? "" : " ") + digest;
    }
    const std::string config =
        R"({"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[)" + s.diff_ids + "]}}";
    const std::string config_digest = o.add_blob(repository, config);
    const std::string manifest =
        R"({"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":)"
        R"("application/vnd.oci.image.config.v1+json","digest":")" +
        config_digest + R"(","size":)" + std::to_string(config.size()) + R"(},"layers":[)" + layers + "]}";
    const std::string manifest_digest = o.add_manifest(repository, image.first.substr(colon + 1),
                                                       "application/vnd.oci.image.manifest.v1+json", manifest);
    std::cout << "image " << image.first << " " << manifest_digest << " " << digests << "\n";
}

std::string line_of(const request_record& r) {
    std::ostringstream out;
    out << r.method << " " << (r.storage ? "storage" : "main") << " " << r.path << " ";
    if (r.range) {
        out << r.range->first << "-" << r.range->second;
    } else {
        out << "-";
    }
    out << " " << r.status << " " << r.body_bytes << " " << r.connection << "\n";
    return out.str();
}

// One line in, one line (or, for log, several and a dot) out.
bool obey(origin& o, const std::string& line) {
    const std::size_t blank = line.find(' ');
    const std::string command = line.substr(0, blank);
    const std::string argument = blank == std::string::npos ? "" : line.substr(blank + 1);
    if (command == "quit") return false;
    if (command == "away") {
        o.go_away(argument == "drop" ? origin::away::drop : origin::away::refuse);
    } else if (command == "back") {
        o.come_back();
    } else if (command == "fault") {
        o.add_fault(fault_from(argument));
    } else if (command == "no-faults") {
        o.clear_faults();
    } else if (command == "pass") {
        o.pass_time(milliseconds(argument, "pass"));
    } else if (command == "count") {
        std::cout << o.count(argument) << std::endl;
        return true;
    } else if (command == "bytes") {
        std::uint64_t sum = 0;
        for (const auto& r : o.log())
            if (r.path.find(argument) != std::string::npos) sum += r.body_bytes;
        std::cout << sum << std::endl;
        return true;
    } else if (command == "connections") {
        std::cout << o.connections() << std::endl;
        return true;
    } else if (command == "clear") {
        o.clear_log();
    } else if (command == "log") {
        for (const auto& r : o.log()) std::cout << line_of(r);
        std::cout << "." << std::endl;
        return true;
    } else {
        std::cout << "unknown command" << std::endl;
        return true;
    }
    std::cout << "ok" << std::endl;
    return true;
}

int run(const settings& s) {
    // Before there are threads: they inherit the mask.
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    pthread_sigmask(SIG_BLOCK, &ends, nullptr);

    std::ofstream log_file;
    if (!s.log.empty()) log_file.open(s.log, std::ios::app);
    std::mutex log_mutex;
    origin o(s.options);
    o.set_shape(s.shape);
    o.set_auth(s.auth);
    o.set_redirects(s.redirects);
    o.set_referrers(s.referrers);
    for (const pair& f : s.files) o.add_file(f.first, content::of_file(f.second));
    for (const pair& b : s.blobs)
        std::cout << "blob " << b.first << " " << o.add_blob(b.first, content::of_file(b.second)) << "\n";
    for (const pair& i : s.images) add_image(o, i, s);
    for (const fault& f : s.faults) o.add_fault(f);
    if (log_file.is_open())
        o.on_request([&](const request_record& r) {
            const std::lock_guard lock(log_mutex);
            log_file << line_of(r) << std::flush;
        });
    std::cout << "storage " << o.storage_port() << "\n"
              << "port " << o.port() << std::endl;

    if (s.control) {
        std::string line;
        while (std::getline(std::cin, line) && obey(o, line)) {
        }
    } else {
        int which = 0;
        sigwait(&ends, &which);
    }
    o.on_request({});
    return 0;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        return run(parse(std::vector<std::string>(argv + 1, argv + argc)));
    } catch (const std::exception& e) {
        die(e.what());
    }
}
