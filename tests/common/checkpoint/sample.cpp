#include "tests/common/checkpoint/sample.h"

#include <gtest/gtest.h>

#include "common/checkpoint/reader.h"

namespace sheaf::checkpoint {

params::Layout odd_layout() {
  params::Layout layout;
  layout.add("a.weight", {7, 13}, {});
  layout.add("a.bias", {13}, {1, 0});
  layout.add("temperature", {}, {0.1F, 0});
  layout.add("b \"é\".weight", {5, 3, 3}, {});
  layout.add("b.bias", {3}, {1, 0});
  layout.add("c", {1, 257}, {0, 0});
  layout.add("d", {2}, {});
  return layout;
}

float value_of(Step step, std::uint32_t run, std::size_t element) {
  const float magnitude = static_cast<float>(1 + element + (std::size_t{run} << 16));
  return magnitude + static_cast<float>(step) / 64;
}

std::vector<float> parameters_of(Step step, std::size_t begin, std::size_t size) {
  std::vector<float> values;
  for (std::size_t i = begin; i < begin + size; ++i) values.push_back(value_of(step, 0, i));
  return values;
}

std::vector<float> state_of(Step step, std::uint32_t runs, std::size_t begin, std::size_t size) {
  std::vector<float> values;
  for (std::uint32_t run = 1; run <= runs; ++run) {
    for (std::size_t i = begin; i < begin + size; ++i) values.push_back(value_of(step, run, i));
  }
  return values;
}

DataFileParts Sample::parts(Step step, std::uint32_t server) const {
  return {.layout = layout,
          .chunks = chunks,
          .ids = shards.chunks_of({server, 0}),
          .state_per_parameter = state,
          .job = "odd",
          .step = step,
          .server = server,
          .host = "host" + std::to_string(server)};
}

WrittenFile Sample::write(Disk& disk, const std::filesystem::path& checkpoints, Step step,
                          std::uint32_t server) const {
  const DataFileParts of = parts(step, server);
  DataFileWriter writer(disk, checkpoints, of);
  for (auto id = of.ids.rbegin(); id != of.ids.rend(); ++id) {
    const params::Chunk& chunk = chunks[*id];
    writer.write(*id, parameters_of(step, chunk.offset, chunk.size),
                 state_of(step, state, chunk.offset, chunk.size));
  }
  return writer.finish().at(0);
}

Manifest Sample::empty_manifest(Step step) const {
  Manifest manifest;
  manifest.job = "odd";
  manifest.step = step;
  manifest.layout = layout;
  manifest.state_per_parameter = state;
  manifest.about = {{"seed", "7"}, {"optimizer", "adam \"é\""}};
  return manifest;
}

Manifest Sample::save(Disk& disk, const std::filesystem::path& checkpoints, Step step) const {
  Store store(disk, checkpoints);
  store.begin(step);
  Manifest manifest = empty_manifest(step);
  for (std::uint32_t s = 0; s < servers; ++s) {
    if (!parts(step, s).ids.empty()) manifest.add(write(disk, checkpoints, step, s));
  }
  store.commit(manifest);
  return manifest;
}

Manifest Sample::save_increment(Disk& disk, const std::filesystem::path& checkpoints, Step step,
                                const Manifest& older) const {
  Store store(disk, checkpoints);
  store.begin(step);
  Manifest manifest = empty_manifest(step);
  WrittenFile kept{older.files.at(0), {}};
  for (const StoredChunk& chunk : older.chunks) {
    if (chunk.file == 0) kept.chunks.push_back(chunk);
  }
  manifest.add(kept);
  manifest.add(write(disk, checkpoints, step, 1));
  store.commit(manifest);
  return manifest;
}

std::optional<Step> newest_step(Disk& disk, const std::filesystem::path& checkpoints) {
  const auto choice = Store(disk, checkpoints).newest_verified();
  if (!choice.manifest) return std::nullopt;
  const Manifest& manifest = *choice.manifest;
  std::vector<float> parameters(manifest.layout.size());
  std::vector<float> state(parameters.size() * manifest.state_per_parameter);
  Reader(disk, checkpoints, manifest).read(0, parameters, state);
  EXPECT_EQ(parameters, parameters_of(manifest.step, 0, parameters.size()));
  EXPECT_EQ(state, state_of(manifest.step, manifest.state_per_parameter, 0, parameters.size()));
  return manifest.step;
}

}  // namespace sheaf::checkpoint
