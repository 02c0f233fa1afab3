// The real server process beside its reads: what it is allowed to do, how it ends, and how it gets a new keeper.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <filesystem>
#include <map>
#include <sstream>

#include "os/files.h"
#include "serve/sandbox.h"
#include "server_keeper.h"

namespace nerofs::serve {
namespace {

// The value of a line of /proc/PID/status, its spaces made single.
std::string field(const std::string& status_file, const std::string& name) {
    std::istringstream lines(os::read_small_file(status_file).value_or(""));
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with(name + ":")) continue;
        std::istringstream words(line.substr(name.size() + 1));
        std::string all;
        for (std::string word; words >> word;) all += (all.empty() ? "" : " ") + word;
        return all;
    }
    return "absent";
}

std::string proc(const server_keeper& k, const std::string& name) {
    return "/proc/" + std::to_string(k.server().pid()) + "/" + name;
}

TEST(server_process, has_no_privilege_left_in_any_thread) {
    server_keeper k(3);
    ASSERT_EQ(k.start(), "");
    const bytes some = k.kernel().read(0, 4096).value();  // it serves
    EXPECT_TRUE(is_content(some, 0));
    unsigned threads = 0;
    for (const auto& task : std::filesystem::directory_iterator(proc(k, "task"))) {
        const std::string status = task.path().string() + "/status";
        const std::string name = field(status, "Name");
        if (sanitized && !name.starts_with("nbd") && task.path().filename() != std::to_string(k.server().pid()))
            continue;  // the run-time's own
        ++threads;
        EXPECT_EQ(field(status, "NoNewPrivs"), "1") << name;
        if (!sanitized) {
            EXPECT_EQ(field(status, "Seccomp"), "2") << name;
        }
        if (::geteuid() == 0) {
            for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapAmb"})
                EXPECT_EQ(field(status, set), "0000000000000000") << name << " " << set;
            const os::identity nobody = os::unprivileged_identity("nerofs");
            const std::string uid = std::to_string(nobody.uid), gid = std::to_string(nobody.gid);
            EXPECT_NE(nobody.uid, 0u);
            EXPECT_EQ(field(status, "Uid"), uid + " " + uid + " " + uid + " " + uid) << name;
            EXPECT_EQ(field(status, "Gid"), gid + " " + gid + " " + gid + " " + gid) << name;
            EXPECT_EQ(field(status, "Groups"), "") << name;
        }
    }
    EXPECT_EQ(threads, 4u) << "the main thread and one for each connection";
}

TEST(server_process, is_in_a_session_of_its_own_and_shows_nothing) {
    server_keeper k;
    ASSERT_EQ(k.start(), "");
    std::string stat = os::read_small_file(proc(k, "stat")).value();
    std::istringstream fields(stat.substr(stat.rfind(')') + 2));
    std::string state, parent, group, session, terminal;
    fields >> state >> parent >> group >> session >> terminal;
    EXPECT_EQ(session, std::to_string(k.server().pid()));
    EXPECT_EQ(terminal, "0");
    EXPECT_EQ(os::read_small_file(proc(k, "cmdline")).value(), std::string("nerofs-server\0", 14));
    if (::geteuid() == 0) {
        EXPECT_EQ(os::read_small_file(proc(k, "environ")).value(), "");
    }
}

TEST(server_process, has_only_the_descriptors_it_was_given) {
    server_keeper k(3);
    ASSERT_EQ(k.start(), "");
    if (sanitized) GTEST_SKIP() << "the sanitizers open files of their own";
    if (::geteuid() != 0) GTEST_SKIP() << "needs root to see another process' descriptors";
    std::map<std::string, unsigned> kinds;
    for (const auto& entry : std::filesystem::directory_iterator(proc(k, "fd"))) {
        if (std::stoi(entry.path().filename()) <= 2) continue;
        const std::string target = std::filesystem::read_symlink(entry.path());
        ++kinds[target.substr(0, target.find_first_of(":["))];
    }
    // The keeper's channel, the control socket and the connections; the journal and the image (twice: kept, too); the
    // loop's epoll and eventfd.
    const std::map<std::string, unsigned> expected = {{"socket", 5}, {"/memfd", 3}, {"anon_inode", 2}};
    EXPECT_EQ(kinds, expected);
}

