#include "fetch/protocol/remote_source.h"

#include <cstring>

namespace nerofs::fetch {
namespace {

constexpr std::uint64_t most_proxies = 16;

}  // namespace

void encode(wire_writer& to, const remote_source& s) {
    to.put(s.kind).put(s.name).put(s.layer.has_value()).put(s.layer.value_or(0)).put(s.blob).put(s.platform);
    to.put(s.insecure).put(s.ca_file).put(s.timeout.count()).put(s.prefetch).put(s.background_rate);
    to.put(s.credential_kind).put(s.credential_place).put(s.credential_user);
}

void decode(wire_reader& from, remote_source& s) {
    s.kind = from.get<remote_kind>();
    s.name = from.text();
    const bool has_layer = from.get<bool>();
    const auto layer = from.get<std::uint32_t>();
    if (has_layer) s.layer = layer;
    s.blob = from.text();
    s.platform = from.text();
    s.insecure = from.get<bool>();
    s.ca_file = from.text();
    s.timeout = std::chrono::seconds(from.get<std::int64_t>());
    s.prefetch = from.get<prefetch_mode>();
    s.background_rate = from.get<std::uint64_t>();
    s.credential_kind = from.get<std::uint8_t>();
    s.credential_place = from.text();
    s.credential_user = from.text();
}

void encode(wire_writer& to, const remote_secrets& s) {
    to.put(s.username).put(s.password).put(s.identity_token).put(s.url).put(s.proxies.size());
    for (const std::string& p : s.proxies) to.put(p);
}

void decode(wire_reader& from, remote_secrets& s) {
    s.username = from.text();
    s.password = from.text();
    s.identity_token = from.text();
    s.url = from.text();
    const auto count = from.get<std::uint64_t>();
    for (std::uint64_t i = 0; from.ok() && i < count && i < most_proxies; ++i) s.proxies.push_back(from.text());
}

void encode(wire_writer& to, const remote_identity& i) {
    to.put(i.digest).put(i.size).put(i.etag).put(i.resolved).put(i.plain_http).put(i.key);
}

void decode(wire_reader& from, remote_identity& i) {
    i.digest = from.text();
    i.size = from.get<std::uint64_t>();
    i.etag = from.text();
    i.resolved = from.text();
    i.plain_http = from.get<bool>();
    i.key = from.text();
}

void encode(wire_writer& to, const fetch_statistics& s) {
    to.put(s.present_bytes).put(s.total_bytes).put(s.requests).put(s.fetched_bytes).put(s.retries).put(s.redirects);
    to.put(s.waiting_reads).put(s.in_flight).put(s.latency_us).put(s.bytes_per_second).put(s.verified);
    to.put(s.last_failure);
}

void decode(wire_reader& from, fetch_statistics& s) {
    for (std::uint64_t* number : {&s.present_bytes, &s.total_bytes, &s.requests, &s.fetched_bytes, &s.retries,
                                  &s.redirects, &s.waiting_reads, &s.in_flight, &s.latency_us, &s.bytes_per_second})
        *number = from.get<std::uint64_t>();
    s.verified = from.get<bool>();
    s.last_failure = from.text();
}

void wipe(remote_secrets& s) {
    const auto clear = [](std::string& text) {
        ::explicit_bzero(text.data(), text.size());
        text.clear();
    };
    for (std::string* text : {&s.username, &s.password, &s.identity_token, &s.url}) clear(*text);
    for (std::string& text : s.proxies) clear(text);
    s.proxies.clear();
}

}  // namespace nerofs::fetch
