#include "http/transfer.h"

#include <curl/curl.h>
#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace nerofs::http {
namespace {

constexpr std::size_t most_head_bytes = 128 * 1024;  // of all heads of one answer, 1xx included
constexpr std::size_t most_fields = 256;
constexpr std::uint64_t most_discarded_bytes = 16 * 1024;  // more isn't worth a connection
constexpr std::size_t kept_error_bytes = 4096;
constexpr long receive_bytes = 128 * 1024;

std::size_t header_callback(char* data, std::size_t size, std::size_t count, void* self) {
    return static_cast<transfer*>(self)->on_header(std::string_view(data, size * count));
}

std::size_t body_callback(char* data, std::size_t size, std::size_t count, void* self) {
    return static_cast<transfer*>(self)->on_body(std::as_bytes(std::span(data, size * count)));
}

int sent_callback(void* self, char*, char*, int, int) {
    static_cast<transfer*>(self)->on_sent();
    return CURL_PREREQFUNC_OK;
}

bool sendable(const fields& headers) {
    return std::all_of(headers.all().begin(), headers.all().end(), [](const field& f) {
        const auto clean = [](char c) { return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f; };
        return parse_field_line(f.name + ":").has_value() && std::all_of(f.value.begin(), f.value.end(), clean);
    });
}

error_kind kind_of(CURLcode code) {
    switch (code) {
        case CURLE_URL_MALFORMAT:
            return error_kind::usage;
        case CURLE_UNSUPPORTED_PROTOCOL:
            return error_kind::corrupt;  // here: an answer that isn't HTTP
        case CURLE_WEIRD_SERVER_REPLY:
        case CURLE_BAD_CONTENT_ENCODING:
            return error_kind::corrupt;
        case CURLE_PEER_FAILED_VERIFICATION:
        case CURLE_SSL_CACERT_BADFILE:
        case CURLE_SSL_CERTPROBLEM:
        case CURLE_SSL_CIPHER:
        case CURLE_SSL_ISSUER_ERROR:
        case CURLE_SSL_CRL_BADFILE:
        case CURLE_NOT_BUILT_IN:
        case CURLE_UNKNOWN_OPTION:
        case CURLE_BAD_FUNCTION_ARGUMENT:
            return error_kind::permanent;
        default:
            return error_kind::retryable;
    }
}

std::string printable(std::string_view text) {
    std::string out(text.substr(0, 200));
    std::replace_if(
        out.begin(), out.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }, '?');
    return out;
}

}  // namespace

transfer::transfer(client::id id, request what, completion done)
    : id_(id), asked_(std::move(what)), done_(std::move(done)), created_(std::chrono::steady_clock::now()) {}

transfer::~transfer() {
    if (easy_) curl_easy_cleanup(easy_);
    curl_slist_free_all(static_cast<curl_slist*>(header_list_));
}

failure transfer::make_failure(error_kind kind, failure_cause cause, std::string_view why) const {
    failure f;
    f.why = make_error(kind, std::string(why));
    f.cause = cause;
    return told(std::move(f));
}

// Adds what every failure of this transfer says.
failure transfer::told(failure f) const {
    f.why.text = fmt::format("{} {}: {}", name_of(asked_.verb), asked_.target.printable(), f.why.text);
    f.delivered = delivered_;
    f.timing = measure();
    return f;
}

std::optional<failure> transfer::objection(const client_options& options) const {
    const auto usage = [&](std::string_view why) {
        return make_failure(error_kind::usage, failure_cause::caller, why);
    };
    if (!asked_.target.secure && !options.allow_plain && !is_loopback(asked_.target)) {
        failure f = usage("plain http, which anyone on the way can read and change, is not allowed");
        f.why.hint = "use https, or allow it explicitly";
        return f;
    }
    if (!sendable(asked_.headers) || !sendable(asked_.secrets)) return usage("a header has bytes that can't be sent");
    if (asked_.range && (asked_.range->first > asked_.range->last || asked_.range->last == UINT64_MAX))
        return usage("the range is empty");
    return std::nullopt;
}

bool transfer::open(const client_options& options, time_point now) {
    opened_ = now;
    window_start_ = now;
    easy_ = curl_easy_init();
    return easy_ && set_options(options);
}

