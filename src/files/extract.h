// A part of an image becomes files on this machine.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "erofs/reader.h"

namespace nerofs::files {

struct extract_options {
    // Owners, devices, set-id bits and extended attributes are set, too, which takes root. Else they are left out.
    bool as_root = false;
};

struct extracted {
    std::uint64_t names = 0;
    std::uint64_t bytes = 0;  // of regular files; what has several names counts once
    // What this machine or the lack of privileges kept out; whoever called says so.
    std::uint64_t left_out_devices = 0;
    std::uint64_t left_out_owners = 0;  // of files whose owner isn't the caller
    std::uint64_t left_out_attributes = 0;
    std::string attribute_error;  // of the first attribute that the file system refused
};

// What is in the directory that `path` names, or the file itself, comes into the directory `to`, which is made when
// it isn't there, and else keeps its own mode and time. Only new names are made there: one that exists is an error
// (EEXIST), and what was written until then stays. Files that have several names below `path` keep them; holes stay
// holes; times are set; directories get their modes and times last. Nothing is written outside `to`, whatever the
// image's symlinks and names are. Errors: as erofs::walk() and resolve(), those of the file system with the path in the
// image. Blocks. Memory: some 200 bytes a directory and a file of several names.
result<extracted> extract(erofs::reader& image, std::string_view path, const std::string& to,
                          const extract_options& options);

}  // namespace nerofs::files
