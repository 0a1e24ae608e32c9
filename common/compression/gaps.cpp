#include "common/compression/gaps.h"

#include <algorithm>
#include <bit>

namespace sheaf::compression {
namespace {

// The parameter for gaps of about elements / count.
unsigned usual_parameter(std::size_t count, std::size_t elements) {
  const std::size_t mean = elements / std::max<std::size_t>(count, 1);
  return std::min(static_cast<unsigned>(std::bit_width(std::max<std::size_t>(mean, 1))) - 1,
                  GapCode::kMostWidth - 2);
}

}  // namespace

std::optional<GapCode> GapCode::from(std::byte byte) {
  const auto value = std::to_integer<unsigned>(byte);
  const GapCode code{(value & kFixed) == 0, value & ~kFixed};
  if (code.width > kMostWidth) return std::nullopt;
  return code;
}

// With parameter r each of k gaps costs r + 1 bits and its ones, and as all gaps together are at
// most n - k, there are at most (n - k) / 2^r ones. Fewer positions need less, and r is tried.
std::size_t most_gap_bits(std::size_t count, std::size_t elements) {
  const unsigned r = usual_parameter(count, elements);
  return count * (r + 1) + ((elements - count) >> r);
}

GapStatistics::GapStatistics(std::size_t count, std::size_t elements)
    : least_(std::max(usual_parameter(count, elements), 1U) - 1) {}

GapCode GapStatistics::choose() const {
  GapCode best{false, static_cast<unsigned>(std::bit_width(bits_))};
  std::uint64_t fewest = count_ * best.width;
  for (unsigned i = 0; i < kTried; ++i) {
    const std::uint64_t bits = ones_[i] + count_ * (least_ + i + 1);
    if (bits >= fewest) continue;
    fewest = bits;
    best = {true, least_ + i};
  }
  return best;
}

std::optional<std::size_t> PositionReader::next() {
  std::uint64_t gap = 0;
  if (code_.rice) {
    const auto ones = bits_.ones();
    if (!ones || *ones > elements_ >> code_.width) return std::nullopt;
    gap = *ones << code_.width;
  }
  const auto low = bits_.bits(code_.width);
  if (!low) return std::nullopt;
  gap |= *low;
  if (gap >= elements_ - from_) return std::nullopt;
  const std::size_t position = from_ + gap;
  from_ = position + 1;
  return position;
}

}  // namespace sheaf::compression
