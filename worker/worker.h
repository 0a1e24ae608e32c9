// The front door of a worker process: trains the partitions it hosts against the servers of the
// job. The same object runs under mpirun and as a thread of a test.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "common/cluster/coordination.h"
#include "common/cluster/shutdown.h"
#include "common/compression/compressor.h"
#include "common/params/chunk_map.h"
#include "common/params/shard_map.h"
#include "common/privacy/mechanism.h"
#include "worker/client/push_pull.h"
#include "worker/data/batch_plan.h"
#include "worker/data/normaliser.h"
#include "worker/data/other_shares.h"
#include "worker/data/partition.h"
#include "worker/data/poisson_sampler.h"
#include "worker/models/model.h"
#include "worker/residuals/residual_saver.h"
#include "worker/residuals/residuals.h"
#include "worker/step/replica.h"

namespace sheaf::worker {

class TrainingStep;

// How a worker computes for others who are late.
struct StandInPlan {
  double after = 0;  // it has waited so many times its own part of a step
  OtherShares::Prepare read;
  std::function<void(const std::string&)> say;
};

// What a worker borrows; everything outlives it.
struct WorkerParts {
  const PartitionSet& data;
  const BatchPlan& plan;
  const Normaliser& normaliser;
  Model& model;
  const params::ChunkMap& chunks;
  const compression::Compressor& push;
  const privacy::Mechanism& mechanism;
  PushPull& exchange;  // connected and started; run() leaves it stopped
  cluster::Coordination& coordination;
  cluster::Shutdown& shutdown;
  bool synchronous = true;  // every step has the pushes of all partitions
  bool drops = false;       // or of all but the last ones, which go on from the newest version
  // Steps go on without whoever is late, whose part others compute; null: they do not.
  const StandInPlan* stand_in = nullptr;
  optimization::NonFinite non_finite = optimization::NonFinite::abort;
  const LocalSteps* local =
      nullptr;  // of a partition by itself; then a step of the plan is a round
  // Draws the batches, where the plan is of Poisson sampling.
  const PoissonSampler* sampler = nullptr;
  // What lossy pushes leave out, which goes with the next ones, and who saves it. Null: nobody
  // keeps it; it is not saved.
  Residuals* residuals = nullptr;
  ResidualSaver* saver = nullptr;
  // EF21: residuals are what servers have been told of gradients, taken with such a momentum
  // (compression/estimate_feedback.h). Nothing: they are what was left out.
  std::optional<double> estimates = {};
};

struct WorkerOptions {
  std::uint64_t seed = 0;
  Step first = 0;            // to take; 0 = the job begins, and with it the model
  Step steps = 0;            // of the job
  std::size_t prefetch = 2;  // batches
  bool evaluate = true;  // after epochs and at the end; a benchmark does not want to wait for it
};

struct WorkerReport {
  Step steps = 0;      // of the final model
  double seconds = 0;  // first gradient to last applied step
  double waited_seconds = 0;
  wire::Traffic traffic;
  std::uint64_t stood_in = 0;  // times that it has computed a late worker's part of a step
};

// The names under which evaluations are handed to the coordinator: "<part> <step>" with the sums of
// a metrics::Tally, and "<part> <step> scores" with its scores.
class Worker {
 public:
  Worker(const WorkerParts& parts, const WorkerOptions& options);
  // Fills in what the exchange of such a worker needs: how many workspaces, and how large.
  static void plan_exchange(const params::ChunkMap& chunks, const compression::Compressor& push,
                            const privacy::Mechanism& mechanism, bool synchronous,
                            PushPull::Options& options);

  // Trains to the end (or until the job drains), evaluates the final model, hands it over.
  // Throws when the job fails.
  WorkerReport run();

 private:
  Step catch_up(TrainingStep& training, Step step);
  Step step_of_first_chunk(Step step);
  Step first_open_step(Step step);
  std::span<const float> read_whole(Step step);
  void meet(std::string_view when, Step step);
  bool evaluates(Part part) const;
  void evaluate(Part part, Step step, std::span<const float> parameters);

  WorkerParts parts_;
  WorkerOptions options_;
  Batch block_;  // for evaluation
};

}  // namespace sheaf::worker
