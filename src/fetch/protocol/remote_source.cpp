#include "fetch/protocol/remote_source.h"

#include <algorithm>
#include <cstring>
#include <numeric>

namespace nerofs::fetch {
namespace {

constexpr std::uint64_t most_proxies = 16;

}  // namespace

void encode(wire_writer& to, const remote_source& s) {
    to.put(s.kind).put(s.name).put(s.layer.has_value()).put(s.layer.value_or(0)).put(s.blob).put(s.platform);
    to.put(s.tarindex).put(s.zinfo);
    to.put(s.insecure).put(s.ca_file).put(s.timeout.count()).put(s.prefetch).put(s.background_rate).put(s.push_indexes);
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
    s.tarindex = from.text();
    s.zinfo = from.text();
    s.insecure = from.get<bool>();
    s.ca_file = from.text();
    s.timeout = std::chrono::seconds(from.get<std::int64_t>());
    s.prefetch = from.get<prefetch_mode>();
    s.background_rate = from.get<std::uint64_t>();
    s.push_indexes = from.get<bool>();
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

std::uint64_t remote_identity::bytes() const {
    return std::accumulate(parts.begin(), parts.end(), std::uint64_t{0},
                           [](std::uint64_t sum, const remote_part& p) { return sum + p.size; });
}

std::uint64_t remote_identity::offset_of(std::size_t n) const {
    if (parts.size() == 1) return n == 0 ? 0 : parts.front().size;
    std::uint64_t offset = 0;
    for (std::size_t i = 0; i < n; ++i)
        offset += (parts[i].size + part_block_bytes - 1) / part_block_bytes * part_block_bytes;
    return offset;
}

bool remote_identity::has_digests() const {
    return std::all_of(parts.begin(), parts.end(), [](const remote_part& p) { return !p.digest.empty(); });
}

void encode(wire_writer& to, const remote_identity& i) {
    to.put(i.parts.size());
    for (const remote_part& p : i.parts)
        to.put(p.kind).put(p.key).put(p.digest).put(p.size).put(p.layer).put(p.layer_size).put(p.index);
    to.put(i.etag).put(i.resolved).put(i.plain_http);
}

void decode(wire_reader& from, remote_identity& i) {
    const auto count = from.get<std::uint64_t>();
    for (std::uint64_t n = 0; from.ok() && n < count && n < most_parts; ++n) {
        remote_part& p = i.parts.emplace_back();
        p.kind = from.get<part_kind>();
        p.key = from.text();
        p.digest = from.text();
        p.size = from.get<std::uint64_t>();
        p.layer = from.text();
        p.layer_size = from.get<std::uint64_t>();
        p.index = from.text();
    }
    i.etag = from.text();
    i.resolved = from.text();
    i.plain_http = from.get<bool>();
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
