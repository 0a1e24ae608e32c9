#include "worker/data/examples.h"

#include <algorithm>
#include <limits>

#include "common/base/error.h"

namespace sheaf::worker {

void Examples::reserve(std::size_t rows) {
  if (schema_.bytes) {
    bytes_.reserve(rows * schema_.features);
  } else {
    floats_.reserve(rows * schema_.features);
  }
  targets_.reserve(rows * schema_.targets);
  rows_.reserve(rows);
}

void Examples::append(std::uint64_t row, std::span<const std::uint8_t> inputs,
                      std::span<const float> targets) {
  check(schema_.bytes, "bytes for a schema of bytes");
  append_targets(row, inputs.size(), targets);
  bytes_.insert(bytes_.end(), inputs.begin(), inputs.end());
}

void Examples::append(std::uint64_t row, std::span<const float> inputs,
                      std::span<const float> targets) {
  check(!schema_.bytes, "floats for a schema of floats");
  append_targets(row, inputs.size(), targets);
  floats_.insert(floats_.end(), inputs.begin(), inputs.end());
}

void Examples::append_targets(std::uint64_t row, std::size_t inputs,
                              std::span<const float> targets) {
  check(inputs == schema_.features && targets.size() == schema_.targets, "example fits the schema");
  if (rows_.size() == std::numeric_limits<std::uint32_t>::max()) {
    fail(Fault::data, "one process keeps at most {} examples; use more workers", rows_.size());
  }
  rows_.push_back(row);
  targets_.insert(targets_.end(), targets.begin(), targets.end());
}

std::span<const float> Examples::targets(std::size_t i) const {
  return std::span(targets_).subspan(i * schema_.targets, schema_.targets);
}

std::span<const std::uint8_t> Examples::bytes(std::size_t i) const {
  return std::span(bytes_).subspan(i * schema_.features, schema_.features);
}

std::span<const float> Examples::floats(std::size_t i) const {
  return std::span(floats_).subspan(i * schema_.features, schema_.features);
}

void Examples::copy(std::size_t i, const Normaliser& normaliser, Batch& into,
                    std::size_t slot) const {
  const auto inputs = into.inputs.span().subspan(slot * schema_.features, schema_.features);
  if (schema_.bytes) {
    normaliser.apply(bytes(i), inputs);
  } else {
    normaliser.apply(floats(i), inputs);
  }
  std::ranges::copy(targets(i), into.targets.span().subspan(slot * schema_.targets).begin());
}

std::size_t Examples::memory() const {
  return bytes_.capacity() + sizeof(float) * (floats_.capacity() + targets_.capacity()) +
         sizeof(std::uint64_t) * rows_.capacity();
}

void Examples::prefetch(std::size_t i) const {
  constexpr std::size_t kLine = 64;    // bytes
  constexpr std::size_t kMost = 4096;  // the rest of a long row the processor foresees by itself
  const std::span<const std::byte> row =
      schema_.bytes ? std::as_bytes(bytes(i)) : std::as_bytes(floats(i));
  for (std::size_t at = 0; at < std::min(row.size(), kMost); at += kLine) {
    __builtin_prefetch(row.data() + at);
  }
}

void Examples::gather(std::span<const std::uint32_t> kept, const Normaliser& normaliser,
                      Batch& into) const {
  for (std::size_t slot = 0; slot < kept.size(); ++slot) copy(kept[slot], normaliser, into, slot);
  into.examples = kept.size();
}

}  // namespace sheaf::worker
