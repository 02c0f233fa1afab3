#include "nbd/handshake.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

namespace nerofs::nbd {

namespace {

template <class T>
std::span<const std::byte> bytes_of(const T& packet) {
    return std::as_bytes(std::span(&packet, 1));
}

template <class T>
T packet_from(std::span<const std::byte> bytes) {
    T packet;
    std::memcpy(&packet, bytes.data(), sizeof packet);
    return packet;
}

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Every request of ours may have any alignment, as it isn't passed on to a device.
constexpr std::uint32_t minimum_block_bytes = 1;
// The bounds doc/proto.md sets to the preferred size ("Block size constraints").
constexpr std::uint32_t least_preferred_bytes = 512;
constexpr std::uint32_t most_preferred_bytes = 64u << 10;

bool is_looked_into(opt option) {
    return option == opt::export_name || option == opt::info || option == opt::go;
}

// The data of NBD_OPT_INFO and NBD_OPT_GO: be32 length of name, name, be16 count, count times be16.
struct info_request {
    std::string_view name = {};
    bool wants_name = false;
    bool wants_description = false;
    bool wants_block_size = false;
};

std::optional<info_request> parse_info_request(std::span<const std::byte> data) {
    if (data.size() < sizeof(be32)) return std::nullopt;
    const std::uint32_t name_bytes = packet_from<be32>(data);
    data = data.subspan(sizeof(be32));
    if (name_bytes > max_string_bytes || name_bytes > data.size()) return std::nullopt;

    info_request asked;
    asked.name = text_of(data.first(name_bytes));
    data = data.subspan(name_bytes);
    if (data.size() < sizeof(be16)) return std::nullopt;
    const std::size_t count = packet_from<be16>(data);
    data = data.subspan(sizeof(be16));
    if (data.size() != count * sizeof(be16)) return std::nullopt;

    // A kind asked for twice is told once, so that an answer has a size that we choose and not the client.
    for (; !data.empty(); data = data.subspan(sizeof(be16))) {
        switch (static_cast<info>(packet_from<be16>(data).get())) {
            case info::export_:
                break;  // told anyway
            case info::name:
                asked.wants_name = true;
                break;
            case info::description:
                asked.wants_description = true;
                break;
            case info::block_size:
                asked.wants_block_size = true;
                break;
        }
    }
    return asked;
}

std::string_view explain(rep refusal) {
    switch (refusal) {
        case rep::err_unknown:
            return "this server has no export of that name";
        case rep::err_invalid:
            return "the data of the option breaks the protocol";
        case rep::err_too_big:
            return "the data of the option is too long";
        default:
            return {};
    }
}

}  // namespace

std::string_view to_string(close_reason reason) {
    switch (reason) {
        case close_reason::none:
            return "not closed";
        case close_reason::aborted:
            return "the client ended the negotiation";
        case close_reason::bad_client_flags:
            return "the client set handshake flags that were not offered";
        case close_reason::bad_magic:
            return "the client sent something that is no option";
        case close_reason::not_fixed:
            return "a client without fixed newstyle sent an option other than EXPORT_NAME";
        case close_reason::unknown_export:
            return "the client asked for an export that does not exist";
        case close_reason::option_too_big:
            return "the client sent an option with too much data";
        case close_reason::too_many_options:
            return "the client sent too many options";
    }
    return "unknown";
}

handshake::handshake(export_info exported) : export_(std::move(exported)) {
    if (export_.name.size() > max_string_bytes) export_.name.resize(max_string_bytes);
    if (export_.description.size() > max_string_bytes) export_.description.resize(max_string_bytes);
    const std::uint32_t preferred = export_.preferred_block_bytes;
    if (!std::has_single_bit(preferred) || preferred < least_preferred_bytes || preferred > most_preferred_bytes)
        export_.preferred_block_bytes = 4096;
}

std::span<const std::byte> handshake::greeting() {
    static const nbd::greeting packet;
    return bytes_of(packet);
}

handshake_step handshake::next(std::span<const std::byte> in) {
    answer_.clear();
    std::span<const std::byte> rest = in;
    if (state_ == handshake_state::more) {
        switch (part_) {
            case part::client_flags:
                if (gather(rest, sizeof(be32))) on_client_flags();
                break;
            case part::header:
                if (!gather(rest, sizeof(option_header))) break;
                on_header();
                if (state_ != handshake_state::more) break;
                [[fallthrough]];
            case part::data:
                if (take_data(rest)) on_option();
                break;
        }
    }
    return {in.size() - rest.size(), answer_, state_};
}

// Moves bytes into the buffer until it holds `wanted`; false if there were too few.
bool handshake::gather(std::span<const std::byte>& rest, std::size_t wanted) {
    const std::size_t count = std::min(wanted - buffer_.size(), rest.size());
    buffer_.insert(buffer_.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count));
    rest = rest.subspan(count);
    return buffer_.size() == wanted;
}

// Takes the data of the option, into the buffer if it matters; false if it isn't all there.
bool handshake::take_data(std::span<const std::byte>& rest) {
    const std::size_t count = std::min<std::size_t>(remaining_, rest.size());
    if (!refusal_) buffer_.insert(buffer_.end(), rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(count));
    rest = rest.subspan(count);
    remaining_ -= static_cast<std::uint32_t>(count);
    return remaining_ == 0;
}