bool transfer::set_options(const client_options& options) {
    bool ok = true;
    const auto set = [&](CURLoption option, auto value) {
        ok = curl_easy_setopt(easy_, option, value) == CURLE_OK && ok;
    };
    set(CURLOPT_URL, asked_.target.text().c_str());
    set(CURLOPT_PATH_AS_IS, 1L);
    set(CURLOPT_PROTOCOLS_STR, "http,https");
    set(CURLOPT_FOLLOWLOCATION, 0L);
    set(CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
    set(CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
    if (!options.ca_file.empty()) set(CURLOPT_CAINFO, options.ca_file.c_str());
    if (!options.ca_directory.empty()) set(CURLOPT_CAPATH, options.ca_directory.c_str());
    // Without a directory named, the file (the given one, or the system's) is all there is to trust. With the system's
    // directory beside it libcurl would read all of the file for each connection, which takes longer than the
    // handshake; so it does that once for all.
    const char* file = nullptr;
    curl_easy_getinfo(easy_, CURLINFO_CAINFO, &file);
    if (options.ca_directory.empty() && file) set(CURLOPT_CAPATH, static_cast<const char*>(nullptr));
    if (!options.verify) {
        set(CURLOPT_SSL_VERIFYPEER, 0L);
        set(CURLOPT_SSL_VERIFYHOST, 0L);
    }
    // A proxy's idea of "this machine" would be another machine.
    if (!options.proxies_from_environment || is_loopback(asked_.target)) set(CURLOPT_NOPROXY, "*");
    set(CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    set(CURLOPT_USERAGENT, options.user_agent.c_str());
    set(CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(options.connect_timeout.count()));
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_TCP_KEEPALIVE, 1L);
    set(CURLOPT_BUFFERSIZE, receive_bytes);
    // Otherwise taking a handle off whose name is being resolved waits for getaddrinfo, and all transfers with it.
    set(CURLOPT_QUICK_EXIT, 1L);
    // Nothing is asked for, so nothing may be decoded.
    set(CURLOPT_HTTP_CONTENT_DECODING, 0L);
    set(CURLOPT_ERRORBUFFER, error_text_.data());
    set(CURLOPT_HEADERFUNCTION, &header_callback);
    set(CURLOPT_HEADERDATA, static_cast<void*>(this));
    set(CURLOPT_WRITEFUNCTION, &body_callback);
    set(CURLOPT_WRITEDATA, static_cast<void*>(this));
    set(CURLOPT_PREREQFUNCTION, &sent_callback);
    set(CURLOPT_PREREQDATA, static_cast<void*>(this));
    set(CURLOPT_PRIVATE, static_cast<void*>(this));
    if (asked_.verb == method::head) set(CURLOPT_NOBODY, 1L);
    if (asked_.verb == method::put) {
        static const std::string nothing;
        const std::string& body = asked_.body ? *asked_.body : nothing;
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body.size()));
        set(CURLOPT_POSTFIELDS, body.c_str());
        set(CURLOPT_CUSTOMREQUEST, "PUT");
    }
    if (asked_.verb == method::post) {
        set(CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(asked_.form.size()));
        set(CURLOPT_POSTFIELDS, asked_.form.c_str());
    }

    auto* list = static_cast<curl_slist*>(nullptr);
    const auto add = [&](const std::string& line) {
        curl_slist* longer = curl_slist_append(list, line.c_str());
        ok = longer && ok;
        if (longer) list = longer;
    };
    // "Name;" is how libcurl is told of a header without a value.
    for (const fields* some : {&asked_.headers, &asked_.secrets})
        for (const field& f : some->all()) add(f.value.empty() ? f.name + ";" : f.name + ": " + f.value);
    if (asked_.range) add(fmt::format("Range: bytes={}-{}", asked_.range->first, asked_.range->last));
    if (asked_.verb == method::post || asked_.verb == method::put) add("Expect:");
    header_list_ = list;
    if (list) set(CURLOPT_HTTPHEADER, list);
    return ok;
}

time_point transfer::due() const {
    if (!is_open()) return asked_.deadline;
    const auto within = asked_.progress.within;
    return within >= std::chrono::hours(24) ? asked_.deadline : std::min(asked_.deadline, window_start_ + within);
}