TEST(server_process, is_locked_in_memory) {
    if (sanitized) GTEST_SKIP() << "the sanitizers' shadow can't be locked";
    server_keeper k;
    ASSERT_EQ(k.start(), "");
    EXPECT_TRUE(is_content(k.kernel().read(0, 1u << 20).value(), 0));
    const auto kib = [&](const char* name) { return std::stoul(field(proc(k, "status"), name)); };
    EXPECT_GT(kib("VmLck"), 0u);
    EXPECT_LE(kib("VmRSS"), 8u * 1024) << "a server of two connections";
    std::string limits = os::read_small_file(proc(k, "limits")).value();
    limits.erase(0, limits.find("Max locked memory"));
    if (!limits.starts_with("Max locked memory         unlimited"))
        GTEST_SKIP() << "the program itself is; the rest needs a limit that can be lifted";
    EXPECT_GE(kib("VmLck"), kib("VmRSS")) << "something of it can be swapped or dropped";
}

// Every client costs a thread and its memory, none of which has to be locked.
TEST(server_process, serves_many_clients_where_locked_memory_is_limited) {
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_MEMLOCK, &before), 0);
    const rlimit small{std::min<rlim_t>(before.rlim_max, 4 << 20), before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &small), 0);
    const std::string path = "/tmp/nerofs-clients-" + std::to_string(::getpid());
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    const auto at = reinterpret_cast<const sockaddr*>(&address);
    unique_fd listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::bind(listener.get(), at, sizeof address), 0);
    ASSERT_EQ(::listen(listener.get(), 64), 0);

    auto ends = os::channel::make_pair().value();
    os::spawn_options options;
    options.program = NEROFS_BIN "/nerofs-server";
    options.arguments = {"nerofs-server"};
    options.fds = {ends.second.fd()};
    auto server = os::spawn(options).value();
    ends.second.close();
    ASSERT_EQ(::setrlimit(RLIMIT_MEMLOCK, &before), 0);
    server_setup s;
    s.connections = 40;
    s.pieces.push_back({0, server_keeper::image_size, 0, 0});
    s.files.push_back(memory_file(server_keeper::reference()));
    s.listeners.push_back(std::move(listener));
    ASSERT_TRUE(send_setup(ends.first, s));
    ASSERT_TRUE(ends.first.receive(os::in_time(60s)));

    std::vector<client> clients;
    for (unsigned i = 0; i < 40; ++i) {
        unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        ASSERT_EQ(::connect(socket.get(), at, sizeof address), 0);
        clients.emplace_back(std::move(socket));
        if (i % 4 == 3) continue;  // one of four never says anything: the others don't wait for it
        clients[i].take_bytes(sizeof(nbd::greeting));
        const be32 flags = nbd::flag_c_fixed_newstyle | nbd::flag_c_no_zeroes;
        clients[i].send(std::as_bytes(std::span(&flags, 1)));
        nbd::option_header name;
        name.magic = nbd::opts_magic;
        name.option = static_cast<std::uint32_t>(nbd::opt::export_name);
        name.length = 0u;
        clients[i].send(std::as_bytes(std::span(&name, 1)));
        EXPECT_EQ(clients[i].take_bytes(sizeof(nbd::export_name_reply)).size(), sizeof(nbd::export_name_reply));
    }
    // One more than there may be is turned away, at once and alone.
    unique_fd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    ASSERT_EQ(::connect(socket.get(), at, sizeof address), 0);
    client(std::move(socket)).expect_end();
    for (unsigned i = 0; i < 40; ++i) {
        if (i % 4 == 3) continue;
        clients[i].read(i + 1, i * 4096, 32768);
        clients[i].read(i + 1, i * 4096, 1u << 20);
    }
    ::unlink(path.c_str());
    ends.first.close();  // a served image ends with the command that serves it
    ASSERT_TRUE(os::wait_readable(server.pidfd(), os::in_time(60s)));
    EXPECT_EQ(server.reap(), "exited with status 0");
}

