// The job of the simulation, and its parameters worked out by one serial loop.
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "common/base/random.h"
#include "common/math/kernels.h"
#include "tests/simulation/simulation.h"

namespace sheaf::simulation {

params::Layout layout() {
  params::Layout layout;
  layout.add("first.weight", {5, 9}, {1, 1});
  layout.add("first.bias", {9}, {1, 0});
  layout.add("frozen", {30}, {0, 1});
  layout.add("second.weight", {7, 11}, {0.5F, 1});
  layout.add("second.bias", {3}, {0.5F, 0});
  return layout;
}

bool is_still(const Options& options, const params::Group& group) {
  return options.still && group.rate_scale != 1;
}

namespace {

bool counts(const Options& options) { return options.gate == "ssp" || options.gate == "asp"; }

// One value in one of three steps.
bool is_bad(const Options& options, Step step, std::uint32_t partition,
            const params::Chunk& chunk) {
  if (!options.skip) return false;
  Stream stream(options.seed, Purpose::test, step, 0, 2);
  if (stream.next() % 3 != 0) return false;
  if (stream.next() % options.partitions != partition) return false;
  const std::size_t at = stream.next() % layout().size();
  return chunk.offset <= at && at < chunk.end();
}

}  // namespace

std::uint64_t examples(const Options& options, Step step, std::uint32_t partition) {
  if (options.dropped.contains({step, partition})) return 0;
  Stream stream(options.seed, Purpose::test, step, partition, 1);
  if (counts(options)) {  // powers of two, so that dividing by them is exact
    const std::uint64_t power = 1 + partition % 2;
    return options.exhausted && stream.next() % 3 == 0 ? 0 : power;
  }
  return options.exhausted ? stream.next() % 3 : 3 + partition % 2;
}

std::vector<float> first_parameters(const Options& options) {
  std::vector<float> values(layout().size(), 1000);
  if (counts(options)) return values;
  Stream stream(1, Purpose::test, 77);
  for (float& value : values) value = static_cast<float>(stream.normal());
  return values;
}

namespace {

// Of very different magnitudes, so that sums in another order differ in their last bits.
std::vector<float> moving_gradient(const Options& options, Step step, std::uint32_t partition,
                                   const params::Chunk& chunk, std::span<const float> parameters) {
  std::vector<float> values(chunk.size);
  if (counts(options) || options.feedback) {
    const auto count = static_cast<float>(examples(options, step, partition));
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = count * static_cast<float>((7 * partition + 3 * step + i) % 11);
    }
    return values;
  }
  Stream stream(2, Purpose::test, step, partition, chunk.offset);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double wide = std::ldexp(stream.uniform() - 0.5, static_cast<int>(stream.next() % 12));
    values[i] = static_cast<float>(wide) + 0.25F * parameters[i];
  }
  return values;
}

}  // namespace

std::vector<float> gradient(const Options& options, Step step, std::uint32_t partition,
                            const params::Chunk& chunk, std::span<const float> parameters) {
  std::vector<float> values = moving_gradient(options, step, partition, chunk, parameters);
  for (const params::GroupRange& range : chunk.ranges) {
    if (!is_still(options, layout().groups()[range.group])) continue;
    for (std::size_t i = 0; i < range.size; ++i) values[range.offset + i] = 0;
  }
  if (is_bad(options, step, partition, chunk)) {
    values[step % values.size()] = step % 2 == 0 ? std::numeric_limits<float>::infinity()
                                                 : std::numeric_limits<float>::quiet_NaN();
  }
  return values;
}

