// A job whose ranks are threads of this process: the very Server and Worker objects that run under
// mpirun, over connected socket pairs or loopback TCP, with the coordinator's part in memory. And
// the same training worked out serially, by one loop over the partitions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "common/base/ids.h"
#include "common/optimization/non_finite.h"
#include "worker/worker.h"

namespace sheaf::threads {

struct JobOptions {
  std::uint32_t partitions = 4;
  std::uint32_t workers = 2;
  std::uint32_t servers = 1;
  std::uint32_t lanes = 1;
  std::uint64_t examples = 60;  // before a fifth is split off for validation
  std::uint64_t batch = 12;
  bool poisson = false;  // each example with its probability, for itself
  Step steps = 8;
  double rate = 0.01;
  bool rate_changes = false;  // half as much in step 0; from step 2 on it falls to 0 at step 10
  std::string gate = "bsp";
  std::uint32_t local_steps = 0;  // of "local"; the inner optimizer is momentum
  double clip_norm = 0;
  // A row whose target is so large that the gradient of its partition is not finite.
  std::optional<std::uint64_t> spoilt_row = {};
  optimization::NonFinite non_finite = optimization::NonFinite::abort;
  bool lossy_push = false;
  bool lossy_pull = false;
  // Instead: a mode and, line by line, its options.
  std::string push = "";
  std::string pull = "";
  bool feedback = false;
  std::optional<double> estimates = {};  // or EF21, with such a momentum
  bool pull_feedback = false;
  std::size_t exempt_below = 0;  // both ways
  // Both ways, of tensors with such names: a mode and its options.
  std::vector<std::pair<std::string, std::string>> layers = {};
  bool noise = false;  // each partition adds its own
  // "central" or "local": the Gaussian mechanism; "correlated": noise that steps share.
  std::string privacy = "";
  bool adaptive = false;    // with it: the clipping norm follows the quantile 0.7 of the norms
  std::uint64_t users = 0;  // with poisson: so many are what is dealt out, drawn (3 examples of
                            // each at most) and protected; 0: examples are
  bool tcp = false;         // loopback TCP with handshakes; else socket pairs
  bool shared = false;      // with tcp: and memory that all ranks share
  std::uint32_t apart = 0;  // with shared: so many workers, the first ones, share nothing
  bool tls = false;         // with tcp: encrypted
  // With tcp: after so many bytes each of the first connections to every lane is cut.
  std::vector<std::size_t> cuts = {};
  // What each worker hosts, if not its usual share. Ranges may overlap, as while partitions move.
  std::vector<PartitionRange> hosted = {};
  // Worker 0 begins a step only when worker 1 has all its pushes of that step acknowledged (except
  // in the last one).
  bool in_turn = false;
  // With "speculate": that worker is so late in three steps of four (but not in the last one) that
  // another one has to compute its part: it begins when its losses have been reported by somebody
  // else. Before every fourth step there may be an evaluation, for which all wait.
  std::optional<std::uint32_t> late = {};
};

struct Result {
  std::vector<float> model;                         // as handed over by the host of partition 0
  std::map<std::string, std::vector<double>> sums;  // evaluations, by tag
  std::vector<double> losses;                       // mean over the examples of each step
  std::size_t loss_reports = 0;                     // of a partition in a step
  std::vector<worker::WorkerReport> reports;        // by worker
  std::uint64_t duplicates = 0;
  std::uint64_t stood_in = 0;
  std::uint64_t dropped = 0;
  std::set<Step> skipped;  // steps that servers left out, and partitions that workers did
  std::set<std::pair<Step, std::uint32_t>> rejected;
  std::size_t shared_lanes = 0;  // of all workers
  std::size_t cuts = 0;          // connections that were
};

// Trains to the end. Throws the first failure of any rank; all others have ended by then.
Result run(const JobOptions& options);

struct Reference {
  std::vector<float> model;
  std::size_t chunks = 0;
  std::size_t vector_bytes = 0;
  std::set<Step> skipped;
  std::set<std::pair<Step, std::uint32_t>> rejected;
};
Reference reference(const JobOptions& options);

// What a model gives on the whole training part, summed as evaluations are reported.
std::vector<double> train_sums(const JobOptions& options, std::span<const float> model);

}  // namespace sheaf::threads
