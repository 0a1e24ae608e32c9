#include "launcher/system/host.h"

#include <sched.h>
#include <unistd.h>

#include <fstream>

namespace sheaf::launcher {
namespace {

// Longer than a chunk takes, shorter than what a sleeping core would save.
constexpr Duration kSpin = std::chrono::microseconds(200);

}  // namespace

std::string host_name() {
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  return name;
}

std::string host_identity() {
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::string boot;
  std::getline(file, boot);
  char net[64] = {};
  [[maybe_unused]] const ssize_t n = ::readlink("/proc/self/ns/net", net, sizeof net - 1);
  return boot + " " + host_name() + " " + net;
}

Duration spin_on_host(std::span<const wire::ProcessInfo> roster, std::uint32_t worker_threads,
                      std::uint32_t server_threads) {
  cpu_set_t cores;
  CPU_ZERO(&cores);
  if (::sched_getaffinity(0, sizeof cores, &cores) != 0) return {};
  const std::string here = host_identity();
  std::uint32_t busy = 0;
  for (const wire::ProcessInfo& rank : roster) {
    if (rank.host_id != here) continue;
    busy += rank.process.role == Role::server ? server_threads : worker_threads;
  }
  return busy <= static_cast<std::uint32_t>(CPU_COUNT(&cores)) ? kSpin : Duration{};
}

}  // namespace sheaf::launcher
