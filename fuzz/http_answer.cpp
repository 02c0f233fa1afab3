// The verdict on heads of answers. The input is a line "STATUS FIRST LAST SIZE ETAG" (SIZE 0: unknown; ETAG -: unknown)
// and then header lines. Bytes may be used only if the range rule, written down here a second time, allows it.
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "http/answer.h"
#include "require.h"

namespace {

using namespace nerofs::http;
using namespace nerofs::fuzz;

void check_rule(const request& asked, int status, const fields& headers, const verdict& v) {
    require(status == 206);
    require(headers.count("Content-Range") == 1);
    const auto range = parse_content_range(*headers.find("Content-Range"));
    require(range && range->part && range->total);
    require(range->part->first == asked.range->first);
    require(range->part->last == asked.range->last || range->part->last + 1 == *range->total);
    require(range->part->last <= asked.range->last);
    require(!asked.known.size || *asked.known.size == *range->total);
    require(asked.known.etag.empty() ||
            (headers.count("ETag") == 1 && strong_etag(*headers.find("ETag")) == asked.known.etag));
    for (const std::string& encoding : headers.find_all("Content-Encoding"))
        require(encoding.empty() || equal_ignoring_case(encoding, "identity"));
    require(v.first == asked.range->first && v.length == range->part->last - range->part->first + 1);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
    std::string line;
    std::getline(lines, line);
    std::istringstream words(line);
    int status = 0;
    byte_range range;
    std::uint64_t known_size = 0;
    std::string etag;
    if (!(words >> status >> range.first >> range.last >> known_size >> etag)) return 0;
    if (range.first > range.last || range.last == UINT64_MAX) return 0;

    request asked;
    asked.target = parse_url("https://example.com/a/b?c").value();
    asked.range = range;
    if (known_size != 0) asked.known.size = known_size;
    if (etag != "-") asked.known.etag = etag;
    fields headers;
    while (std::getline(lines, line))
        if (auto f = parse_field_line(line)) headers.add(f->name, f->value);

    const std::chrono::system_clock::time_point now{std::chrono::seconds(784903526)};
    const verdict v = judge(asked, status, headers, now);
    require(v.refusal || v.accepted.location || v.use == body_use::bytes);
    if (v.use == body_use::bytes) check_rule(asked, status, headers, v);
    if (v.refusal) require(!v.refusal->why.text.empty());

    // The same as a whole answer.
    asked.range.reset();
    const verdict whole = judge(asked, status, headers, now);
    if (whole.use == body_use::bytes) require(status >= 200 && status < 300 && status != 206);
    return 0;
}
