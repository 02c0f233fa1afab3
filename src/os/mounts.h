// The mount table, and the system calls that change it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/unique_fd.h"

namespace nerofs::os {

// One line of /proc/self/mountinfo (proc(5)), octal escapes resolved.
struct mount_entry {
    int id = 0;
    int parent = 0;
    unsigned major = 0;
    unsigned minor = 0;
    std::string root;
    std::string mount_point;
    std::string options;
    std::string type;
    std::string source;
    std::string super_options;
};

// Parses the text of a mountinfo file; lines that don't follow proc(5) are left out.
std::vector<mount_entry> parse_mountinfo(std::string_view text);
// The mounts of this process' mount namespace, in the kernel's order (a later one may lie over an earlier one).
result<std::vector<mount_entry>> read_mounts();

// mount(2). The error carries its errno; what the kernel itself said goes into `kernel_log` (see kernel_messages).
status mount(const std::string& source, const std::string& target, const std::string& type, unsigned long flags,
             const std::string& data);

// umount2(2).
status unmount(const std::string& target, int flags);

// Reads what the kernel logs from now on; mount(2)'s errno alone seldom says why.
class kernel_messages {
  public:
    kernel_messages();
    // The lines since construction that begin with `prefix`, joined by "; ". Empty when /dev/kmsg can't be read.
    std::string since_then(std::string_view prefix) const;

  private:
    unique_fd kmsg_;
};

}  // namespace nerofs::os
