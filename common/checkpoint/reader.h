// Reads ranges of the vector from a checkpoint, wherever they lie: a job with other servers and
// other chunks than the one that wrote it can go on from it.
// Not thread-safe: each thread has its own.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>

#include "common/checkpoint/extents.h"

namespace sheaf::checkpoint {

class Reader {
 public:
  // The manifest outlives the reader.
  Reader(Disk& disk, std::filesystem::path checkpoints, const Manifest& manifest)
      : manifest_(manifest), extents_(disk, std::move(checkpoints), manifest) {}

  // The parameters of elements [begin, begin + parameters.size()), and their state: as many runs of
  // as many floats, one after the other, or nothing if `state` is empty. Each extent that is
  // touched is checked; damage throws Fault::checkpoint saying where. Ascending ranges read each
  // extent once. REQUIRES: the range lies in the layout.
  void read(std::size_t begin, std::span<float> parameters, std::span<float> state);

  // What the pushes of a partition had left out of elements [begin, begin + values.size()), in the
  // same way. REQUIRES: the checkpoint has that run of the partition.
  void read_residual(std::uint32_t partition, std::uint32_t run, std::size_t begin,
                     std::span<float> values);

 private:
  // Makes the values of extents_ those of a chunk or residual.
  template <typename Stored>
  void load(const Stored& stored);

  const Manifest& manifest_;
  Extents extents_;
  const void* current_ = nullptr;  // whose values extents_ holds
};

}  // namespace sheaf::checkpoint
