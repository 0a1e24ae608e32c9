#include "common/checkpoint/data_file.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "common/math/kernels.h"
#include "common/wire/checksum.h"

namespace sheaf::checkpoint {
namespace {

constexpr std::size_t kMostOlderFiles = 8;

std::filesystem::path made_folder(Disk& disk, std::filesystem::path folder) {
  disk.make_folder(folder);
  return folder;
}

}  // namespace

DataFileWriter::DataFileWriter(Disk& disk, std::filesystem::path checkpoints, DataFileParts parts,
                               std::unique_ptr<Base> base)
    : disk_(disk),
      checkpoints_(std::move(checkpoints)),
      parts_(std::move(parts)),
      base_(std::move(base)),
      file_(disk, made_folder(disk, checkpoints_ / folder_name(parts_.step)) /
                      data_file_name(parts_.server)),
      has_(parts_.ids.size()) {
  check(!base_ || base_->manifest().step < parts_.step, "the base is older");
  plan();
  file_->reserve(reserved_);
}

void DataFileWriter::plan() {
  const auto elements = [&](std::uint32_t id) {
    return parts_.chunks[id].size * (1 + std::uint64_t{parts_.state_per_parameter});
  };
  std::uint64_t all = 0;
  for (const std::uint32_t id : parts_.ids) all += elements(id);
  // Where a chunk will lie is not known yet: nowhere has it more digits than as the last one.
  for (const std::uint32_t id : parts_.ids) {
    const std::vector<StoredTensor> tensors = tensors_of(parts_.chunks[id], all - elements(id));
    tensors_.insert(tensors_.end(), tensors.begin(), tensors.end());
  }
  own_.file.header_bytes = head(0).size();
  reserved_ = own_.file.header_bytes + all * sizeof(float);
  own_.file.bytes = own_.file.header_bytes;
  own_.file.name = folder_name(parts_.step) + "/" + data_file_name(parts_.server);
  own_.file.host = parts_.host;
  tensors_.clear();
}

std::string DataFileWriter::head(std::uint64_t bytes) const {
  return safetensors_head(
      tensors_,
      {{"format", "sheaf checkpoint"}, {"job", parts_.job}, {"step", std::to_string(parts_.step)}},
      bytes);
}

// `first` element of the data.
std::vector<StoredTensor> DataFileWriter::tensors_of(const params::Chunk& chunk,
                                                     std::uint64_t first) const {
  std::vector<StoredTensor> tensors;
  const std::vector<Piece> pieces = pieces_of(parts_.layout, chunk.offset, chunk.size);
  for (std::uint32_t run = 0; run <= parts_.state_per_parameter; ++run, first += chunk.size) {
    for (const Piece& piece : pieces) {
      tensors.push_back({run == 0 ? piece.name : run_name(run - 1, piece), piece.shape,
                         first + piece.offset, piece.size});
    }
  }
  return tensors;
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

  const std::uint32_t crc =
      wire::crc32c(std::as_bytes(state), wire::crc32c(std::as_bytes(parameters)));
  const StoredChunk* const same =
      base_ ? base_->find(shape.offset, parameters, state, crc) : nullptr;
  if (same != nullptr) {
    kept_.push_back({index, same});
  } else {
    append(index, parameters, state, crc);
  }
  has_[index] = true;
}

void DataFileWriter::append(std::size_t index, std::span<const float> parameters,
                            std::span<const float> state, std::uint32_t crc) {
  const params::Chunk& chunk = parts_.chunks[parts_.ids[index]];
  const std::uint64_t at = own_.file.bytes;
  file_->write_at(at, std::as_bytes(parameters));
  if (!state.empty()) file_->write_at(at + parameters.size_bytes(), std::as_bytes(state));
  own_.file.bytes += parameters.size_bytes() + state.size_bytes();
  own_.chunks.push_back({chunk.offset, chunk.size, 0, at, crc});
  const auto tensors = tensors_of(chunk, (at - own_.file.header_bytes) / sizeof(float));
  tensors_.insert(tensors_.end(), tensors.begin(), tensors.end());
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
           own_.file.name, bad - values.begin(), run == 0 ? piece.name : run_name(run - 1, piece),
           *bad);
    }
  }
}

std::vector<bool> DataFileWriter::choose_files() const {
  const std::vector<FileEntry>& files = base_->manifest().files;
  std::vector<std::uint64_t> used(files.size());  // bytes
  for (const Kept& kept : kept_) {
    used[kept.extent->file] += base_->manifest().extent_bytes(*kept.extent);
  }
  std::vector<std::size_t> enough;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::uint64_t all = files[i].bytes - files[i].header_bytes;
    if (used[i] != 0 && used[i] >= all - used[i]) enough.push_back(i);
  }
  std::ranges::stable_sort(enough, std::greater(), [&](std::size_t i) { return used[i]; });
  enough.resize(std::min(enough.size(), kMostOlderFiles));
  std::vector<bool> chosen(files.size());
  for (const std::size_t i : enough) chosen[i] = true;
  return chosen;
}

// What lies in files that are not named.
void DataFileWriter::write_the_rest() {
  if (kept_.empty()) return;
  const std::vector<bool> chosen = choose_files();
  std::erase_if(kept_, [&](const Kept& kept) {
    const StoredChunk& extent = *kept.extent;
    if (chosen[extent.file]) return false;
    const std::span<const float> values = base_->read(extent);
    append(kept.index, values.first(extent.size), values.subspan(extent.size), extent.crc);
    return true;
  });
}

void DataFileWriter::publish() {
  const std::string text = head(own_.file.header_bytes);
  own_.file.header_crc = wire::crc32c(std::as_bytes(std::span(text)));
  file_->write_at(0, std::as_bytes(std::span(text)));
  if (own_.file.bytes != reserved_) file_->cut(own_.file.bytes);
  file_.publish();
  disk_.sync_folder(checkpoints_);
}

Part DataFileWriter::finish() {
  check(std::find(has_.begin(), has_.end(), false) == has_.end(), "every chunk was written");
  write_the_rest();
  Part part;
  if (!own_.chunks.empty()) {
    publish();
    part.push_back(std::move(own_));
  }
  for (const Kept& kept : kept_) {
    const FileEntry& file = base_->manifest().files[kept.extent->file];
    auto found = std::ranges::find(part, file, &WrittenFile::file);
    if (found == part.end()) found = part.insert(found, WrittenFile{file});
    found->chunks.push_back(*kept.extent);
  }
  return part;
}

}  // namespace sheaf::checkpoint
