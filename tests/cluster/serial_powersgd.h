// The two rounds of compressor powersgd over all partitions, written once more from the definitions
// in common/compression/low_rank.h and factors.h, with none of their code: matrices are tables, and
// nothing is pushed or pulled.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "common/base/ids.h"
#include "common/params/chunk_map.h"
#include "common/params/layout.h"

namespace sheaf::threads {

class SerialPowerSgd {
 public:
  using Sum = std::optional<std::vector<float>>;
  using TreeSum = std::function<Sum(const std::vector<Sum>& of_partitions)>;

  // `layout` is the model's, `chunks` cut from it; smaller tensors than `least` go as floats.
  // `lags`: pulls are differences, so that what is averaged arrives as w + (x - w).
  SerialPowerSgd(const params::Layout& layout, const params::ChunkMap& chunks, std::size_t rank,
                 std::size_t least, std::uint64_t seed, bool lags);

  // Of one step: what each partition wants to push (its gradient and what it has left out; nothing:
  // it has no examples) becomes what it does push, chunk by chunk.
  void take(Step step, std::uint64_t examples, const TreeSum& sum, std::vector<Sum>& wanted);
  // Whether a chunk is pushed as factors at all.
  bool has(std::size_t chunk) const;

 private:
  using Vectors = std::vector<std::vector<float>>;  // `rank` of them
  struct Table {
    std::size_t chunk = 0, offset = 0, size = 0, columns = 0, first = 0, rows = 0;
    Vectors right, left;  // as they were pulled last
  };
  template <typename Body>
  static void each(const Table& t, Body body);
  void average(const std::vector<Sum>& of_partitions, std::uint64_t examples, const TreeSum& sum,
               Vectors& into) const;
  static Vectors orthonormal(const Vectors& vectors);

  std::size_t rank_;
  std::uint64_t seed_;
  bool lags_;
  std::vector<Table> tables_;
};

}  // namespace sheaf::threads
