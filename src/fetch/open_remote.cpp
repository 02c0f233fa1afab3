#include "fetch/open_remote.h"

#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <optional>

#include "http/url.h"

namespace nerofs::fetch {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t probed_bytes = 16 * 1024;

result<source::blob_facts> probe(source::range_source& from, http::time_point until) {
    std::mutex mutex;
    std::condition_variable answered;
    std::optional<result<source::blob_facts>> answer;
    from.probe(probed_bytes, until, [&](result<source::blob_facts> facts) {
        const std::lock_guard lock(mutex);
        answer = std::move(facts);
        answered.notify_one();
    });
    std::unique_lock lock(mutex);
    answered.wait(lock, [&] { return answer.has_value(); });
    return std::move(*answer);
}

result<opened_remote> open_url(http::client& client, const open_request& request) {
    const std::string& text = request.secrets.url.empty() ? request.source.name : request.secrets.url;
    NEROFS_TRY(const http::url url, http::parse_url(text));
    source::range_source_options options;
    opened_remote opened;
    opened.bytes = std::make_unique<source::range_source>(client, url, nullptr, options);
    if (request.known) {
        opened.identity = *request.known;
        opened.bytes->set_known({opened.identity.size, opened.identity.etag});
        return opened;
    }
    NEROFS_TRY(const source::blob_facts facts,
               probe(*opened.bytes, std::chrono::steady_clock::now() + request.source.timeout));
    if (!facts.ranges)
        return fail(make_error(error_kind::unsupported, "the server gives no parts of it (no HTTP range requests)")
                        .with_hint("download it, and mount the file"));
    if (facts.size == 0) return fail(error_kind::corrupt, "it is empty");
    opened.identity.size = facts.size;
    opened.identity.etag = facts.etag;
    return opened;
}

}  // namespace

http::client_options client_options_for(const open_request& request) {
    for (const std::string& setting : request.secrets.proxies) {
        const auto equals = setting.find('=');
        if (equals != std::string::npos)
            ::setenv(setting.substr(0, equals).c_str(), setting.substr(equals + 1).c_str(), 1);
    }
    http::client_options options;
    options.allow_plain = request.source.insecure;
    options.ca_file = request.source.ca_file;
    return options;
}

result<opened_remote> open_remote(http::client& client, const open_request& request) {
    switch (request.source.kind) {
        case remote_kind::url:
            return open_url(client, request);
        case remote_kind::registry:
        case remote_kind::none:
            break;
    }
    return fail(error_kind::unsupported, "this kind of source is not supported yet");
}

}  // namespace nerofs::fetch
