// Writes what one server holds of a checkpoint: a safetensors file whose chunks may be handed over
// in any order, and what the manifest has to say of it.
//
//   space reserved → header → chunks, each at its place → fdatasync → rename → fsync of the folders
//
// Whatever fails, this file has failed: nothing is tried twice. A writer that goes without having
// finished takes its file with it.
// Threads may write different chunks at once; the rest belongs to one thread, which calls finish()
// after all have written.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "common/checkpoint/manifest.h"
#include "common/checkpoint/new_file.h"
#include "common/checkpoint/pieces.h"
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
  // Reserves all space and writes the header. `checkpoints` exists; the folder of the step is made
  // if it is not there, as on a host that has a run directory of its own. Throws Fault::data naming
  // the file.
  DataFileWriter(Disk& disk, std::filesystem::path checkpoints, DataFileParts parts);

  // One chunk: its parameters, and state_per_parameter runs of as many floats, one after the other.
  // Throws Fault::diverged naming the tensor if a value is not finite: that is never saved.
  // REQUIRES: the chunk is of this server and was not written before.
  void write(std::uint32_t chunk, std::span<const float> parameters, std::span<const float> state);

  // Makes the file last and gives it its name. REQUIRES: every chunk was written; called once.
  WrittenFile finish();

  std::uint64_t bytes() const { return written_.file.bytes; }  // of the whole file

 private:
  // Gives every chunk its place; returns all that stands before them.
  std::string plan();
  std::string run_name(std::uint32_t run, const Piece& piece) const;
  void require_finite(const params::Chunk& chunk, std::span<const float> parameters,
                      std::span<const float> state) const;

  Disk& disk_;
  std::filesystem::path checkpoints_;
  DataFileParts parts_;
  NewFile file_;
  WrittenFile written_;
  std::vector<char> has_;  // for each id; not bool, which would share bytes between threads
};

}  // namespace sheaf::checkpoint
