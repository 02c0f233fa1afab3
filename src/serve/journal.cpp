#include "serve/journal.h"

#include <cstring>

namespace nerofs::serve {

journal::journal(void* memory, std::size_t connections) : memory_(memory), connections_(connections) {
    header().magic = journal_magic;
    header().connections = connections;
}

void journal::reset(std::size_t index) const {
    connection_journal& c = connection(index);
    c.batch_count.store(0, std::memory_order_release);
    c.batch_progress.store(0, std::memory_order_release);
    for (request_slot& slot : c.slots) slot.state.store(slot_state::empty, std::memory_order_release);
    c.goodbye.store(0, std::memory_order_release);
    c.intake.fill(nbd::request{});
}

}  // namespace nerofs::serve
