// What the tests of trees share: members of archives, and trees as text.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "layer/tree.h"

namespace nerofs::layer::test {

using members = std::vector<tar_entry>;

inline tar_entry member(std::string path, entry_type type = entry_type::regular, std::string target = {}) {
    tar_entry e;
    e.path = std::move(path);
    e.type = type;
    e.link_target = std::move(target);
    e.permissions = 0600;
    if (type == entry_type::regular) e.size = e.path.size();  // so that tests can tell files apart
    return e;
}
inline tar_entry directory(std::string path, std::uint16_t permissions = 0700) {
    tar_entry e = member(std::move(path), entry_type::directory);
    e.permissions = permissions;
    return e;
}
inline tar_entry symlink(std::string path, std::string target) {
    return member(std::move(path), entry_type::symlink, std::move(target));
}
inline tar_entry hard_link(std::string path, std::string target) {
    return member(std::move(path), entry_type::hard_link, std::move(target));
}

inline status add_all(tree& to, members all) {
    for (tar_entry& e : all) NEROFS_CHECK(to.add(std::move(e)));
    return to.finish();
}

// "bin/ bin/a=5 sym->x ", by names in order; `mark` says what follows "/" and "=".
inline std::string shown(const erofs::file_tree& t, const std::function<std::string(std::uint32_t inode)>& mark,
                         std::uint32_t in = 0, const std::string& prefix = "") {
    std::string out;
    t.list(in, [&](std::string_view name, std::uint32_t inode) {
        const erofs::new_inode i = t.inode_at(inode);
        const std::string path = prefix + std::string(name);
        if (i.type == erofs::file_type::directory) {
            out += path + "/" + mark(inode) + " " + shown(t, mark, inode, path + "/");
        } else if (i.type == erofs::file_type::symlink) {
            out += path + "->" + std::string(i.target) + " ";
        } else {
            out += path + "=" + mark(inode) + " ";
        }
    });
    return out;
}

}  // namespace nerofs::layer::test
