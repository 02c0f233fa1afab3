#include "os/sandbox/landlock.h"

#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "base/unique_fd.h"

namespace nerofs::os {

status allow_reading_only(const std::vector<std::string>& places) {
    // All rights of the first version of the interface: what is handled and not allowed is refused.
    landlock_ruleset_attr handled{};
    handled.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1;
    unique_fd rules(static_cast<int>(::syscall(SYS_landlock_create_ruleset, &handled, sizeof handled, 0)));
    if (!rules) {
        if (errno == ENOSYS || errno == EOPNOTSUPP) return fail(error_kind::unsupported, "no landlock", errno);
        return fail_errno("landlock_create_ruleset");
    }
    for (const std::string& place : places) {
        const unique_fd at(::open(place.c_str(), O_PATH | O_CLOEXEC));
        struct stat found {};
        if (!at || ::fstat(at.get(), &found) != 0) continue;
        landlock_path_beneath_attr rule{};
        rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
        if (S_ISDIR(found.st_mode)) rule.allowed_access |= LANDLOCK_ACCESS_FS_READ_DIR;
        rule.parent_fd = at.get();
        if (::syscall(SYS_landlock_add_rule, rules.get(), LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
            return fail_errno("landlock: '" + place + "'");
    }
    if (::syscall(SYS_landlock_restrict_self, rules.get(), 0) != 0) return fail_errno("landlock_restrict_self");
    return {};
}

}  // namespace nerofs::os