TEST(server_process, serves_as_many_connections_as_there_may_be) {
    server_keeper k(max_connections);
    ASSERT_EQ(k.start(), "");
    checking_readers readers(k.kernel(), 8, 40);
    while (!readers.ended()) std::this_thread::sleep_for(1ms);
    EXPECT_EQ(k.kill_server(), "was killed by signal 9 (Killed)");
    readers.finish();
    k.expect_flawless();
}

TEST(server_process, leaves_quietly_when_the_kernel_says_goodbye_and_its_keeper_is_gone) {
    server_keeper k;
    ASSERT_EQ(k.start(), "");
    EXPECT_TRUE(is_content(k.kernel().read(0, 4096).value(), 0));
    k.channel().close();
    k.kernel().disconnect();
    EXPECT_EQ(k.wait_for_death(), "exited with status 0");
}

TEST(server_process, tells_its_keeper_how_each_connection_ended) {
    server_keeper k(2);
    ASSERT_EQ(k.start(), "");
    k.kernel().disconnect();
    for (unsigned i = 0; i < 2; ++i) {
        const auto packet = k.channel().receive(os::in_time(60s));
        ASSERT_TRUE(packet);
        wire_reader body(packet->bytes);
        EXPECT_EQ(body.get<message>(), message::connection_ended);
        EXPECT_LT(body.get<std::uint32_t>(), 2u);
        EXPECT_EQ(body.get<connection_end>(), connection_end::disconnect);
    }
    ASSERT_TRUE(send_simple(k.channel(), message::ping));
    const auto pong = k.channel().receive(os::in_time(60s));
    ASSERT_TRUE(pong);
    EXPECT_EQ(wire_reader(pong->bytes).get<message>(), message::pong);
}

TEST(server_process, serves_a_connection_that_replaces_an_ended_one) {
    server_keeper k(1);
    ASSERT_EQ(k.start(), "");
    for (std::uint64_t round = 1; round < 4; ++round) {
        if (round == 1) ::shutdown(k.socket(0).get(), SHUT_RDWR);
        const auto packet = k.channel().receive(os::in_time(60s));
        ASSERT_TRUE(packet);
        EXPECT_EQ(wire_reader(packet->bytes).get<message>(), message::connection_ended);
        auto [ours, theirs] = socket_pair();
        const os::mapping memory = os::mapping::map(k.journal(), journal_bytes(1), true).value();
        journal(memory.data(), 1).reset(0);
        ASSERT_TRUE(send_replacement(k.channel(), 0, ours));
        ours.reset();
        const client c(std::move(theirs));
        c.read(round, round * 4096, 65536);
        c.ask(nbd::cmd::disc, 0, 0, 0);
        c.expect_end();
    }
}

TEST(server_process, ignores_what_is_malformed_from_its_keeper) {
    server_keeper k(1);
    ASSERT_EQ(k.start(), "");
    auto [ours, theirs] = socket_pair();
    ASSERT_TRUE(send_replacement(k.channel(), 0, ours));  // it hasn't ended
    ASSERT_TRUE(send_replacement(k.channel(), 77, ours));
    ASSERT_TRUE(k.channel().send(wire_writer().put(message::replace_socket).bytes()));
    ASSERT_TRUE(k.channel().send(wire_writer().put(200u).bytes()));
    ASSERT_TRUE(k.channel().send(bytes(5)));
    EXPECT_TRUE(is_content(k.kernel().read(0, 4096).value(), 0));
    ASSERT_TRUE(send_simple(k.channel(), message::ping));
    const auto pong = k.channel().receive(os::in_time(60s));
    ASSERT_TRUE(pong);
    EXPECT_EQ(wire_reader(pong->bytes).get<message>(), message::pong);
}