void handshake::on_client_flags() {
    const std::uint32_t flags = packet_from<be32>(buffer_);
    buffer_.clear();
    part_ = part::header;
    if ((flags & ~(flag_c_fixed_newstyle | flag_c_no_zeroes)) != 0) return close(close_reason::bad_client_flags);
    session_.fixed_newstyle = (flags & flag_c_fixed_newstyle) != 0;
    session_.no_zeroes = (flags & flag_c_no_zeroes) != 0;
}

// Decides from the header alone what will be answered and whether the data has to be kept.
void handshake::on_header() {
    const auto header = packet_from<option_header>(buffer_);
    buffer_.clear();
    part_ = part::data;
    option_ = static_cast<opt>(header.option.get());
    remaining_ = header.length;
    refusal_.reset();

    if (header.magic != opts_magic) return close(close_reason::bad_magic);
    if (++options_ > max_options) return close(close_reason::too_many_options);
    // Such a client couldn't read an answer.
    if (!session_.fixed_newstyle && option_ != opt::export_name) return close(close_reason::not_fixed);
    if (remaining_ > max_skipped_bytes) return close(close_reason::option_too_big);
    if (option_ == opt::export_name && remaining_ > max_string_bytes) return close(close_reason::option_too_big);

    switch (option_) {
        case opt::export_name:
        case opt::info:
        case opt::go:
            if (remaining_ > max_option_bytes) refusal_ = rep::err_too_big;
            break;
        case opt::list:
            if (remaining_ != 0) refusal_ = rep::err_invalid;
            break;
        case opt::abort:
            refusal_ = rep::ack;
            break;  // whatever it carries, it is a goodbye
        default:
            refusal_ = rep::err_unsup;
            break;  // starttls, structured_reply, meta contexts, and what comes next
    }
    if (!refusal_ && is_looked_into(option_)) buffer_.reserve(remaining_);
}

void handshake::on_option() {
    part_ = part::header;
    if (option_ == opt::abort) {
        reply(rep::ack);
        return close(close_reason::aborted);
    }
    if (refusal_) return refuse(*refusal_);
    switch (option_) {
        case opt::list:
            on_list();
            break;
        case opt::export_name:
            on_export_name();
            break;
        default:
            on_info_or_go();
            break;
    }
    buffer_.clear();
}

void handshake::on_list() {
    const be32 name_bytes = static_cast<std::uint32_t>(export_.name.size());
    reply(rep::server, bytes_of(name_bytes), export_.name);
    reply(rep::ack);
}

void handshake::on_export_name() {
    const std::string_view name = text_of(buffer_);
    if (!is_our_name(name)) return close(close_reason::unknown_export);
    export_name_reply packet;
    packet.size = export_.size;
    packet.flags = transmission_flags;
    put(bytes_of(packet));
    if (!session_.no_zeroes) answer_.resize(answer_.size() + export_name_zeroes);
    enter_transmission(name);
}

void handshake::on_info_or_go() {
    const std::optional<info_request> asked = parse_info_request(buffer_);
    if (!asked) return refuse(rep::err_invalid);
    if (!is_our_name(asked->name)) return refuse(rep::err_unknown);

    info_export_reply packet;
    packet.type = static_cast<std::uint16_t>(info::export_);
    packet.size = export_.size;
    packet.flags = transmission_flags;
    reply(rep::info, bytes_of(packet));

    if (asked->wants_name) {
        const be16 type = static_cast<std::uint16_t>(info::name);
        reply(rep::info, bytes_of(type), export_.name);
    }
    if (asked->wants_description && !export_.description.empty()) {
        const be16 type = static_cast<std::uint16_t>(info::description);
        reply(rep::info, bytes_of(type), export_.description);
    }
    if (asked->wants_block_size) {
        info_block_size_reply sizes;
        sizes.type = static_cast<std::uint16_t>(info::block_size);
        sizes.minimum = minimum_block_bytes;
        sizes.preferred = export_.preferred_block_bytes;
        sizes.maximum = max_request_bytes;
        reply(rep::info, bytes_of(sizes));
    }
    reply(rep::ack);
    if (option_ == opt::go) enter_transmission(asked->name);
}

void handshake::enter_transmission(std::string_view name) {
    session_.export_name = name;
    state_ = handshake_state::transmission;
}

void handshake::close(close_reason why) {
    state_ = handshake_state::closed;
    reason_ = why;
}

void handshake::reply(rep type, std::span<const std::byte> fixed, std::string_view text) {
    option_reply packet;
    packet.magic = opt_reply_magic;
    packet.option = static_cast<std::uint32_t>(option_);
    packet.type = static_cast<std::uint32_t>(type);
    packet.length = static_cast<std::uint32_t>(fixed.size() + text.size());
    put(bytes_of(packet));
    put(fixed);
    put(std::as_bytes(std::span(text)));
}

// An error reply's data is a message for people.
void handshake::refuse(rep type) {
    reply(type, {}, explain(type));
}

}  // namespace nerofs::nbd
