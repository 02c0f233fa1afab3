// without_netlink COMMAND [ARG]...: runs a command to which the kernel refuses generic netlink sockets (EPERM), as it
// does in some containers. All that it starts inherits that. Needs CAP_SYS_ADMIN: no_new_privs isn't set, so that it
// changes nothing else.
#include <linux/netlink.h>
#include <seccomp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

int main(int argc, char** argv) {
    if (argc < 2) {
        std::fputs("usage: without_netlink COMMAND [ARG]...\n", stderr);
        return 2;
    }
    const scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int code = seccomp_attr_set(filter, SCMP_FLTATR_CTL_NNP, 0);
    if (code == 0)
        code = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(socket), 2,
                                SCMP_A0_32(SCMP_CMP_EQ, AF_NETLINK, 0), SCMP_A2_32(SCMP_CMP_EQ, NETLINK_GENERIC, 0));
    if (code == 0) code = seccomp_load(filter);
    if (code != 0) {
        std::fprintf(stderr, "without_netlink: seccomp: %s\n", std::strerror(-code));
        return 2;
    }
    ::execvp(argv[1], argv + 1);
    std::fprintf(stderr, "without_netlink: %s: %s\n", argv[1], std::strerror(errno));
    return 127;
}
