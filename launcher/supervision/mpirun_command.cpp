#include "launcher/supervision/mpirun_command.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <set>
#include <utility>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

// Physical cores among the processors that this process may use: what mpirun counts as slots of a
// host that nobody has described. One if the kernel does not tell, so that ranks may share it.
std::uint32_t usable_cores() {
  cpu_set_t usable;
  CPU_ZERO(&usable);
  if (sched_getaffinity(0, sizeof(usable), &usable) != 0) return 1;
  std::set<std::pair<int, int>> cores;  // package, core
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(static_cast<std::size_t>(cpu), &usable)) continue;
    const std::string folder = fmt::format("/sys/devices/system/cpu/cpu{}/topology/", cpu);
    int package = 0;
    int core = 0;
    if (std::ifstream(folder + "physical_package_id") >> package &&
        std::ifstream(folder + "core_id") >> core) {
      cores.emplace(package, core);
    }
  }
  return std::max<std::uint32_t>(1, static_cast<std::uint32_t>(cores.size()));
}

// Nothing if a line leaves them to mpirun, which then counts the cores of a host that we cannot
// see.
std::optional<std::uint32_t> slots_of(const std::vector<JobHost>& hosts) {
  std::uint32_t sum = 0;
  for (const JobHost& host : hosts) {
    if (!host.slots) return std::nullopt;
    sum += *host.slots;
  }
  return sum;
}

// True if the user's own arguments set what `flag` sets: the same flag, or the same MCA parameter.
// Twice would be a quiet mixture in Open MPI 4 and an error in 5.
bool given(std::span<const std::string> arguments, const std::vector<std::string>& flag) {
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!is_flag(arguments[i], flag[0])) continue;
    if (flag[0] != "--mca") return true;
    if (i + 1 < arguments.size() && arguments[i + 1] == flag[1]) return true;
  }
  return false;
}

std::vector<MpirunFlag> flags_to_add(const MpirunRequest& request) {
  const bool one_host = request.placement.one_host;
  const std::optional<std::uint32_t> slots = request.placement.slots;
  std::vector<MpirunFlag> flags;
  if (request.root) flags.push_back({{"--allow-run-as-root"}, "mpirun refuses root without it"});
  if (slots && request.ranks > *slots) {
    flags.push_back({{"--oversubscribe"},
                     fmt::format("{} ranks share {} cores or slots", request.ranks, *slots)});
  }
  flags.push_back({{"--bind-to", "none"}, "the threads of a rank may use every core of its host"});
  if (!one_host && !maps_ranks(request.mpirun_args)) {
    flags.push_back({{"--map-by", "node"},
                     "host by host in turn: workers and servers then share the links evenly"});
  }
  flags.push_back({{"--enable-recovery"},
                   "if a rank dies the others must be able to finish and report, not be killed"});
  flags.push_back({{"--mca", "pml", "ob1"},
                   "MPI only exchanges addresses: no fabric needs to be searched for and opened"});
  flags.push_back({{"--mca", "btl", "self,tcp"},
                   "MPI's shared memory would leave files in /dev/shm if ranks are killed"});
  if (one_host) {
    flags.push_back({{"--mca", "btl_tcp_if_include", "lo"},
                     "all ranks are on this host; MPI would skip loopback by itself"});
  } else if (!request.interface.empty()) {
    flags.push_back({{"--mca", "btl_tcp_if_include", request.interface}, "network.interface"});
  }
  if (!one_host && request.open_mpi_major >= 5) {
    flags.push_back({{"--mca", "opal_reachable", "weighted"},
                     "by routes, Open MPI 5 finds no path between ranks of one host over TCP"});
  }
  for (const std::string& name : request.forwarded) {
    flags.push_back(
        {{"-x", name}, "every rank gets this variable; its value is in no command line"});
  }
  return flags;
}

bool is_executable_file(const std::filesystem::path& file) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(file, ignored) && access(file.c_str(), X_OK) == 0;
}

}  // namespace

bool maps_ranks(std::span<const std::string> mpirun_args) {
  constexpr std::array kFlags = {"--map-by",   "--bynode",  "--byslot",
                                 "--npernode", "--pernode", "--npersocket",
                                 "--rankfile", "-rf",       "-N"};
  return std::ranges::any_of(mpirun_args, [&](const std::string& word) {
    return word.starts_with("rmaps_") ||
           std::ranges::any_of(kFlags, [&](const char* flag) { return is_flag(word, flag); });
  });
}

std::optional<std::filesystem::path> find_program(std::string_view name, std::string_view path) {
  while (!path.empty()) {
    const std::size_t end = std::min(path.find(':'), path.size());
    const std::filesystem::path folder(path.substr(0, end));
    // A relative folder, also the empty one, would depend on where we happen to be.
    if (folder.is_absolute() && is_executable_file(folder / name)) return folder / name;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return std::nullopt;
}

std::filesystem::path find_mpirun(std::string_view path) {
  if (const auto file = find_program("mpirun", path)) return *file;
  fail(Fault::config, "mpirun was not found in PATH; install openmpi-bin or set PATH");
}

int open_mpi_major(std::string_view version_text) {
  constexpr std::string_view kName = "(Open MPI) ";
  const std::string_view first_line = version_text.substr(0, version_text.find('\n'));
  const std::size_t name = first_line.find(kName);
  int major = 0;
  if (name != std::string_view::npos) {
    const std::string_view number = first_line.substr(name + kName.size());
    std::from_chars(number.data(), number.data() + number.size(), major);
  }
  if (major < 4) {
    fail(Fault::config,
         "mpirun --version: found \"{}\", expected Open MPI 4 or later; install openmpi-bin or put "
         "its mpirun first in PATH",
         first_line);
  }
  return major;
}

Placement find_placement(const std::filesystem::path& hostfile,
                         std::span<const std::string> mpirun_args, const Environment& environment) {
  if (!hostfile.empty()) return {.one_host = false, .slots = slots_of(read_hostfile(hostfile))};
  if (names_hosts(mpirun_args) || has_allocation(environment)) {
    return {.one_host = false, .slots = std::nullopt};
  }
  return {.one_host = true, .slots = usable_cores()};
}

MpirunCommand mpirun_command(const MpirunRequest& request) {
  check(request.ranks > 0, "a job has at least one rank");
  check(request.job_file.is_absolute(), "ranks on other hosts need an absolute job file");
  MpirunCommand command;
  std::vector<std::string>& argv = command.argv;
  argv = {request.mpirun.string(), "-n", std::to_string(request.ranks)};
  if (!request.hostfile.empty()) {
    argv.insert(argv.end(), {"--hostfile", request.hostfile.string()});
  }
  for (MpirunFlag& flag : flags_to_add(request)) {
    if (flag.words[0] != "-x" && given(request.mpirun_args, flag.words)) continue;
    argv.insert(argv.end(), flag.words.begin(), flag.words.end());
    command.added.push_back(std::move(flag));
  }
  argv.insert(argv.end(), request.mpirun_args.begin(), request.mpirun_args.end());
  argv.insert(argv.end(), {request.program.string(), "rank", request.job_file.string()});
  argv.insert(argv.end(), request.overrides.begin(), request.overrides.end());
  return command;
}

std::string shell_line(std::span<const std::string> words) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  std::string line;
  for (const std::string& word : words) {
    if (!line.empty()) line += ' ';
    if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) {
      line += word;
      continue;
    }
    line += '\'';
    for (const char c : word) {
      if (c == '\'') {
        line += "'\\''";
      } else {
        line += c;
      }
    }
    line += '\'';
  }
  return line;
}

}  // namespace sheaf::launcher