TEST(server_process, ends_with_status_1_when_its_setup_is_no_setup) {
    server_keeper k(1);
    for (const int kind : {0, 1, 2}) {
        auto ends = os::channel::make_pair().value();
        os::spawn_options options;
        options.program = NEROFS_BIN "/nerofs-server";
        options.arguments = {"nerofs-server"};
        options.fds = {ends.second.fd()};
        auto server = os::spawn(options).value();
        ends.second.close();
        server_setup s = k.setup();
        if (kind == 0) {
            ASSERT_TRUE(ends.first.send(bytes(100)));
        } else if (kind == 1) {  // a journal too small for its connections
            s.journal = os::make_memfd("small", 4096).value();
            ASSERT_TRUE(send_setup(ends.first, s));
        } else {
            s.pieces.push_back({0, 1, 0, 0});
            ASSERT_TRUE(send_setup(ends.first, s));
        }
        ASSERT_TRUE(os::wait_readable(server.pidfd(), os::in_time(60s)));
        EXPECT_EQ(server.reap(), "exited with status 1");
    }
}

std::pair<dev_t, ino_t> identity(fd_ref fd) {
    struct stat found {};
    EXPECT_EQ(::fstat(fd.get(), &found), 0);
    return {found.st_dev, found.st_ino};
}

TEST(server_process, gives_a_new_keeper_everything_and_goes_on_meanwhile) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root is let in at a control socket";
    server_keeper k(2);
    ASSERT_EQ(k.start(), "");
    checking_readers readers(k.kernel(), 4);
    for (int round = 0; round < 3; ++round) {
        k.channel().close();  // the keeper dies
        auto channel = os::connect_to(k.control_path()).value();
        const auto hello = channel.receive(os::in_time(60s));
        ASSERT_TRUE(hello) << hello.error().message();
        wire_reader body(hello->bytes);
        EXPECT_EQ(body.get<message>(), message::hello);
        EXPECT_EQ(body.get<role>(), role::server);
        EXPECT_EQ(hello->sender, k.server().pid());
        ASSERT_TRUE(send_simple(channel, message::adopt));
        auto packet = channel.receive(os::in_time(60s));
        ASSERT_TRUE(packet) << packet.error().message();
        auto handed = decode_setup(std::move(*packet));
        ASSERT_TRUE(handed) << handed.error().message();
        const server_setup before = k.setup();
        EXPECT_EQ(handed->connections, before.connections);
        EXPECT_EQ(handed->block_size, before.block_size);
        EXPECT_EQ(handed->export_name, before.export_name);
        EXPECT_EQ(identity(handed->journal), identity(before.journal));
        EXPECT_EQ(identity(handed->control), identity(before.control));
        ASSERT_EQ(handed->sockets.size(), 2u);
        for (unsigned i = 0; i < 2; ++i) EXPECT_EQ(identity(handed->sockets[i]), identity(before.sockets[i]));
        ASSERT_EQ(handed->files.size(), 1u);
        EXPECT_EQ(identity(handed->files[0]), identity(before.files[0]));
        ASSERT_EQ(handed->kept.size(), 1u);
        ASSERT_EQ(handed->pieces.size(), 1u);
        EXPECT_EQ(handed->pieces[0].length, server_keeper::image_size);
        k.adopt(std::move(channel), std::move(*handed));
        ASSERT_TRUE(send_simple(k.channel(), message::ping));
        const auto pong = k.channel().receive(os::in_time(60s));
        ASSERT_TRUE(pong);
        EXPECT_EQ(wire_reader(pong->bytes).get<message>(), message::pong);
        // What was handed over is enough for another server.
        EXPECT_EQ(k.kill_server(), "was killed by signal 9 (Killed)");
        ASSERT_EQ(k.start(), "");
    }
    readers.finish();
    k.expect_flawless();
}

