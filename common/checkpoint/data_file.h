// Writes what one server holds of a checkpoint, and says what the manifest has to say of it: a
// safetensors file of the chunks that have changed since an older checkpoint, its base, and the
// files of older ones that hold the others.
//
//   space for all reserved → each chunk that has changed, as they come → header → what is left of
//   the space given back → fdatasync → rename → fsync of the folders
//
// A file of an older checkpoint is named only if at least half of its extents are still in use, by
// this server; else what is left of it is written again. So the files that a checkpoint names are
// never more than twice as large as what it holds, whoever uses them. For the sake of headers and
// of open files, a server names the eight of which it uses most.
// Whatever fails, this part has failed: nothing is tried twice. A writer that goes without having
// finished takes its file with it. Belongs to one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "common/checkpoint/base.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/new_file.h"
#include "common/checkpoint/pieces.h"
#include "common/checkpoint/safetensors.h"
#include "common/params/chunk_map.h"

namespace sheaf::checkpoint {

// What a data file is of. The references outlive its writer.
struct DataFileParts {
  const params::Layout& layout;
  const params::ChunkMap& chunks;
  std::vector<std::uint32_t> ids;  // of the server's chunks, ascending
  std::uint32_t state_per_parameter = 0;
  bool view = false;  // the last run of state is what workers have, in the place of parameters
  std::string job;
  Step step = 0;
  std::uint32_t server = 0;
  std::string host;
};

class DataFileWriter {
 public:
  // Reserves the space that all chunks take. `checkpoints` exists; the folder of the step is made
  // if it is not there, as on a host that has a run directory of its own. Without a base, or with
  // one that has other state, everything is written. Throws Fault::data naming the file.
  // REQUIRES: the base is older, and stays until the manifest is on the disk.
  DataFileWriter(Disk& disk, std::filesystem::path checkpoints, DataFileParts parts,
                 std::unique_ptr<Base> base = nullptr);

  // One chunk: its parameters, and state_per_parameter runs of as many floats, one after the other.
  // Throws Fault::diverged naming the tensor if a value is not finite: that is never saved.
  // REQUIRES: the chunk is of this server and was not written before.
  void write(std::uint32_t chunk, std::span<const float> parameters, std::span<const float> state);

  // Makes the file last and gives it its name; there is none if nothing has changed. REQUIRES:
  // every chunk was written; called once.
  Part finish();

  std::uint64_t reserved_bytes() const { return reserved_; }

 private:
  // A chunk that the base has.
  struct Kept {
    std::size_t index;  // of the chunk in ids
    const StoredChunk* extent;
  };

  // Of every chunk: the longest header that any of them can make, in any order.
  void plan();
  std::string head(std::uint64_t bytes) const;
  std::vector<StoredTensor> tensors_of(const params::Chunk& chunk, std::uint64_t first) const;
  std::string run_name(std::uint32_t run, const Piece& piece) const;
  void require_finite(const params::Chunk& chunk, std::span<const float> parameters,
                      std::span<const float> state) const;
  void append(std::size_t index, std::span<const float> parameters, std::span<const float> state,
              std::uint32_t crc);
  // Which files of the base are named.
  std::vector<bool> choose_files() const;
  void write_the_rest();
  void publish();

  Disk& disk_;
  std::filesystem::path checkpoints_;
  DataFileParts parts_;
  std::unique_ptr<Base> base_;
  NewFile file_;
  std::uint64_t reserved_ = 0;
  WrittenFile own_;                    // as far as it is written
  std::vector<StoredTensor> tensors_;  // in it
  std::vector<Kept> kept_;
  std::vector<bool> has_;  // for each id
};

}  // namespace sheaf::checkpoint
