#include "launcher/rank/keeper_process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <string>
#include <type_traits>

#include "common/base/descriptor.h"
#include "common/base/error.h"
#include "common/cluster/keeper.h"

namespace sheaf::launcher {
namespace {

// What it is told through its standard input, in the machine's own byte order: it is this program.
struct KeeperOrders {
  wire::Digest key{};
  wire::Identity self;
  Duration limit{};
  Duration idle{};
};
static_assert(std::is_trivially_copyable_v<KeeperOrders>);

// What it says on its standard output.
constexpr char kKeeps = 'k', kOther = 'o';

struct Pipe {
  Descriptor read, write;
  Pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) fail(Fault::internal, "no pipe for a keeper");
    read = Descriptor(ends[0]);
    write = Descriptor(ends[1]);
  }
};

pid_t spawn_keeper(const Descriptor& input, const Descriptor& output) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawnattr_init(&attributes);
  ::posix_spawn_file_actions_adddup2(&actions, input.get(), STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output.get(), STDOUT_FILENO);
  ::posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
  ::posix_spawn_file_actions_addclosefrom_np(&actions, STDERR_FILENO + 1);
  // Neither a terminal nor who ends the ranks of a job reaches it.
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  std::array<char, 16> name = {"sheaf"}, command = {"keeper"};
  std::array<char*, 3> argv = {name.data(), command.data(), nullptr};
  std::array<char*, 1> environment = {nullptr};
  pid_t pid = 0;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const int error =
      ::posix_spawn(&pid, program.c_str(), &actions, &attributes, argv.data(), environment.data());
  ::posix_spawn_file_actions_destroy(&actions);
  ::posix_spawnattr_destroy(&attributes);
  if (error != 0) fail(Fault::internal, "no keeper can be started: {}", std::strerror(error));
  return pid;
}

// What it says within `limit`; 0 if it ends or says nothing.
char word_of(const Descriptor& output, Duration limit) {
  pollfd event{output.get(), POLLIN, 0};
  const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(limit).count();
  int ready = 0;
  do {
    ready = ::poll(&event, 1, static_cast<int>(wait));
  } while (ready < 0 && errno == EINTR);
  char word = 0;
  if (ready != 1 || ::read(output.get(), &word, 1) != 1) return 0;
  return word;
}

}  // namespace

std::optional<ProcessIdentity> start_keeper(const net::Credentials& credentials, Duration limit,
                                            Duration idle) {
  const KeeperOrders orders{credentials.key.bytes(), credentials.self, limit, idle};
  Pipe in, out;
  const pid_t pid = spawn_keeper(in.read, out.write);
  in.read = {};
  out.write = {};
  const bool told = ::write(in.write.get(), &orders, sizeof orders) == ssize_t{sizeof orders};
  in.write = {};
  const char word = told ? word_of(out.read, limit) : char{0};
  if (word == kKeeps) return identify(pid);
  if (word == 0) ::kill(pid, SIGKILL);
  ::waitpid(pid, nullptr, 0);
  if (word == kOther) return std::nullopt;
  fail(Fault::internal, "the keeper of this host's memory does not start");
}

int keep(std::istream& input) {
  ::prctl(PR_SET_NAME, "sheaf-keeper");  // what ps and top call it
  KeeperOrders orders;
  if (!input.read(reinterpret_cast<char*>(&orders), sizeof orders)) {
    fail(Fault::config, "sheaf keeper is started by the servers of a job, not by hand");
  }
  const auto keeper = cluster::Keeper::start({wire::JobKey(orders.key), orders.self}, orders.limit);
  const char word = keeper ? kKeeps : kOther;
  if (::write(STDOUT_FILENO, &word, 1) != 1) return 1;
  const Descriptor nothing(::open("/dev/null", O_RDWR | O_CLOEXEC));
  ::dup2(nothing.get(), STDIN_FILENO);
  ::dup2(nothing.get(), STDOUT_FILENO);
  if (keeper) keeper->serve(orders.idle);
  return 0;
}

}  // namespace sheaf::launcher
