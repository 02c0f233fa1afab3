#include "mount/cache_place.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

namespace nerofs::mount {
namespace {

// An absolute path, or empty.
std::string path_in_environment(const char* name) {
    const char* const value = std::getenv(name);
    return value != nullptr && *value == '/' ? value : "";
}

std::string own_cache_directory() {
    if (const std::string base = path_in_environment("XDG_CACHE_HOME"); !base.empty()) return base + "/nerofs";
    return path_in_environment("HOME") + "/.cache/nerofs";
}

// What su(1) leaves set belongs to somebody else.
std::string own_run_directory(const std::string& cache_directory) {
    const std::string base = path_in_environment("XDG_RUNTIME_DIR");
    struct stat found {};
    const bool is_ours = !base.empty() && ::stat(base.c_str(), &found) == 0 && found.st_uid == ::geteuid();
    return is_ours ? base + "/nerofs" : cache_directory + "/run";
}

std::uint64_t quarter_of_file_system(const std::string& directory) {
    // The first use makes the directory; until then its nearest parent tells.
    std::filesystem::path place(directory);
    struct statvfs found {};
    while (::statvfs(place.c_str(), &found) != 0) {
        if (!place.has_relative_path()) return 0;
        place = place.parent_path();
    }
    return found.f_frsize * found.f_blocks / 4;
}

}  // namespace

cache::store_options store_options_for(const ctl::cache_choice& choice) {
    cache::store_options options;
    const bool is_root = ::geteuid() == 0;
    if (!choice.directory.empty()) {
        options.directory = choice.directory;
    } else if (!is_root) {
        options.directory = own_cache_directory();
    }
    if (!is_root) options.run_directory = own_run_directory(options.directory);
    options.budget_bytes = choice.bytes != 0 ? choice.bytes : quarter_of_file_system(options.directory);
    return options;
}

}  // namespace nerofs::mount
