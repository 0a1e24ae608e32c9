#include "common/checkpoint/data_file.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/pieces.h"
#include "common/checkpoint/safetensors.h"
#include "common/math/kernels.h"
#include "common/wire/checksum.h"

namespace sheaf::checkpoint {
namespace {

std::filesystem::path made_folder(Disk& disk, std::filesystem::path folder) {
  disk.make_folder(folder);
  return folder;
}

}  // namespace

DataFileWriter::DataFileWriter(Disk& disk, std::filesystem::path checkpoints, DataFileParts parts)
    : disk_(disk),
      checkpoints_(std::move(checkpoints)),
      parts_(std::move(parts)),
      file_(disk, made_folder(disk, checkpoints_ / folder_name(parts_.step)) /
                      data_file_name(parts_.server)),
      has_(parts_.ids.size(), 0) {
  const std::string head = plan();
  file_->reserve(written_.file.bytes);
  file_->write_at(0, std::as_bytes(std::span(head)));
}

std::string DataFileWriter::plan() {
  std::vector<StoredTensor> tensors;
  std::uint64_t end = 0;  // elements
  for (const std::uint32_t id : parts_.ids) {
    const params::Chunk& chunk = parts_.chunks[id];
    written_.chunks.push_back({chunk.offset, chunk.size, 0, end * sizeof(float), 0});
    const std::vector<Piece> pieces = pieces_of(parts_.layout, chunk.offset, chunk.size);
    for (const Piece& piece : pieces) {
      tensors.push_back({piece.name, piece.shape, end + piece.offset, piece.size});
    }
    end += chunk.size;
    for (std::uint32_t run = 0; run < parts_.state_per_parameter; ++run, end += chunk.size) {
      for (const Piece& piece : pieces) {
        tensors.push_back({run_name(run, piece), piece.shape, end + piece.offset, piece.size});
      }
    }
  }
  const std::string head = safetensors_head(
      tensors,
      {{"format", "sheaf checkpoint"}, {"job", parts_.job}, {"step", std::to_string(parts_.step)}});
  for (StoredChunk& chunk : written_.chunks) chunk.at += head.size();
  written_.file = {folder_name(parts_.step) + "/" + data_file_name(parts_.server),
                   head.size() + end * sizeof(float), head.size(),
                   wire::crc32c(std::as_bytes(std::span(head))), parts_.host};
  return head;
}

std::string DataFileWriter::run_name(std::uint32_t run, const Piece& piece) const {
  const bool is_view = parts_.view && run + 1 == parts_.state_per_parameter;
  return is_view ? view_name(piece) : state_name(run, piece);
}

void DataFileWriter::write(std::uint32_t chunk, std::span<const float> parameters,
                           std::span<const float> state) {
  const auto found = std::lower_bound(parts_.ids.begin(), parts_.ids.end(), chunk);
  check(found != parts_.ids.end() && *found == chunk, "the chunk is of this server");
  const auto index = static_cast<std::size_t>(found - parts_.ids.begin());
  const params::Chunk& shape = parts_.chunks[chunk];
  check(parameters.size() == shape.size, "the parameters fill the chunk");
  check(state.size() == shape.size * parts_.state_per_parameter, "the state fills the chunk");
  check(!has_[index], "a chunk is written once");
  require_finite(shape, parameters, state);

  const std::span<const std::byte> head = std::as_bytes(parameters);
  const std::span<const std::byte> tail = std::as_bytes(state);
  StoredChunk& stored = written_.chunks[index];
  file_->write_at(stored.at, head);
  if (!tail.empty()) file_->write_at(stored.at + head.size(), tail);
  stored.crc = wire::crc32c(tail, wire::crc32c(head));
  has_[index] = 1;
}

void DataFileWriter::require_finite(const params::Chunk& chunk, std::span<const float> parameters,
                                    std::span<const float> state) const {
  if (math::all_finite(parameters) && math::all_finite(state)) return;
  const auto pieces = pieces_of(parts_.layout, chunk.offset, chunk.size);
  for (std::uint32_t run = 0; run <= parts_.state_per_parameter; ++run) {
    for (const Piece& piece : pieces) {
      const auto values = run == 0
                              ? parameters.subspan(piece.offset, piece.size)
                              : state.subspan((run - 1) * chunk.size + piece.offset, piece.size);
      if (math::all_finite(values)) continue;
      const auto bad = std::find_if_not(values.begin(), values.end(),
                                        [](float value) { return std::isfinite(value); });
      fail(Fault::diverged,
           "{}: element {} of {} is {}, expected finite values: such a model is not saved",
           written_.file.name, bad - values.begin(),
           run == 0 ? piece.name : run_name(run - 1, piece), *bad);
    }
  }
}

WrittenFile DataFileWriter::finish() {
  check(std::find(has_.begin(), has_.end(), 0) == has_.end(), "every chunk was written");
  file_.publish();
  disk_.sync_folder(checkpoints_);
  return std::move(written_);
}

}  // namespace sheaf::checkpoint
