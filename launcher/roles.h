// From a job file to the two roles: what a server and what a worker is built from. Used by the
// ranks of a job and by benchmarks that run roles as threads. No sockets, no waiting.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "launcher/run_config.h"
#include "server/server.h"
#include "worker/worker.h"

namespace sheaf::launcher {

using Warn = std::function<void(const std::string&)>;

server::ServerOptions server_options(const RunConfig& config, std::uint32_t id,
                                     net::Credentials credentials, Warn warn);

// Owns what a worker::Worker borrows. The schema is read at once, the examples by load().
class WorkerRole {
 public:
  // Throws Fault::data if the data cannot be opened.
  WorkerRole(const RunConfig& config, std::uint32_t id);

  // Reads the examples of the hosted partitions and checks their targets. Throws Fault::data with
  // the place of the first bad one.
  void load(const worker::SumOverPartitions& sum);

  worker::PushPull::Options exchange_options(net::Credentials credentials, Warn warn) const;
  // REQUIRES: load() has returned.
  worker::WorkerParts parts(worker::PushPull& exchange, cluster::Coordination& coordination,
                            cluster::Shutdown& shutdown) const;

  const worker::Source& source() const { return *source_; }
  const worker::Model& model() const { return *model_; }
  const worker::BatchPlan& plan() const { return plan_; }
  const params::ChunkMap& chunks() const { return chunks_; }
  const params::ShardMap& shards() const { return shards_; }
  const compression::Compressor& pull() const { return *pull_; }
  PartitionRange hosted() const { return hosted_; }
  // REQUIRES: load() has returned.
  const worker::PartitionSet& data() const { return *data_; }
  const worker::Normaliser& normaliser() const { return normaliser_; }
  Step steps() const { return steps_; }  // of the whole job

 private:
  void check_targets() const;

  const RunConfig& config_;
  PartitionRange hosted_;
  std::unique_ptr<worker::Source> source_;
  std::unique_ptr<worker::Model> model_;
  worker::BatchPlan plan_;
  Step steps_;
  params::ChunkMap chunks_;
  params::ShardMap shards_;
  std::unique_ptr<compression::Compressor> push_;
  std::unique_ptr<compression::Compressor> pull_;
  std::unique_ptr<privacy::Mechanism> mechanism_;
  std::unique_ptr<optimization::Optimizer> inner_;  // of local steps, if there are any
  std::optional<optimization::Schedule> inner_schedule_;
  std::optional<worker::LocalSteps> local_;
  std::unique_ptr<worker::PartitionSet> data_;
  worker::Normaliser normaliser_;
};

}  // namespace sheaf::launcher