namespace {

std::uint32_t chunk_id(const params::Chunk& chunk) {
  static const params::Layout all = layout();
  static const params::ChunkMap chunks(all, kChunkBytes);
  return static_cast<std::uint32_t>(chunks.holding(chunk.offset));
}

// What one partition adds to a chunk: nothing, or its gradient as the compressor lets it through.
Sum leaf(const Options& options, Step step, std::uint32_t partition, const params::Chunk& chunk,
         std::span<const float> parameters) {
  if (examples(options, step, partition) == 0) return std::nullopt;
  if (const auto added = options.added.find({chunk_id(chunk), step, partition});
      added != options.added.end()) {
    return added->second;
  }
  auto values = gradient(options, step, partition, chunk, parameters);
  if (options.lossy_push) {
    for (float& value : values) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, 4);
      bits &= 0xffff0000U;
      std::memcpy(&value, &bits, 4);
      value += 0.0F;  // added to zero, as the server does: no negative zero is left
    }
  }
  return values;
}

}  // namespace

// Left half plus right half; the left one has the largest power of two below the width.
Sum node_sum(const Options& options, Step step, PartitionRange node, const params::Chunk& chunk,
             std::span<const float> parameters) {
  if (node.count == 1) return leaf(options, step, node.first, chunk, parameters);
  std::uint32_t half = 1;
  while (2 * half < node.count) half *= 2;
  Sum left = node_sum(options, step, {node.first, half}, chunk, parameters);
  const Sum right =
      node_sum(options, step, {node.first + half, node.count - half}, chunk, parameters);
  if (!left) return right;
  if (!right) return left;
  for (std::size_t i = 0; i < left->size(); ++i) (*left)[i] += (*right)[i];
  return left;
}

namespace {

// Each push by itself: whole numbers and halves and quarters of them, exact in any order.
Reference counted(const Options& options) {
  const params::Layout all = layout();
  const params::ChunkMap chunks(all, kChunkBytes);
  Reference result{first_parameters(options), 0};
  std::vector<float>& now = result.parameters;
  for (Step step = 0; step < options.steps; ++step) {
    for (std::uint32_t p = 0; p < options.partitions; ++p) {
      const auto count = static_cast<float>(examples(options, step, p));
      if (count == 0) continue;
      ++result.updates;
      for (const params::Chunk& chunk : chunks.chunks()) {
        const std::vector<float> values = *leaf(options, step, p, chunk, {});
        for (const params::GroupRange& range : chunk.ranges) {
          const float rate = kRate * all.groups()[range.group].rate_scale;
          for (std::size_t i = range.offset; i < range.offset + range.size; ++i) {
            now[chunk.offset + i] -= rate * (values[i] / count);
          }
        }
      }
    }
  }
  return result;
}

}  // namespace

Reference reference(const Options& options) {
  if (counts(options)) return counted(options);
  const params::Layout all = layout();
  const params::ChunkMap chunks(all, kChunkBytes);
  Reference result{first_parameters(), 0};
  std::vector<float>& now = result.parameters;
  for (Step step = 0; step < options.steps; ++step) {
    std::uint64_t count = 0;
    for (std::uint32_t p = 0; p < options.partitions; ++p) count += examples(options, step, p);
    if (count == 0) continue;
    std::vector<Sum> sums;
    double squares = 0;
    for (const params::Chunk& chunk : chunks.chunks()) {
      const auto old = std::span<const float>(now).subspan(chunk.offset, chunk.size);
      sums.push_back(node_sum(options, step, {0, options.partitions}, chunk, old));
      if (sums.back()) squares += math::sum_squares(*sums.back());
    }
    if (options.skip && !std::isfinite(squares)) continue;
    ++result.updates;
    double scale = 1;
    const double norm = std::sqrt(squares) / static_cast<double>(count);
    if (options.clip_norm != 0 && norm > options.clip_norm) scale = options.clip_norm / norm;
    const auto factor = static_cast<float>(scale / static_cast<double>(count));
    std::size_t c = 0;
    for (const params::Chunk& chunk : chunks.chunks()) {
      for (const params::GroupRange& range : chunk.ranges) {
        const float rate = kRate * all.groups()[range.group].rate_scale;
        for (std::size_t i = range.offset; i < range.offset + range.size; ++i) {
          now[chunk.offset + i] -= rate * (factor * (*sums[c])[i]);
        }
      }
      ++c;
    }
  }
  return result;
}

}  // namespace sheaf::simulation
