// Which part (train, validation, test) and which of P partitions each row of a source belongs to.
// A function of (rows, fractions, P, seed) alone, both ways in O(1) and without a table; so every
// process finds the same answer, whatever it hosts. Immutable; thread-safe.
//
// One keyed permutation gives each row a position. The first floor(rows * validation) positions are
// the validation part, the next floor(rows * test) the test part, the rest is for training. Within
// a part of n rows, partition p holds positions [floor(n p / P), floor(n (p + 1) / P)).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "common/base/random.h"

namespace sheaf::worker {

enum class Part : std::uint8_t { train, validation, test };

class Split {
 public:
  struct Fractions {
    double validation = 0;
    double test = 0;
  };

  // Splits what a source offers for training.
  // REQUIRES: rows > 0, partitions > 0, no problem(fractions), rows * partitions < 2^63.
  Split(std::uint64_t rows, Fractions fractions, std::uint32_t partitions, std::uint64_t seed);
  // A source's own test set: all rows are in Part::test. REQUIRES: as above.
  static Split of_test_set(std::uint64_t rows, std::uint32_t partitions, std::uint64_t seed);

  // Why these fractions split nothing sensible, or nothing.
  static std::optional<std::string> problem(Fractions fractions);

  struct Place {
    Part part = Part::train;
    std::uint32_t partition = 0;
    std::uint64_t index = 0;  // in the partition's share of the part
    bool operator==(const Place&) const = default;
  };
  Place place(std::uint64_t row) const;         // REQUIRES: row < rows()
  std::uint64_t row(const Place& place) const;  // the inverse. REQUIRES: index < size(part, p)

  std::uint64_t rows() const { return permutation_.size(); }
  std::uint32_t partitions() const { return partitions_; }
  std::uint64_t size(Part part) const { return sizes_[static_cast<std::size_t>(part)]; }
  std::uint64_t size(Part part, std::uint32_t partition) const;

 private:
  using Sizes = std::array<std::uint64_t, 3>;  // by Part
  Split(Sizes sizes, std::uint32_t partitions, const Permutation& permutation);
  std::uint64_t first_position(Part part) const;

  Permutation permutation_;
  std::uint32_t partitions_;
  Sizes sizes_;
};

// floor(n p / P): where partition p begins among n things dealt out in order.
// REQUIRES: n * P < 2^64.
constexpr std::uint64_t share_begin(std::uint64_t n, std::uint32_t p, std::uint32_t partitions) {
  return n * p / partitions;
}
constexpr std::uint64_t share_size(std::uint64_t n, std::uint32_t p, std::uint32_t partitions) {
  return share_begin(n, p + 1, partitions) - share_begin(n, p, partitions);
}

}  // namespace sheaf::worker
