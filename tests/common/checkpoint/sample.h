// A small model, the checkpoints of it that two servers would write, and what must be in them.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "common/checkpoint/data_file.h"
#include "common/checkpoint/store.h"
#include "common/params/chunk_map.h"
#include "common/params/shard_map.h"

namespace sheaf::checkpoint {

inline const std::filesystem::path kRun = "/run/checkpoints";

// Steps of the checkpoint that is there, and of the one that is being written when a fault comes.
constexpr Step kOld = 110;
constexpr Step kNew = 120;

// Tensors of odd shapes: cut into pieces, several in one chunk, a scalar, names that JSON escapes.
params::Layout odd_layout();

// Float `run` (0 = the parameter, then its state) of an element at a step: a closed form, exact in
// a float, never zero.
float value_of(Step step, std::uint32_t run, std::size_t element);
// Runs 1 to `runs` of a range, one after the other.
std::vector<float> state_of(Step step, std::uint32_t runs, std::size_t begin, std::size_t size);
std::vector<float> parameters_of(Step step, std::size_t begin, std::size_t size);

struct Sample {
  params::Layout layout = odd_layout();
  std::size_t chunk_bytes = 256;
  std::uint32_t servers = 2;
  std::uint32_t state = 2;
  params::ChunkMap chunks{layout, chunk_bytes};
  params::ShardMap shards{chunks, servers, 1};

  DataFileParts parts(Step step, std::uint32_t server) const;
  // The data file of one server, which has chunks: from the last to the first.
  WrittenFile write(Disk& disk, const std::filesystem::path& checkpoints, Step step,
                    std::uint32_t server) const;
  // Without files.
  Manifest empty_manifest(Step step) const;
  // A whole checkpoint, in the order of FORMAT.md.
  Manifest save(Disk& disk, const std::filesystem::path& checkpoints, Step step) const;
  // One in which only server 1 has written anew; the chunks of server 0 are those of `older`.
  Manifest save_increment(Disk& disk, const std::filesystem::path& checkpoints, Step step,
                          const Manifest& older) const;
};

// Expects the newest checkpoint that verifies to be whole and to hold the values of its step;
// returns the step, or nothing if there is none.
std::optional<Step> newest_step(Disk& disk, const std::filesystem::path& checkpoints);

}  // namespace sheaf::checkpoint