TEST(server_process, tells_a_new_keeper_which_connections_ended_before_it_came) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root is let in at a control socket";
    server_keeper k(2);
    ASSERT_EQ(k.start(), "");
    k.channel().close();
    ::shutdown(k.socket(1).get(), SHUT_RDWR);
    auto channel = os::connect_to(k.control_path()).value();
    ASSERT_TRUE(channel.receive(os::in_time(60s)));
    ASSERT_TRUE(send_simple(channel, message::adopt));
    ASSERT_TRUE(channel.receive(os::in_time(60s)));
    const auto packet = channel.receive(os::in_time(60s));
    ASSERT_TRUE(packet);
    wire_reader body(packet->bytes);
    EXPECT_EQ(body.get<message>(), message::connection_ended);
    EXPECT_EQ(body.get<std::uint32_t>(), 1u);
}

TEST(server_process, turns_away_who_asks_nothing_or_nonsense_at_its_control_socket) {
    if (::geteuid() != 0) GTEST_SKIP() << "only root is let in at a control socket";
    server_keeper k(1);
    ASSERT_EQ(k.start(), "");
    k.channel().close();
    checking_readers readers(k.kernel(), 1);
    const auto silent = os::connect_to(k.control_path()).value();
    ASSERT_TRUE(silent.receive(os::in_time(60s)));
    EXPECT_EQ(silent.receive(os::in_time(60s)).error().kind, error_kind::cancelled);
    const auto rude = os::connect_to(k.control_path()).value();
    ASSERT_TRUE(rude.receive(os::in_time(60s)));
    ASSERT_TRUE(rude.send(bytes(1)));
    EXPECT_EQ(rude.receive(os::in_time(60s)).error().kind, error_kind::cancelled);
    readers.finish();
    k.expect_flawless();
}

// What each call in the sandbox ends in: the number of the signal that killed the process, or 0.
int in_the_sandbox(void (*call)()) {
    const pid_t child = ::fork();
    if (child == 0) {
        if (!enter_sandbox()) ::_exit(9);
        call();
        ::_exit(0);
    }
    int how = 0;
    EXPECT_EQ(::waitpid(child, &how, 0), child);
    if (WIFEXITED(how)) {
        EXPECT_EQ(WEXITSTATUS(how), 0);
    }
    return WIFSIGNALED(how) ? WTERMSIG(how) : 0;
}

TEST(sandbox, kills_a_process_that_does_what_a_server_never_does) {
    if (sanitized) GTEST_SKIP() << "the sanitizers' run-time needs more than the filter allows";
    EXPECT_EQ(in_the_sandbox([] {}), 0);
    EXPECT_EQ(in_the_sandbox([] { (void)::open("/dev/null", O_RDONLY); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] { (void)::socket(AF_UNIX, SOCK_STREAM, 0); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] { (void)::execl("/bin/true", "true", nullptr); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] { (void)::fork(); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] { (void)::kill(::getppid(), 0); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] { (void)::unlink("/nonexistent"); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] { (void)::ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] { (void)::fcntl(0, F_SETFL, 0); }), SIGSYS);
    EXPECT_EQ(in_the_sandbox([] {
                  int any = 0;
                  (void)::ioctl(0, FIONREAD, &any);
              }),
              SIGSYS);
    EXPECT_EQ(
        in_the_sandbox([] { (void)::mmap(nullptr, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }),
        SIGSYS);
    EXPECT_EQ(in_the_sandbox([] {
                  void* page = ::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                  (void)::mprotect(page, 4096, PROT_READ | PROT_EXEC);
              }),
              SIGSYS);
}

TEST(sandbox, lets_a_server_do_what_it_does) {
    EXPECT_EQ(in_the_sandbox([] {
                  std::thread([] {}).join();
                  std::vector<std::byte> large(64 << 20);
                  if (::fcntl(0, F_DUPFD_CLOEXEC, 3) < 0) ::_exit(1);
                  int off = 0;
                  if (::ioctl(0, FIONBIO, &off) != 0) ::_exit(1);
              }),
              0);
}

}  // namespace
}  // namespace nerofs::serve
