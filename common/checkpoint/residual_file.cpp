#include "common/checkpoint/residual_file.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/pieces.h"
#include "common/checkpoint/safetensors.h"
#include "common/math/kernels.h"
#include "common/wire/checksum.h"

namespace sheaf::checkpoint {
namespace {

std::filesystem::path folder_for(Disk& disk, std::filesystem::path folder) {
  disk.make_folder(folder);
  return folder;
}

}  // namespace

ResidualFileWriter::ResidualFileWriter(Disk& disk, std::filesystem::path checkpoints,
                                       ResidualFileParts parts)
    : disk_(disk),
      checkpoints_(std::move(checkpoints)),
      parts_(std::move(parts)),
      file_(disk, folder_for(disk, checkpoints_ / folder_name(parts_.step)) /
                      residual_file_name(parts_.worker)),
      has_(std::size_t{parts_.partitions.count} * parts_.runs * parts_.chunks.size()) {
  const std::string head = plan();
  file_->reserve(written_.file.bytes);
  file_->write_at(0, std::as_bytes(std::span(head)));
}

std::string ResidualFileWriter::plan() {
  std::vector<StoredTensor> tensors;
  std::uint64_t end = 0;  // elements
  for (std::uint32_t p = parts_.partitions.first; p < parts_.partitions.end(); ++p) {
    for (std::uint32_t run = 0; run < parts_.runs; ++run) {
      for (const params::Chunk& chunk : parts_.chunks.chunks()) {
        written_.residuals.push_back(
            {p, run, {chunk.offset, chunk.size, 0, end * sizeof(float), 0}});
        for (const Piece& piece : pieces_of(parts_.layout, chunk.offset, chunk.size)) {
          tensors.push_back(
              {residual_name(p, run, piece), piece.shape, end + piece.offset, piece.size});
        }
        end += chunk.size;
      }
    }
  }
  const std::string head = safetensors_head(
      tensors,
      {{"format", "sheaf checkpoint"}, {"job", parts_.job}, {"step", std::to_string(parts_.step)}});
  for (StoredResidual& residual : written_.residuals) residual.chunk.at += head.size();
  written_.file = {folder_name(parts_.step) + "/" + residual_file_name(parts_.worker),
                   head.size() + end * sizeof(float), head.size(),
                   wire::crc32c(std::as_bytes(std::span(head))), parts_.host};
  return head;
}

void ResidualFileWriter::write(std::uint32_t partition, std::uint32_t run, std::uint32_t chunk,
                               std::span<const float> values) {
  check(parts_.partitions.contains(partition) && run < parts_.runs && chunk < parts_.chunks.size(),
        "the residual is of this worker");
  const std::size_t nth = std::size_t{partition - parts_.partitions.first} * parts_.runs + run;
  const std::size_t index = nth * parts_.chunks.size() + chunk;
  check(values.size() == parts_.chunks[chunk].size, "the values fill the chunk");
  check(!has_[index], "a run of a chunk is written once");
  if (!math::all_finite(values)) {
    const params::Chunk& c = parts_.chunks[chunk];
    fail(Fault::diverged,
         "{}: what partition {} left out of {} is not finite: such a model is not saved",
         written_.file.name, partition, range_text(parts_.layout, c.offset, c.size));
  }
  StoredChunk& stored = written_.residuals[index].chunk;
  file_->write_at(stored.at, std::as_bytes(values));
  stored.crc = wire::crc32c(std::as_bytes(values));
  has_[index] = true;
}

WrittenFile ResidualFileWriter::finish() {
  check(std::ranges::find(has_, false) == has_.end(), "every chunk was written");
  file_.publish();
  disk_.sync_folder(checkpoints_);
  return std::move(written_);
}

}  // namespace sheaf::checkpoint
