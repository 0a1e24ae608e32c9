#include "worker/residuals/residuals.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/base/error.h"
#include "common/cluster/shared_links.h"

namespace sheaf::worker {

Residuals::Residuals(const Options& options) : options_(options) {
  for (std::uint32_t p = options.hosted.first; p < options.hosted.end(); ++p) {
    slots_.emplace_back(memory(p), shape(p));
  }
}

ResidualSlots::Shape Residuals::shape(std::uint32_t partition) const {
  return {options_.chunks, options_.push_bytes, partition, options_.runs};
}

std::span<std::byte> Residuals::memory(std::uint32_t partition) {
  const std::size_t bytes = ResidualSlots::bytes(shape(partition));
  if (options_.keeper != nullptr) {
    try {
      shared_.push_back(options_.keeper->memory(cluster::residuals_name(partition), bytes,
                                                net::SharedMemory::Access::write));
      return shared_.back().bytes();
    } catch (const Error& error) {
      options_.keeper = nullptr;
      options_.warn(fmt::format("what its pushes leave out is lost with it: {}", error.message()));
    }
  }
  return own_.emplace_back(bytes).span();
}

std::optional<std::uint32_t> Residuals::left_by() const {
  const auto first = slots_.front().owner();
  const bool all = std::ranges::all_of(
      slots_, [&](const ResidualSlots& slots) { return slots.owner() == first; });
  return all ? first : std::nullopt;
}

void Residuals::begin(Step first, const Restore& restore) {
  for (std::uint32_t p = options_.hosted.first; p < options_.hosted.end(); ++p) {
    ResidualSlots::Restore chunk_of = nullptr;
    if (restore) {
      chunk_of = [&](std::uint32_t chunk, std::span<float> values) {
        const params::Chunk& c = options_.chunks[chunk];
        for (std::uint32_t run = 0; run < options_.runs; ++run) {
          restore(p, run, c.offset, values.subspan(run * c.size, c.size));
        }
      };
    }
    of(p).begin(options_.incarnation, first, chunk_of);
  }
}

void Residuals::begin_without(Step first) {
  for (ResidualSlots& slots : slots_) slots.begin_without(options_.incarnation, first);
}

void Residuals::adopt() {
  check(left_by().has_value(), "somebody has left residuals here");
  for (ResidualSlots& slots : slots_) slots.adopt(options_.incarnation);
}

void Residuals::copy(Step step, std::span<float> into) const {
  check(into.size() == floats(), "there is room for the residuals of all partitions");
  for (const ResidualSlots& slots : slots_) {
    for (std::uint32_t c = 0; c < options_.chunks.size(); ++c) {
      const std::span<const float> values = slots.before(c, step);
      std::ranges::copy(values, into.begin());
      into = into.subspan(values.size());
    }
  }
}

}  // namespace sheaf::worker
