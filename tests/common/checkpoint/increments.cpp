#include "tests/common/checkpoint/increments.h"

#include "common/checkpoint/base.h"
#include "common/checkpoint/reader.h"

namespace sheaf::checkpoint {
namespace {

constexpr std::uint32_t kSize = 256;  // elements of a chunk

params::Layout one_tensor(std::uint32_t chunks) {
  params::Layout layout;
  layout.add("w", {chunks, kSize}, {});
  return layout;
}

}  // namespace

Increments::Increments(std::uint32_t chunks)
    : sample{.layout = one_tensor(chunks), .chunk_bytes = kSize * sizeof(float), .state = 1},
      changed_(chunks) {}

void Increments::change(const std::vector<std::uint32_t>& ids, Step step) {
  for (const std::uint32_t id : ids) changed_.at(id) = step;
}

Part Increments::write(Disk& disk, Step step, std::uint32_t server,
                       std::optional<Step> base) const {
  const params::ShardMap shards(sample.chunks, servers, 1);
  DataFileParts parts = sample.parts(step, 0);
  parts.server = server;
  parts.ids = shards.chunks_of({server, 0});
  DataFileWriter writer(disk, kRun, parts, base ? Base::open(disk, kRun, *base) : nullptr);
  for (const std::uint32_t id : parts.ids) {
    const params::Chunk& chunk = sample.chunks[id];
    writer.write(id, parameters_of(changed_[id], chunk.offset, chunk.size),
                 state_of(changed_[id], 1, chunk.offset, chunk.size));
  }
  return writer.finish();
}

Manifest Increments::write(Disk& disk, Step step, std::optional<Step> base) const {
  Manifest manifest = sample.empty_manifest(step);
  for (std::uint32_t s = 0; s < servers; ++s) {
    for (const WrittenFile& file : write(disk, step, s, base)) manifest.add(file);
  }
  return manifest;
}

Manifest Increments::save(Disk& disk, Step step, std::optional<Step> base) const {
  Store store(disk, kRun);
  store.begin(step);
  const Manifest manifest = write(disk, step, base);
  store.commit(manifest);
  return manifest;
}

bool holds(Disk& disk, const Manifest& manifest, const std::vector<Step>& changed) {
  Reader reader(disk, kRun, manifest);
  std::vector<float> parameters(kSize), state(kSize);
  for (std::uint32_t id = 0; id < changed.size(); ++id) {
    reader.read(std::size_t{id} * kSize, parameters, state);
    if (parameters != parameters_of(changed[id], std::size_t{id} * kSize, kSize)) return false;
    if (state != state_of(changed[id], 1, std::size_t{id} * kSize, kSize)) return false;
  }
  return true;
}

std::uint64_t file_bytes(const Manifest& manifest) {
  std::uint64_t sum = 0;
  for (const FileEntry& file : manifest.files) sum += file.bytes;
  return sum;
}

}  // namespace sheaf::checkpoint
