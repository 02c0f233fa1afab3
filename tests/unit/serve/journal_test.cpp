// What a successor finds in a journal and what it does about it, state by state (docs/journal.md): the states are
// written by hand here, and the bytes that must follow are known.
#include "serve/journal.h"

#include "support.h"

namespace nerofs::serve {
namespace {

using nbd::cmd;
using nbd::error_value;

constexpr std::uint64_t image_size = 1u << 20;

const image& the_image() {
    static const image instance(image_size);
    return instance;
}

struct outcome {
    bytes sent;
    connection_end end;
};

class taken_over : public testing::Test {
  protected:
    connection_journal& j() const { return memory_.get().connection(0); }

    void slot(std::uint16_t index, std::uint64_t cookie, std::uint64_t offset, std::uint32_t length,
              error_value error = error_value::none) const {
        request_slot& s = j().slots[index];
        s.length = length;
        s.cookie = cookie;
        s.offset = offset;
        s.error = static_cast<std::uint32_t>(error);
        s.state = slot_state::received;
    }
    void batch(std::initializer_list<std::uint16_t> indexes) const {
        std::copy(indexes.begin(), indexes.end(), j().batch_slots.begin());
        j().batch_count = static_cast<std::uint32_t>(indexes.size());
    }
    void progress(std::uint64_t completed, send_call call = send_call::none) const {
        j().batch_progress = completed << 2 | static_cast<std::uint64_t>(call);
    }
    static bytes answer(std::uint64_t cookie, std::uint64_t offset, std::uint32_t length,
                        error_value error = error_value::none) {
        const nbd::simple_reply header = nbd::make_simple_reply(cookie, error);
        const auto raw = std::as_bytes(std::span(&header, 1));
        bytes all(raw.begin(), raw.end());
        if (error != error_value::none) return all;
        const bytes data = content(offset, length);
        all.insert(all.end(), data.begin(), data.end());
        return all;
    }
    // Runs the successor to its end on the journal; the client asks nothing more.
    outcome take_over(std::span<const nbd::request> unread = {}, const image& i = the_image()) const {
        auto [ours, theirs] = socket_pair();
        const client c(std::move(ours));
        c.send(std::as_bytes(unread));
        c.no_more_requests();
        widen(theirs);
        const connection_end end = connection(theirs, i.map(), memory_.get(), 0, {}).run();
        return {c.take_all(), end};
    }
    void expect_cut() const {
        const outcome o = take_over();
        EXPECT_EQ(o.end, connection_end::cut);
        EXPECT_EQ(o.sent.size(), 0u);
    }

