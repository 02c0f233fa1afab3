#include "layer/path_walk.h"

#include <algorithm>
#include <utility>

namespace nerofs::layer {
namespace {

constexpr unsigned symlink_cap = 40;   // as the kernel's MAXSYMLINKS
constexpr unsigned steps_cap = 10000;  // components walked for one path, those of symlinks included
constexpr std::size_t name_cap = 255;
constexpr std::uint32_t root = 0;

status check_name(std::string_view name) {
    if (name.size() > name_cap) return fail(error_kind::unsupported, "a name of more than 255 bytes");
    return {};
}

}  // namespace

std::vector<std::string_view> components(std::string_view path) {
    std::vector<std::string_view> out;
    while (!path.empty()) {
        const std::size_t slash = std::min(path.find('/'), path.size());
        if (slash > 0 && path.substr(0, slash) != ".") out.push_back(path.substr(0, slash));
        path.remove_prefix(std::min(slash + 1, path.size()));
    }
    return out;
}

std::vector<std::string_view> cleaned(std::string_view path) {
    std::vector<std::string_view> out;
    for (const std::string_view component : components(path)) {
        if (component != "..") {
            out.push_back(component);
        } else if (!out.empty()) {
            out.pop_back();
        }
    }
    return out;
}

result<std::optional<std::uint32_t>> find_directory(walked_tree& tree, std::uint32_t start,
                                                    const std::vector<std::string_view>& way, bool create) {
    std::vector<std::string> waiting(way.rbegin(), way.rend());  // components to go, the next one last
    std::uint32_t here = start;
    unsigned symlinks = 0;
    unsigned steps = 0;
    while (!waiting.empty()) {
        if (++steps > steps_cap) return fail(error_kind::corrupt, "leads through too many symlinks");
        const std::string name = std::move(waiting.back());
        waiting.pop_back();
        if (name == "..") {  // of a symlink's target
            here = tree.directory_above(here);
            continue;
        }
        NEROFS_CHECK(check_name(name));
        NEROFS_TRY(const std::optional<walked_tree::step> next, tree.step_to(here, name, create));
        if (!next) return std::optional<std::uint32_t>();
        if (next->target) {
            if (++symlinks > symlink_cap) return fail(error_kind::corrupt, "leads through too many symlinks");
            if (next->target->starts_with('/')) here = root;
            const auto parts = components(*next->target);
            waiting.insert(waiting.end(), parts.rbegin(), parts.rend());
        } else if (next->is_directory) {
            here = next->inode;
        } else {
            if (!create) return std::optional<std::uint32_t>();
            return fail(error_kind::corrupt, "leads through something that isn't a directory");
        }
    }
    return std::optional<std::uint32_t>(here);
}

result<std::optional<place>> find_place(walked_tree& tree, std::string_view path, bool create) {
    std::vector<std::string_view> way = cleaned(path);
    if (way.empty()) return std::optional<place>(place{});
    const std::string_view last = way.back();
    way.pop_back();
    NEROFS_TRY(const std::optional<std::uint32_t> directory, find_directory(tree, root, way, create));
    if (!directory) return std::optional<place>();
    NEROFS_CHECK(check_name(last));
    return std::optional<place>(place{*directory, std::string(last)});
}

}  // namespace nerofs::layer
