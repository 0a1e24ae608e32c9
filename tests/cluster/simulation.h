// A whole job in one thread: the real Shards and Exchanges, frames through the real wire code, a
// virtual clock, and a network that delays, reorders, loses and repeats frames by a seed.
// Partitions move between workers in the middle of a step: a worker dies and another takes over or
// is replaced, a living one gives partitions away, a connection breaks.
//
// In bsp gradients are a pure function of (partition, step, parameters), so the right parameters
// after any step can be worked out serially (reference()), without anything that is tested here.
// Behind `drop` the same loop is told which partitions steps went without, which must be the same
// for all chunks. With other gates they are whole numbers that only name partition, step and place:
// a workload that counts, whose sum is exact in any order. The history of each lane is checked,
// too.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <queue>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/base/random.h"
#include "common/params/partition_tree.h"
#include "server/shard/shard.h"
#include "tests/server/shard/shard_job.h"
#include "worker/client/exchange.h"

namespace sheaf::simulation {

inline constexpr float kRate = 0.5F;
inline constexpr std::size_t kChunkBytes = 128;

struct Options {
  std::uint64_t seed = 1;
  std::uint32_t partitions = 4;
  std::uint32_t workers = 2;
  std::uint32_t servers = 1;
  std::uint32_t lanes = 1;
  Step steps = 6;
  std::string gate = "bsp";
  std::string gate_keys;
  std::uint32_t window = 3;
  double clip_norm = 0;
  bool lossy_push = false;  // then each partition pushes for itself
  bool exhausted = false;   // some partitions have no examples in some steps
  // Moves, deaths, broken connections, spread over the job. Partitions move in bsp only.
  std::uint32_t faults = 0;
  double loss = 0;            // of frames between workers and servers, both ways
  double repetition = 0;      // of frames
  std::uint32_t slow = 0;     // so many times as long takes a step of the last worker
  std::uint64_t delay = 100;  // virtual microseconds, at most
  // For reference() alone: partitions that steps went without.
  std::set<std::pair<Step, std::uint32_t>> dropped = {};
};

// What is the same in every job: the layout (one group frozen) and its chunks.
params::Layout layout();
// How many examples a partition has in a step.
std::uint64_t examples(const Options& options, Step step, std::uint32_t partition);
// One partition's gradient of one chunk, given that chunk's parameters.
std::vector<float> gradient(const Options& options, Step step, std::uint32_t partition,
                            const params::Chunk& chunk, std::span<const float> parameters);
std::vector<float> first_parameters(const Options& options = {});
// What a node of the partition tree adds to a chunk, summed serially; nothing without examples.
using Sum = std::optional<std::vector<float>>;
Sum node_sum(const Options& options, Step step, PartitionRange node, const params::Chunk& chunk,
             std::span<const float> parameters);
// The parameters after options.steps, computed by one loop.
std::vector<float> reference(const Options& options);

struct Outcome {
  // Of each worker that lived to the end; where pushes are steps, of the servers, whole.
  std::vector<std::vector<float>> parameters;
  std::uint64_t duplicates = 0;  // pushes that servers saw again
  std::uint64_t partial = 0;     // pushes answered with what was missing
  std::uint64_t moves = 0;       // faults that took place
  bool chunks_apart = false;     // at some time, chunks of one server stood at different versions
  Step most_ahead = 0;           // of the slowest partition, when one read
  std::set<std::pair<Step, std::uint32_t>> dropped;  // partitions that steps went without
  std::uint64_t dropped_pushes = 0;                  // the same, as servers count them
};

// Runs the job. Throws Error with who waits for whom if it comes to a standstill.
Outcome run(const Options& options);

}  // namespace sheaf::simulation
