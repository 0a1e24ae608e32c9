#include "server/replica/chunk_copy.h"

#include <utility>

#include "common/base/error.h"

namespace sheaf::server {
namespace {

// header.value of a part; runs of state count from kState.
constexpr std::uint64_t kNewest = 0, kBefore = 1, kClocks = 2, kScalar = 3, kView = 4,
                        kViewBefore = 5, kState = 6;

constexpr std::uint8_t kLast = 1;  // header.status

}  // namespace

ChunkCopy::ChunkCopy(std::size_t elements, const CopyShape& shape)
    : parameters{AlignedBuffer<float>(elements), AlignedBuffer<float>(elements)},
      state(elements * shape.runs),
      clocks(shape.clocks) {
  if (!shape.views) return;
  for (auto& view : views) view = AlignedBuffer<float>(elements);
}

void CopySender::begin(std::uint32_t chunk, const ChunkCopy& copy) {
  chunk_ = chunk;
  version_ = copy.version;
  next_ = 0;
  parts_.clear();
  parts_.push_back({kNewest, std::as_bytes(copy.at(copy.version))});
  if (copy.has_before) parts_.push_back({kBefore, std::as_bytes(copy.at(copy.version + 1))});
  if (!copy.clocks.empty()) parts_.push_back({kClocks, std::as_bytes(std::span(copy.clocks))});
  parts_.push_back({kScalar, std::as_bytes(std::span(&copy.scalar, 1))});
  if (copy.views[0].size() != 0) {
    parts_.push_back({kView, std::as_bytes(copy.view(copy.version))});
    if (copy.has_before)
      parts_.push_back({kViewBefore, std::as_bytes(copy.view(copy.version + 1))});
  }
  const std::size_t elements = copy.parameters[0].size();
  for (std::size_t run = 0; run * elements < copy.state.size(); ++run) {
    const auto floats = copy.state.span().subspan(run * elements, elements);
    parts_.push_back({kState + run, std::as_bytes(floats)});
  }
}

wire::OutFrame CopySender::next() {
  const Part& part = parts_[next_++];
  wire::OutFrame frame;
  frame.header.type = wire::FrameType::copy;
  frame.header.status = more() ? 0 : kLast;
  frame.header.chunk = chunk_;
  frame.header.step = version_;
  frame.header.value = part.name;
  frame.header.payload_bytes = static_cast<std::uint32_t>(part.bytes.size());
  frame.payload = part.bytes;
  return frame;
}

std::span<std::byte> CopyReceiver::receive_into(const wire::Header& header, std::size_t elements) {
  if (header.value == kNewest) {
    copy_ = ChunkCopy(elements, shape_);
    copy_.version = header.step;
    chunk_ = header.chunk;
    least_ = 0;
    parts_ = 0;
  }
  if (header.chunk != chunk_ || header.step != copy_.version || header.value < least_ ||
      header.value >= kState + shape_.runs || copy_.parameters[0].size() != elements) {
    fail(Fault::network, "part {} of a copy of chunk {}, version {}: it comes out of order",
         header.value, header.chunk, header.step);
  }
  std::span<std::byte> bytes;
  switch (header.value) {
    case kNewest:
    case kBefore: bytes = std::as_writable_bytes(copy_.at(copy_.version + header.value)); break;
    case kClocks: bytes = std::as_writable_bytes(std::span(copy_.clocks)); break;
    case kView:
    case kViewBefore:
      bytes = std::as_writable_bytes(copy_.view(copy_.version + header.value - kView));
      break;
    case kScalar: bytes = std::as_writable_bytes(std::span(&copy_.scalar, 1)); break;
    default:
      bytes = std::as_writable_bytes(
          copy_.state.span().subspan((header.value - kState) * elements, elements));
      break;
  }
  if (bytes.size() != header.payload_bytes) {
    fail(Fault::network, "part {} of a copy of chunk {}: found {} bytes, expected {}", header.value,
         header.chunk, header.payload_bytes, bytes.size());
  }
  return bytes;
}

std::optional<ChunkCopy> CopyReceiver::on_part(const wire::Header& header) {
  least_ = header.value + 1;
  ++parts_;
  if (header.value == kBefore) copy_.has_before = true;
  if (header.status != kLast) return std::nullopt;
  const std::size_t versions = copy_.has_before ? 2 : 1;
  const std::size_t expected =
      versions * (shape_.views ? 2U : 1U) + (shape_.clocks != 0 ? 1U : 0U) + 1 + shape_.runs;
  if (parts_ != expected) {
    fail(Fault::network, "copy of chunk {}: found {} parts, expected {}", header.chunk, parts_,
         expected);
  }
  copy_.holds = true;
  return std::exchange(copy_, {});
}

}  // namespace sheaf::server
