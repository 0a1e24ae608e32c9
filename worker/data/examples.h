// The examples that one process keeps, in the order in which the source gave them: inputs as bytes
// or floats (as the schema says), targets as floats, and each row's number in the source. Owns its
// memory. One thread appends; after that, reading is thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "worker/data/batch.h"
#include "worker/data/normaliser.h"

namespace sheaf::worker {

class Examples {
 public:
  // How many rows ahead prefetch() is worth calling.
  static constexpr std::size_t kAhead = 2;

  explicit Examples(const Schema& schema) : schema_(schema) {}

  // Makes room for exactly `rows` examples.
  void reserve(std::size_t rows);

  // For sources. `row` counts from 0 over everything the source has, kept or not.
  // REQUIRES: as many inputs and targets as the schema says, bytes if and only if it says so.
  void append(std::uint64_t row, std::span<const std::uint8_t> inputs,
              std::span<const float> targets);
  void append(std::uint64_t row, std::span<const float> inputs, std::span<const float> targets);

  const Schema& schema() const { return schema_; }
  std::size_t size() const { return rows_.size(); }

  // Of the i-th kept example. REQUIRES: i < size(); bytes() and floats(): the schema's kind.
  std::uint64_t row(std::size_t i) const { return rows_[i]; }
  std::span<const float> targets(std::size_t i) const;
  std::span<const std::uint8_t> bytes(std::size_t i) const;
  std::span<const float> floats(std::size_t i) const;

  // What they take, in bytes.
  std::size_t memory() const;

  // Writes example i, normalised, to row `slot` of `into`. Allocates nothing.
  // REQUIRES: `into` has room for the row.
  void copy(std::size_t i, const Normaliser& normaliser, Batch& into, std::size_t slot) const;
  // Starts to bring example i into the cache. A row in random order is a wait for the memory else.
  void prefetch(std::size_t i) const;
  // Makes `into` the batch of these kept examples, in this order. Allocates nothing.
  // REQUIRES: `into` has room for them.
  void gather(std::span<const std::uint32_t> kept, const Normaliser& normaliser, Batch& into) const;

 private:
  void append_targets(std::uint64_t row, std::size_t inputs, std::span<const float> targets);

  Schema schema_;
  std::vector<std::uint8_t> bytes_;  // (size x features), or
  std::vector<float> floats_;        // the same as floats
  std::vector<float> targets_;       // (size x targets)
  std::vector<std::uint64_t> rows_;
};

}  // namespace sheaf::worker
