// Generic netlink (libmnl): resolve a family, send one command, read its answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"
#include "os/channel.h"

namespace nerofs::os {

// A message under construction or received: attributes in order. Nested attributes are messages of their own.
class attributes {
  public:
    attributes& put_u32(std::uint16_t type, std::uint32_t value);
    attributes& put_u64(std::uint16_t type, std::uint64_t value);
    attributes& put_text(std::uint16_t type, const std::string& text);  // with its zero byte
    attributes& put_nested(std::uint16_t type, const attributes& inner);

    // The bytes as they go over the wire (struct nlattr, 4-byte aligned).
    std::span<const std::byte> bytes() const { return bytes_; }

  private:
    attributes& put(std::uint16_t type, std::span<const std::byte> value);
    std::vector<std::byte> bytes_;
};

// An attribute of an answer.
struct attribute {
    std::uint16_t type = 0;
    std::span<const std::byte> value;

    // A number of the width the attribute has (1, 2, 4 or 8 bytes); 0 for others.
    std::uint64_t number() const;
};
// Splits attribute bytes; stops at the first that doesn't fit.
std::vector<attribute> parse_attributes(std::span<const std::byte> bytes);

// A generic netlink socket bound to one family.
class genetlink {
  public:
    // Opens a socket and resolves the family. Kind not_found: the family isn't registered (module missing).
    static result<genetlink> open(const std::string& family);

    // Sends one command and reads answers until the acknowledgement; each answer's attributes go to `on_answer`. The
    // error of a refused command is the kernel's errno, with its extended text where it gives one.
    status call(std::uint8_t command, const attributes& request, deadline until,
                const std::function<void(std::span<const attribute>)>& on_answer = {});

    fd_ref fd() const { return socket_; }
    // A socket that another process opened, for a family already resolved (kept over a keeper's death).
    std::uint16_t family_id() const { return family_; }

  private:
    genetlink(unique_fd socket, std::uint16_t family) : socket_(std::move(socket)), family_(family) {}

    unique_fd socket_;
    std::uint16_t family_ = 0;
    std::uint32_t sequence_ = 1;
};

}  // namespace nerofs::os
