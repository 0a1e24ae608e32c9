// Writes what one worker holds of a checkpoint: what the pushes of its partitions have left out
// (error feedback), as a safetensors file, and what the manifest has to say of it.
//
//   space reserved → header → chunks, each at its place → fdatasync → rename → fsync of the folders
//
// Whatever fails, this file has failed: nothing is tried twice. A writer that goes without having
// finished takes its file with it. Belongs to one thread.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "common/checkpoint/manifest.h"
#include "common/checkpoint/new_file.h"
#include "common/params/chunk_map.h"

namespace sheaf::checkpoint {

// What such a file is of. The references outlive its writer.
struct ResidualFileParts {
  const params::Layout& layout;
  const params::ChunkMap& chunks;
  PartitionRange partitions;  // of the worker
  std::uint32_t runs = 1;     // see StoredResidual
  std::string job;
  Step step = 0;
  std::uint32_t worker = 0;
  std::string host;
};

class ResidualFileWriter {
 public:
  // As DataFileWriter. Throws Fault::data naming the file.
  ResidualFileWriter(Disk& disk, std::filesystem::path checkpoints, ResidualFileParts parts);

  // One run of one chunk of one partition. Throws Fault::diverged naming both if a value is not
  // finite. REQUIRES: the partition is of this worker, and that was not written before.
  void write(std::uint32_t partition, std::uint32_t run, std::uint32_t chunk,
             std::span<const float> values);

  // Makes the file last and gives it its name. REQUIRES: every run of every chunk of every
  // partition was written; called once.
  WrittenFile finish();

 private:
  // Gives every chunk its place; returns all that stands before them.
  std::string plan();

  Disk& disk_;
  std::filesystem::path checkpoints_;
  ResidualFileParts parts_;
  NewFile file_;
  WrittenFile written_;
  std::vector<bool> has_;  // for each residual of written_
};

}  // namespace sheaf::checkpoint