std::optional<failure> transfer::check(time_point now) {
    if (now >= asked_.deadline)
        return make_failure(error_kind::timeout, failure_cause::caller,
                            is_open() ? "not finished in time" : "no connection was free in time");
    if (!is_open() || now < window_start_ + asked_.progress.within) return std::nullopt;
    if (asked_.verb == method::put) {
        curl_off_t taken = 0;
        curl_easy_getinfo(easy_, CURLINFO_SIZE_UPLOAD_T, &taken);
        window_bytes_ += static_cast<std::uint64_t>(taken) - uploaded_;
        uploaded_ = static_cast<std::uint64_t>(taken);
    }
    // Until the request is sent libcurl's own time limit for connections counts.
    if (sent_ && window_bytes_ < asked_.progress.bytes)
        return make_failure(error_kind::retryable, verdict_ ? failure_cause::short_body : failure_cause::transport,
                            fmt::format("stalled: {} bytes in {} ms", window_bytes_, asked_.progress.within.count()));
    window_start_ = now;
    window_bytes_ = 0;
    return std::nullopt;
}

void transfer::on_sent() {
    sent_ = true;
    window_start_ = std::chrono::steady_clock::now();
    window_bytes_ = 0;
}

std::size_t transfer::on_header(std::string_view line) {
    constexpr std::size_t abort = 0;
    window_bytes_ += line.size();
    head_bytes_ += line.size();
    if (head_bytes_ > most_head_bytes) {
        verdict_.emplace();
        verdict_->refusal =
            make_failure(error_kind::corrupt, failure_cause::refused, "the head of the answer is too large");
        return abort;
    }
    if (verdict_) return line.size();  // trailers say nothing that we use
    if (line.starts_with("HTTP/")) {
        fields_.clear();
        malformed_ = false;
    } else if (line == "\r\n" || line == "\n") {
        return judge_head() ? line.size() : abort;
    } else if (line.front() == ' ' || line.front() == '\t' || fields_.all().size() >= most_fields) {
        malformed_ = true;  // a folded line changes the meaning of the one before
    } else if (auto f = parse_field_line(line)) {
        fields_.add(f->name, f->value);
    }
    return line.size();
}

// False: the body must not be read.
bool transfer::judge_head() {
    long code = 0;
    curl_easy_getinfo(easy_, CURLINFO_RESPONSE_CODE, &code);
    if (code >= 100 && code < 200 && code != 101) return true;  // the real one is still to come
    verdict_ = judge(asked_, static_cast<int>(code), fields_, std::chrono::system_clock::now());
    if (malformed_) {
        verdict_->refusal =
            make_failure(error_kind::corrupt, failure_cause::refused, "the head of the answer is malformed");
        verdict_->use = body_use::none;
    } else if (verdict_->refusal) {
        verdict_->refusal = told(std::move(*verdict_->refusal));
    }
    if (asked_.verb == method::head) return true;
    if (verdict_->use != body_use::discard) return !verdict_->refusal;
    const std::string* length = fields_.find("Content-Length");
    const auto bytes = length ? parse_number(*length) : std::nullopt;
    return !bytes || *bytes <= most_discarded_bytes;
}

std::size_t transfer::on_body(std::span<const std::byte> bytes) {
    const std::size_t abort = bytes.empty() ? 1 : 0;
    window_bytes_ += bytes.size();
    if (!verdict_) return abort;
    const auto text = std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    if (verdict_->use == body_use::discard) {
        discarded_ += bytes.size();
        if (verdict_->refusal) {
            std::string& kept = verdict_->refusal->body;
            kept += text.substr(0, std::min(text.size(), kept_error_bytes - kept.size()));
        }
        return discarded_ <= most_discarded_bytes ? bytes.size() : abort;
    }
    if (verdict_->use == body_use::none || verdict_->refusal) return abort;
    if (verdict_->length && bytes.size() > *verdict_->length - received_) {
        verdict_->refusal = make_failure(error_kind::corrupt, failure_cause::refused,
                                         fmt::format("the body is longer than its {} bytes", *verdict_->length));
        return abort;
    }
    if (!asked_.sink) {
        if (bytes.size() > asked_.most_body_bytes - body_.size()) {
            verdict_->refusal = make_failure(error_kind::corrupt, failure_cause::refused,
                                             fmt::format("the answer is larger than {} bytes", asked_.most_body_bytes));
            return abort;
        }
        body_ += text;
    } else {
        if (unflushed_.size() + bytes.size() > receive_bytes && !flush()) return abort;
        unflushed_.reserve(receive_bytes);
        unflushed_.insert(unflushed_.end(), bytes.begin(), bytes.end());
    }
    received_ += bytes.size();
    return bytes.size();
}

bool transfer::flush() {
    if (unflushed_.empty()) return true;
    const status taken = asked_.sink(verdict_->first + delivered_, unflushed_);
    if (taken)
        delivered_ += unflushed_.size();
    else
        sink_error_ = taken.error();
    unflushed_.clear();
    return taken.has_value();
}

