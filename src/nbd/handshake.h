// The server's side of the fixed newstyle negotiation as a state machine: bytes in, bytes out, no I/O, no clock. The
// caller sends greeting(), then feeds what the client says until the state is no longer `more`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nbd/protocol.h"
#include "nbd/request.h"

namespace nerofs::nbd {

// What a client may make us hold or do before it has chosen an export. Each is far above what honest clients need: a GO
// with the longest legal name and every information request is under 5 KiB, and libnbd's tools send fewer than ten
// options.
inline constexpr std::uint32_t max_option_bytes = 64u << 10;  // of data we look into; more is answered with err_too_big
inline constexpr std::uint32_t max_skipped_bytes = 1u << 20;  // of data we throw away to stay in step; more closes
inline constexpr unsigned max_options = 32;                   // the next one closes

// The longest answer to one option: GO or INFO with all four kinds of information.
inline constexpr std::size_t max_answer_bytes =
    5 * sizeof(option_reply) + sizeof(info_export_reply) + sizeof(info_block_size_reply) + 2 * (2 + max_string_bytes);

// The one export of a server. The empty name, the protocol's default export, always means it, too.
struct export_info {
    std::uint64_t size = 0;                      // bytes
    std::string name = {};                       // UTF-8, at most max_string_bytes, longer is cut
    std::string description = {};                // for people; the same limit
    std::uint32_t preferred_block_bytes = 4096;  // a power of two of 512..65536, else 4096 is told
};

enum class handshake_state : std::uint8_t {
    more,          // send the answer, read more
    transmission,  // send the answer; the next byte of the client is a request header
    closed,        // send the answer, if any, and close; close_reason says why
};

enum class close_reason : std::uint8_t {
    none,
    aborted,           // the client said goodbye: no error
    bad_client_flags,  // flags that we didn't offer
    bad_magic,         // not an option
    not_fixed,         // an option that a client without fixed newstyle must not send
    unknown_export,    // EXPORT_NAME can't be refused in any other way
    option_too_big,    // more data than max_skipped_bytes, or an EXPORT_NAME above max_string_bytes
    too_many_options,  // more than max_options
};

// One line for the log, without a full stop.
std::string_view to_string(close_reason reason);

struct handshake_step {
    std::size_t consumed;  // bytes of the input that were used
    std::span<const std::byte>
        send;  // to send before anything else, at most max_answer_bytes; valid until the next call
    handshake_state state;
};

// What was agreed on; of use in state `transmission`.
struct handshake_session {
    std::string export_name = {};  // as the client gave it
    bool fixed_newstyle = false;
    bool no_zeroes = false;
};

class handshake {
  public:
    explicit handshake(export_info exported);

    // The first bytes on a new connection, the server's.
    static std::span<const std::byte> greeting();

    // Takes bytes from the client, up to the end of the first whole message among them. In state `more` at least one
    // byte of a non-empty input is used; call again with the rest. In the other states nothing is used, and nothing
    // changes any more. Holds max_option_bytes + max_answer_bytes at most. Any thread, one at a time.
    handshake_step next(std::span<const std::byte> in);

    close_reason reason() const { return reason_; }
    const handshake_session& session() const { return session_; }

  private:
    enum class part : std::uint8_t { client_flags, header, data };

    bool gather(std::span<const std::byte>& rest, std::size_t wanted);
    bool take_data(std::span<const std::byte>& rest);
    void on_client_flags();
    void on_header();
    void on_option();
    void on_list();
    void on_export_name();
    void on_info_or_go();
    void close(close_reason why);
    void enter_transmission(std::string_view name);
    bool is_our_name(std::string_view name) const { return name.empty() || name == export_.name; }
    void reply(rep type, std::span<const std::byte> fixed = {}, std::string_view text = {});
    void refuse(rep type);
    void put(std::span<const std::byte> bytes) { answer_.insert(answer_.end(), bytes.begin(), bytes.end()); }

    export_info export_;
    handshake_session session_;
    handshake_state state_ = handshake_state::more;
    close_reason reason_ = close_reason::none;
    part part_ = part::client_flags;
    unsigned options_ = 0;
    opt option_{};                   // of the option at hand
    std::uint32_t remaining_ = 0;    // bytes of its data that haven't come
    std::optional<rep> refusal_;     // its answer, if its data doesn't matter and is skipped
    std::vector<std::byte> buffer_;  // the flags, the header or the data that is being gathered
    std::vector<std::byte> answer_;
};

}  // namespace nerofs::nbd
