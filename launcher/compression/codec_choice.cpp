#include "launcher/compression/codec_choice.h"

#include <algorithm>

namespace sheaf::launcher {
namespace {

// What is worth a change of compressor: measurements on a machine at work differ by as much.
constexpr double kGain = 0.9;

struct Sums {
  double servers = 0, workers = 0;
  double crowd = 1;  // ranks on a core, on the host that has most
};

Sums sums_of(std::span<const HostRanks> hosts) {
  Sums sums;
  for (const HostRanks& host : hosts) {
    sums.servers += host.servers;
    sums.workers += host.workers;
    sums.crowd = std::max(sums.crowd, (host.servers + host.workers) / host.cores);
  }
  return sums;
}

// Vectors that the busiest link carries if each worker sends or gets one: a server has as much of
// each as any other. Within one host they all pass through the same memory.
double crossing(std::span<const HostRanks> hosts, const Sums& sums) {
  if (hosts.size() == 1) return sums.workers;
  double most = 0;
  for (const HostRanks& host : hosts) {
    const double share = host.servers / sums.servers;
    most = std::max({most, host.workers * (1 - share), (sums.workers - host.workers) * share});
  }
  return most;
}

}  // namespace

Way way_of_pushes(std::span<const HostRanks> hosts, double vectors, std::uint32_t lanes,
                  double bytes_per_s) {
  const Sums sums = sums_of(hosts);
  return {.bytes_per_s = bytes_per_s,
          .carried = vectors * crossing(hosts, sums),
          .encoded = vectors * sums.crowd,
          .added = vectors * sums.workers / (sums.servers * lanes) * sums.crowd};
}

Way way_of_pulls(std::span<const HostRanks> hosts, std::uint32_t lanes, double bytes_per_s) {
  const Sums sums = sums_of(hosts);
  return {.bytes_per_s = bytes_per_s,
          .carried = crossing(hosts, sums),
          .encoded = sums.crowd / (sums.servers * lanes),
          .added = sums.crowd};
}

double seconds_per_parameter(const CodecSpeed& codec, const Way& way) {
  return way.carried * codec.bits / 8 / way.bytes_per_s + way.encoded * codec.encode +
         way.added * codec.decode_add;
}

std::size_t best_codec(std::span<const double> seconds) {
  std::size_t best = 0;
  for (std::size_t i = 1; i < seconds.size(); ++i) {
    if (seconds[i] < kGain * seconds[best]) best = i;
  }
  return best;
}

}  // namespace sheaf::launcher