timing transfer::measure() const {
    timing t;
    if (!is_open()) return t;
    const auto get = [&](CURLINFO what) {
        curl_off_t value = 0;
        curl_easy_getinfo(easy_, what, &value);
        return std::chrono::microseconds(value);
    };
    t.waited = std::chrono::duration_cast<std::chrono::microseconds>(opened_ - created_);
    t.first_byte = get(CURLINFO_STARTTRANSFER_TIME_T);
    t.total = get(CURLINFO_TOTAL_TIME_T);
    long connects = 0;
    curl_easy_getinfo(easy_, CURLINFO_NUM_CONNECTS, &connects);
    t.fresh_connection = connects > 0;
    return t;
}

std::string transfer::words_of(int curl_code) const {
    const auto code = static_cast<CURLcode>(curl_code);
    long os_error = 0;
    curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &os_error);
    switch (code) {
        case CURLE_COULDNT_RESOLVE_HOST:
            return fmt::format("cannot resolve the name {}", asked_.target.host);
        case CURLE_COULDNT_CONNECT:
            return os_error ? errno_error(static_cast<int>(os_error), "cannot connect").text : "cannot connect";
        case CURLE_GOT_NOTHING:
            return "the server closed the connection without an answer";
        case CURLE_OK:
        case CURLE_PARTIAL_FILE:
            return "the connection ended";
        default:
            break;
    }
    return printable(error_text_.front() ? error_text_.data() : curl_easy_strerror(code));
}

outcome transfer::finish(int curl_code) {
    const auto code = static_cast<CURLcode>(curl_code);
    if (sink_error_) {
        failure f = make_failure(sink_error_->kind, failure_cause::caller, sink_error_->text);
        f.why.code = sink_error_->code;
        f.why.hint = sink_error_->hint;
        return give_up(std::move(f));
    }
    if (verdict_ && verdict_->refusal) return give_up(std::move(*verdict_->refusal));
    if (verdict_) return finish_body(curl_code);
    failure f = make_failure(code == CURLE_OK ? error_kind::corrupt : kind_of(code), failure_cause::transport,
                             code == CURLE_OK ? "an answer without a head" : words_of(curl_code));
    if (code == CURLE_COULDNT_CONNECT) {
        long os_error = 0;
        curl_easy_getinfo(easy_, CURLINFO_OS_ERRNO, &os_error);
        f.why.code = static_cast<int>(os_error);
    }
    if (code == CURLE_PEER_FAILED_VERIFICATION)
        f.why.hint = "if its certificate is from an authority of your own, name that one's file";
    // What the other side isn't able to do it won't be able to do later.
    const std::string_view said(error_text_.data());
    if (code == CURLE_SSL_CONNECT_ERROR && said.find("wrong version number") != said.npos) {
        f.why.kind = error_kind::permanent;
        f.why.hint = "the server doesn't speak TLS at this port; plain http has to be asked for";
    } else if (code == CURLE_SSL_CONNECT_ERROR && said.find("alert protocol version") != said.npos) {
        f.why.kind = error_kind::permanent;
        f.why.hint = "TLS 1.2 is the least that is used";
    }
    return give_up(std::move(f));
}

// The answer was accepted; whether all of it is here.
outcome transfer::finish_body(int curl_code) {
    const bool has_body = verdict_->use == body_use::bytes;
    const bool whole = verdict_->length ? received_ == *verdict_->length : curl_code == CURLE_OK;
    if (has_body && !whole) {
        const std::string of = verdict_->length ? fmt::format(" of {}", *verdict_->length) : "";
        failure f =
            make_failure(error_kind::retryable, failure_cause::short_body,
                         fmt::format("the body ended after {}{} bytes: {}", received_, of, words_of(curl_code)));
        f.status = verdict_->accepted.status;
        return give_up(std::move(f));
    }
    response r = std::move(verdict_->accepted);
    r.body = std::move(body_);
    r.delivered = delivered_;
    r.timing = measure();
    return r;
}

outcome transfer::give_up(failure f) {
    f.delivered = delivered_;
    f.timing = measure();
    if (f.status == 0 && verdict_) f.status = verdict_->accepted.status;
    return tl::unexpected<failure>(std::move(f));
}

void transfer::complete(outcome o) {
    asked_.sink = nullptr;
    const completion done = std::move(done_);
    if (done) done(std::move(o));
}

}  // namespace nerofs::http