    journal_memory memory_{1};
};

bytes operator+(bytes a, const bytes& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}

TEST_F(taken_over, a_fresh_journal_owes_nothing) {
    const outcome o = take_over();
    EXPECT_EQ(o.end, connection_end::closed);
    EXPECT_TRUE(o.sent.empty());
    EXPECT_EQ(j().takeovers, 0u);
}

TEST_F(taken_over, a_header_that_was_received_but_reached_no_slot_is_answered) {
    j().intake[0] = nbd::make_request(cmd::read, 7, 4096, 512);
    j().intake[1] = nbd::make_request(cmd::read, 8, 0, 65536);
    EXPECT_EQ(take_over().sent, answer(7, 4096, 512) + answer(8, 0, 65536));
    EXPECT_EQ(take_over().sent.size(), 0u) << "answered twice";
}

TEST_F(taken_over, a_header_that_reached_a_slot_too_is_answered_once) {
    for (unsigned i = 0; i < 4; ++i) j().intake[i] = nbd::make_request(cmd::read, 7 + i, i * 512, 512);
    slot(127, 7, 0, 512);
    slot(126, 8, 512, 512);  // died between the second and the third
    const outcome o = take_over();
    EXPECT_EQ(o.sent, answer(8, 512, 512) + answer(7, 0, 512) + answer(9, 1024, 512) + answer(10, 1536, 512));
    EXPECT_EQ(take_over().sent.size(), 0u);
}

TEST_F(taken_over, a_full_intake_whose_headers_are_all_in_slots_is_answered_once_each) {
    for (std::uint16_t i = 0; i < max_in_flight; ++i) {
        j().intake[i] = nbd::make_request(cmd::read, 1000u + i, i * 512u, 512);
        slot(static_cast<std::uint16_t>(127 - i), 1000u + i, i * 512u, 512);
    }
    EXPECT_EQ(take_over().sent.size(), 128u * (16 + 512));
    EXPECT_EQ(take_over().sent.size(), 0u);
}

TEST_F(taken_over, what_the_kernel_sends_next_is_answered_after_what_was_owed) {
    slot(3, 7, 512, 512);
    const nbd::request unread = nbd::make_request(cmd::read, 8, 0, 512);
    EXPECT_EQ(take_over(std::span(&unread, 1)).sent, answer(7, 512, 512) + answer(8, 0, 512));
}

TEST_F(taken_over, a_goodbye_in_the_intake_or_in_the_journal_is_a_goodbye) {
    j().intake[0] = nbd::make_request(cmd::read, 7, 0, 512);
    j().intake[1] = nbd::make_request(cmd::disc, 0, 0, 0);
    const outcome first = take_over();
    EXPECT_EQ(first.end, connection_end::disconnect);
    EXPECT_EQ(first.sent, answer(7, 0, 512));
    slot(9, 8, 0, 512);
    const outcome second = take_over();  // died before it had answered all
    EXPECT_EQ(second.end, connection_end::disconnect);
    EXPECT_EQ(second.sent, answer(8, 0, 512));
    memory_.get().reset(0);
    EXPECT_EQ(take_over().end, connection_end::closed);
}

// However far the stream had come: exactly the rest of it follows.
TEST_F(taken_over, a_batch_that_was_sent_to_any_byte_is_continued_at_the_next) {
    const auto prepare = [this] {
        slot(5, 50, 512, 512);
        slot(0, 51, 99999, 700, error_value::einval);
        slot(9, 52, 4096, 1000);
        batch({5, 0, 9});
    };
    const bytes all = answer(50, 512, 512) + answer(51, 0, 0, error_value::einval) + answer(52, 4096, 1000);
    for (std::size_t done = 0; done <= all.size(); done += sanitized ? 5 : 1) {
        prepare();
        if (done % 2 == 0) {
            progress(done);
        } else {  // the last call's bytes counted by the kernel alone
            progress(done / 3, send_call::message);
            j().message.msg_len = static_cast<unsigned>(done - done / 3);
        }
        const outcome o = take_over();
        EXPECT_EQ(o.end, connection_end::closed);
        ASSERT_EQ(o.sent, bytes(all.begin() + static_cast<std::ptrdiff_t>(done), all.end())) << "after " << done;
        ASSERT_EQ(take_over().sent.size(), 0u);
    }
}

TEST_F(taken_over, a_reply_sent_by_file_is_continued_at_the_next_byte) {
    constexpr std::uint32_t length = 100000;
    const bytes all = answer(50, 512, 512) + answer(52, 4096, length);
    constexpr std::uint64_t before = 16 + 512 + 16;
    for (const bool copy_only : {false, true}) {
        memory_.get().header().copy_only = copy_only;
        for (const std::uint64_t sent : {0u, 1u, 4095u, 65536u, 99999u, 100000u}) {
            slot(5, 50, 512, 512);
            slot(9, 52, 4096, length);
            batch({5, 9});
            progress(before + sent / 2, send_call::file);
            j().file_start = static_cast<off_t>(4096 + sent / 2);
            j().file_offset = static_cast<off_t>(4096 + sent);
            const outcome o = take_over();
            EXPECT_EQ(o.end, connection_end::closed);
            ASSERT_EQ(o.sent, bytes(all.begin() + static_cast<std::ptrdiff_t>(before + sent), all.end())) << sent;
        }
    }
}

TEST_F(taken_over, a_batch_of_refused_requests_is_continued_however_long_they_were) {
    for (std::uint16_t i = 0; i < 3; ++i) slot(i, 60u + i, 0, 0xffffffff, error_value::einval);
    batch({0, 1, 2});
    progress(5);
    const bytes one = answer(60, 0, 0, error_value::einval);
    EXPECT_EQ(take_over().sent, bytes(one.begin() + 5, one.end()) + answer(61, 0, 0, error_value::einval) +
                                    answer(62, 0, 0, error_value::einval));
}

TEST_F(taken_over, a_batch_that_was_sent_whole_needs_no_bytes_and_no_file) {
    slot(0, 1, image_size - 512, 512);
    batch({0});
    progress(16 + 512);
    const image shorter(image_size);
    shorter.truncate(4096);
    const outcome o = take_over({}, shorter);
    EXPECT_EQ(o.end, connection_end::closed);
    EXPECT_EQ(o.sent.size(), 0u);
}

// A process that dies of damaging its memory may leave anything. What can't be is cut: never a crash, never a byte.
TEST_F(taken_over, a_damaged_journal_is_cut_before_a_byte_of_it_is_sent) {
    const auto damaged = [this](const std::string& what, auto damage) {
        memory_.get().reset(0);
        slot(0, 1, 0, 512);
        slot(1, 2, 0, 65536);
        batch({0, 1});
        damage();
        SCOPED_TRACE(what);
        expect_cut();
    };
    damaged("more slots than there are", [&] { j().batch_count = 129; });
    damaged("a slot that isn't there", [&] { j().batch_slots[1] = 128; });
    damaged("a range beyond the image", [&] { j().slots[1].offset = image_size; });
    damaged("a range beyond the image, of a slot in no batch", [&] {
        slot(7, 9, ~0ull, 512);
        j().batch_count = 0;
    });
    damaged("a read too long", [&] { j().slots[1].length = nbd::max_request_bytes + 1; });
    damaged("more sent than there was", [&] { progress(16 + 512 + 16 + 65536 + 1); });
    damaged("much more sent than there was", [&] { progress(1ull << 61); });
    damaged("more sent than there was, by the kernel's word", [&] {
        progress(0, send_call::message);
        j().message.msg_len = 0xffffffff;
    });
    damaged("a file offset that went back", [&] {
        progress(16 + 512 + 16, send_call::file);
        j().file_start = 4096;
        j().file_offset = 0;
    });
    damaged("a write in the intake", [&] {
        j().batch_count = 0;
        j().intake[0] = nbd::make_request(cmd::write, 77, 0, 28);
        for (request_slot& s : j().slots) s.state = slot_state::empty;
    });
}

TEST_F(taken_over, more_requests_than_the_kernel_has_in_flight_are_a_violation) {
    for (std::uint16_t i = 0; i < max_in_flight; ++i) slot(i, 1000u + i, 0, 512);
    j().intake[0] = nbd::make_request(cmd::read, 1, 0, 512);
    const outcome o = take_over();
    EXPECT_EQ(o.end, connection_end::violation);
    EXPECT_EQ(o.sent.size(), 0u);
}

TEST_F(taken_over, a_reset_journal_owes_nothing) {
    slot(0, 1, 0, 512);
    batch({0});
    progress(7, send_call::message);
    j().intake[0] = nbd::make_request(cmd::read, 2, 0, 512);
    memory_.get().reset(0);
    const outcome o = take_over();
    EXPECT_EQ(o.end, connection_end::closed);
    EXPECT_TRUE(o.sent.empty());
}

TEST(journal, an_intake_lies_on_one_page) {
    const journal_memory memory(3);
    for (std::size_t i = 0; i < 3; ++i) {
        const auto at = reinterpret_cast<std::uintptr_t>(memory.get().connection(i).intake.data());
        EXPECT_EQ(at / 4096, (at + sizeof(connection_journal::intake) - 1) / 4096);
    }
}

}  // namespace
}  // namespace nerofs::serve
