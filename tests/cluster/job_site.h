// What the job of the cluster tests is made of: its data, its model, and the parts that a rank
// makes for itself. Every function gives every rank, and the serial reference, the same.
#pragma once

#include <memory>

#include "common/compression/by_chunk.h"
#include "common/config/section.h"
#include "common/optimization/optimizer.h"
#include "common/params/chunk_map.h"
#include "common/params/shard_map.h"
#include "common/privacy/mechanism.h"
#include "tests/cluster/threaded_job.h"
#include "worker/data/batcher.h"
#include "worker/data/normaliser.h"
#include "worker/data/other_shares.h"
#include "worker/data/partition.h"
#include "worker/data/poisson_sampler.h"
#include "worker/data/source.h"
#include "worker/models/model.h"

namespace sheaf::threads {

inline constexpr std::uint64_t kSeed = 21;
inline constexpr std::size_t kChunkBytes = 128;

params::Layout job_layout(const JobOptions& options);
std::unique_ptr<privacy::Mechanism> make_mechanism(const JobOptions& options);
compression::Codecs make_codecs(bool lossy, const std::string& mode, const JobOptions& options);
std::unique_ptr<optimization::Optimizer> make_optimizer();
std::unique_ptr<optimization::Optimizer> make_inner_optimizer();  // of local steps
inline constexpr double kInnerRate = 0.01;

// Reads the examples of another worker.
worker::OtherShares::Load reader_of(const JobOptions& o, PartitionRange share);

// A worker's own copy of data and model.
struct Site {
  Site(const JobOptions& o, PartitionRange hosted, const worker::SumOverPartitions& sum);
  std::unique_ptr<worker::Source> source;
  worker::PartitionSet data;
  worker::BatchPlan plan;
  worker::PoissonSampler sampler;
  worker::Normaliser normaliser;
  std::unique_ptr<config::Document> document;
  worker::Model model;
  params::ChunkMap chunks;
  params::ShardMap shards;
  std::unique_ptr<compression::Compressor> push;
  std::unique_ptr<compression::Compressor> pull;
  std::unique_ptr<privacy::Mechanism> mechanism;
};

}  // namespace sheaf::threads
