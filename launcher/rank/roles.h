// From a job file to the two roles: what a server and what a worker is built from. Used by the
// ranks of a job and by benchmarks that run roles as threads. No sockets, no waiting.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "launcher/config/run_config.h"
#include "server/server.h"
#include "worker/worker.h"

namespace sheaf::launcher {

using Warn = std::function<void(const std::string&)>;

server::ServerOptions server_options(const RunConfig& config, std::uint32_t id,
                                     net::Credentials credentials, Warn warn);

// What an audit of a private job has in the place of its data and model, and how it looks on.
struct RoleChanges {
  std::function<std::unique_ptr<worker::Source>()> source;  // all of it is for training
  std::function<std::unique_ptr<worker::Model>()> model;
  // Of the source. A sample takes as large a part of it as the job does of so many examples.
  std::uint64_t batch = 1;
  std::uint64_t sampled_from = 1;
  Step steps = 0;
  // Of every mechanism, once it is armed with this noise and these secrets.
  std::function<std::unique_ptr<privacy::Mechanism>(std::unique_ptr<privacy::Mechanism>)> mechanism;
  double noise = 0;
  wire::JobKey sampling_secret, noise_secret;
};

// Owns what a worker::Worker borrows. The schema is read at once, the examples by load().
class WorkerRole {
 public:
  // Throws Fault::data if the data cannot be opened. The changes, if there are any, outlive it.
  WorkerRole(const RunConfig& config, std::uint32_t id, const RoleChanges* changes = nullptr);

  // Under privacy, when the job has begun: so much noise, and the secret of the workers. Before
  // exchange_options() and parts().
  void protect(double noise, const wire::Digest& secret);

  // Reads the examples of the hosted partitions and checks their targets. Throws Fault::data with
  // the place of the first bad one.
  void load(const worker::SumOverPartitions& sum);

  // If the job asks for it, parts() say how; `say` is told what is kept for that, from any thread.
  void stand_in_for_others(Warn say);

  // If the job keeps what pushes leave out: in memory of the keeper, if there is one, in the name
  // of the worker's incarnation. Before parts(); the caller begins them.
  void keep_residuals(cluster::KeeperClient* keeper, std::uint32_t incarnation, Warn warn);
  worker::Residuals* residuals() { return residuals_.get(); }  // null: none are kept

  worker::PushPull::Options exchange_options(net::Credentials credentials, Warn warn) const;
  // REQUIRES: load() has returned, and residuals that are kept have begun.
  worker::WorkerParts parts(worker::PushPull& exchange, cluster::Coordination& coordination,
                            cluster::Shutdown& shutdown) const;

  const worker::Source& source() const { return *source_; }
  const worker::Model& model() const { return *model_; }
  const worker::BatchPlan& plan() const { return plan_; }
  // Null where batches are shuffled.
  const worker::PoissonSampler* sampler() const { return sampler_ ? &*sampler_ : nullptr; }
  // Of the job's vector: the model's parameters, and what is averaged behind them.
  const params::Layout& layout() const { return layout_; }
  const params::ChunkMap& chunks() const { return chunks_; }
  const params::ShardMap& shards() const { return shards_; }
  const compression::Compressor& pull() const { return *pull_; }
  PartitionRange hosted() const { return hosted_; }
  // REQUIRES: load() has returned.
  const worker::PartitionSet& data() const { return *data_; }
  const worker::Normaliser& normaliser() const { return normaliser_; }
  Step steps() const { return steps_; }  // of the whole job

 private:
  worker::Partitioning partitioning() const;
  void sample_by(const wire::Digest& secret);
  std::uint64_t sampled_from() const;
  void check_targets() const;
  worker::OtherShares::Load reader_of(PartitionRange share) const;

  const RunConfig& config_;
  const RoleChanges* changes_;  // null: none
  PartitionRange hosted_;
  std::unique_ptr<worker::Source> source_;
  std::unique_ptr<worker::Model> model_;
  worker::BatchPlan plan_;
  std::optional<worker::PoissonSampler> sampler_;
  Step steps_;
  params::Layout layout_;
  params::ChunkMap chunks_;
  params::ShardMap shards_;
  std::unique_ptr<compression::Compressor> push_;
  std::unique_ptr<compression::Compressor> pull_;
  std::unique_ptr<privacy::Mechanism> mechanism_;
  std::unique_ptr<optimization::Optimizer> inner_;  // of local steps, if there are any
  std::optional<optimization::Schedule> inner_schedule_;
  std::optional<worker::LocalSteps> local_;
  std::optional<worker::StandInPlan> stand_in_;
  std::unique_ptr<worker::Residuals> residuals_;
  std::unique_ptr<worker::PartitionSet> data_;
  worker::Normaliser normaliser_;
};

}  // namespace sheaf::launcher
