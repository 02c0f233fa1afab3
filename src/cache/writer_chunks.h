// A blob_writer as the planner sees it.
#pragma once

#include "cache/planner.h"
#include "cache/writer.h"

namespace nerofs::cache {

class writer_chunks : public chunk_table {
  public:
    explicit writer_chunks(const blob_writer& writer) : writer_(&writer) {}

    bool present(std::uint64_t chunk) const override { return writer_->map().present(chunk); }
    bool available(std::uint64_t chunk) const override { return writer_->holder_of(chunk) == claim_holder::nobody; }
    std::uint64_t claim(chunk_range range) override { return writer_->claim(range); }

  private:
    const blob_writer* writer_;
};

}  // namespace nerofs::cache
