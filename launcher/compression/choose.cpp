#include "launcher/compression/choose.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "common/params/partition_tree.h"
#include "launcher/compression/codec_choice.h"
#include "launcher/compression/codec_speed.h"
#include "launcher/config/run_config.h"
#include "launcher/doctor/examine.h"
#include "launcher/doctor/probe_network.h"
#include "launcher/supervision/launch_plan.h"
#include "launcher/system/readable.h"

namespace sheaf::launcher {
namespace {

using Say = std::function<void(std::string_view)>;

constexpr std::chrono::milliseconds kLoopback{200};

// What lies between servers and workers.
struct Route {
  std::vector<HostRanks> hosts;
  bool memory = false;                // shared: no compressor is faster than none
  std::optional<double> bytes_per_s;  // of the slowest link; nothing: not known
  std::string text;                   // what it is, or why it is not known
};

Route within_host(const RunConfig& config) {
  const RunSection& run = config.run();
  Route route;
  route.hosts = {{static_cast<double>(run.servers), static_cast<double>(run.workers),
                  std::max(1.0, static_cast<double>(std::thread::hardware_concurrency()))}};
  route.memory = config.shares_memory();
  if (route.memory) {
    route.text = "through shared memory";
    return route;
  }
  ProbeNetwork network;
  route.bytes_per_s = exchange(network.listen("127.0.0.1", 0, 0), kLoopback);
  route.text = fmt::format("loopback carries {} MB/s", readable_rate(*route.bytes_per_s));
  return route;
}

Route between_hosts(const RunConfig& config, const JobArguments& job) {
  const Examination seen = examine_links(config, job);
  Route route;
  double placed = 0;
  for (const ExaminedHost& host : seen.hosts) {
    if (!host.has_ranks) continue;
    route.hosts.push_back({static_cast<double>(host.servers),
                           static_cast<double>(host.ranks - host.servers),
                           std::max(1.0, static_cast<double>(host.facts.cores))});
    placed += host.ranks;
  }
  if (placed == 0) {  // the job says itself which rank goes where
    const auto hosts = static_cast<double>(route.hosts.size());
    for (HostRanks& host : route.hosts) {
      host.servers = config.run().servers / hosts;
      host.workers = config.run().workers / hosts;
    }
  }
  double slowest = std::numeric_limits<double>::infinity();
  for (const ExaminedTransfer& transfer : seen.transfers) {
    if (transfer.problem.empty()) slowest = std::min({slowest, transfer.a_to_b, transfer.b_to_a});
  }
  if (std::isfinite(slowest) && slowest > 0) {
    route.bytes_per_s = slowest;
    route.text = fmt::format("the slowest link carries {} MB/s", readable_rate(slowest));
  } else {
    route.text = "the first, since no link could be measured (sheaf doctor says why)";
  }
  return route;
}

// How many vectors the worker with the most partitions pushes in a step: sums of whole nodes where
// they may be taken, else one for each partition.
double pushed_vectors(const RunConfig& config, bool lossless) {
  const RunSection& run = config.run();
  const bool sums = lossless && config.exact() && !config.make_mechanism()->perturbs_at_worker();
  const params::PartitionTree tree(run.partitions);
  std::size_t most = 1;
  for (std::uint32_t w = 0; w < run.workers; ++w) {
    const PartitionRange share = params::hosted_partitions(run.partitions, run.workers, w);
    most = std::max<std::size_t>(most, sums ? tree.cover(share).size() : share.count);
  }
  return static_cast<double>(most);
}

struct Candidate {
  std::string override;
  std::string kind;
  double seconds = 0;  // of a step, for each parameter; 0: not known
};

Candidate try_candidate(const JobArguments& job, bool pushes, const std::string& table,
                        const Route& route) {
  JobArguments with = job;
  with.overrides.push_back(fmt::format("compression.{}={}", pushes ? "push" : "pull", table));
  const RunConfig config = RunConfig::load(with.file, with.overrides);
  const compression::Codecs codecs = pushes ? config.make_push_codecs() : config.make_pull_codecs();
  const compression::Compressor* codec = codecs.usual.get();
  Candidate candidate{with.overrides.back(), pushes ? config.push_kind() : config.pull_kind()};
  if (route.memory) candidate.seconds = codec->identity() ? 0 : 1;
  if (!route.bytes_per_s) return candidate;
  const std::uint32_t lanes = config.network().lanes;
  const Way way = pushes ? way_of_pushes(route.hosts, pushed_vectors(config, codec->identity()),
                                         lanes, *route.bytes_per_s)
                         : way_of_pulls(route.hosts, lanes, *route.bytes_per_s);
  const bool feedback = pushes ? config.error_feedback() : config.pull_feedback();
  candidate.seconds = seconds_per_parameter(measure_codec(*codec, feedback), way);
  return candidate;
}

// An override that names the one to take.
std::string chosen(const JobArguments& job, bool pushes, const std::vector<std::string>& tables,
                   const Route& route, const Say& say) {
  std::vector<Candidate> candidates;
  std::vector<double> seconds;
  for (const std::string& table : tables) {
    candidates.push_back(try_candidate(job, pushes, table, route));
    seconds.push_back(candidates.back().seconds);
  }
  const Candidate& best = candidates[best_codec(seconds)];
  std::string text = fmt::format("compression.{}: auto takes {}: {}", pushes ? "push" : "pull",
                                 best.kind, route.text);
  if (route.bytes_per_s) {
    text += "; ns a parameter and step:";
    for (const Candidate& candidate : candidates) {
      text += fmt::format(" {} {:.2f}", candidate.kind, 1e9 * candidate.seconds);
    }
  }
  say(text);
  return best.override;
}

}  // namespace

TrainCommand with_compressors(TrainCommand command, const Say& say) {
  if (command.attach || command.dry_run) return command;
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  if (!config.chooses_push() && !config.chooses_pull()) return command;
  config.require_sound();
  const Route route =
      placement_of(config).one_host ? within_host(config) : between_hosts(config, command.job);
  const JobArguments job = command.job;
  if (config.chooses_push()) {
    command.job.overrides.push_back(chosen(job, true, config.push_candidates(), route, say));
  }
  if (config.chooses_pull()) {
    command.job.overrides.push_back(chosen(job, false, config.pull_candidates(), route, say));
  }
  return command;
}

}  // namespace sheaf::launcher
