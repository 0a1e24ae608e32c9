#include "common/compression/selection.h"

#include <cmath>

namespace sheaf::compression {
namespace {

// Three digits of a magnitude: 11 bits (the exponent and 3 bits behind it), 10 and 10.
constexpr unsigned kFirstShift = 20, kSecondShift = 10;
constexpr std::size_t kBins = 2048;
using Bins = std::array<std::uint32_t, kBins>;

// The bin that holds the `left`-th magnitude from above; `left` becomes its place among those of
// the bin. kBins if there are fewer.
std::size_t bin_of(const Bins& bins, std::size_t& left) {
  for (std::size_t b = kBins; b-- > 0;) {
    if (bins[b] >= left) return b;
    left -= bins[b];
  }
  return kBins;
}

// A magnitude that likely is not above the cut, from some lines of x, so that few others need be
// counted; 0 = no idea. Lines whose distance is odd do not meet the same columns of a matrix again
// and again.
std::uint32_t likely_below(std::span<const float> x, std::size_t count) {
  constexpr std::size_t kLine = 16, kApart = 17 * kLine;
  Bins bins{};
  std::size_t sampled = 0;
  for (std::size_t at = 0; at + kLine <= x.size(); at += kApart, sampled += kLine) {
    for (const float value : x.subspan(at, kLine)) ++bins[magnitude_bits(value) >> kFirstShift];
  }
  const double expected = static_cast<double>(count) * static_cast<double>(sampled) /
                          static_cast<double>(std::max<std::size_t>(x.size(), 1));
  auto target = static_cast<std::size_t>(expected + 3 * std::sqrt(expected) + 4);
  if (2 * target > sampled) return 0;
  return static_cast<std::uint32_t>(bin_of(bins, target)) << kFirstShift;
}

// Counts, in bins of 2^shift, what lies in [lowest, end).
Bins count_bins(std::span<const float> x, std::uint32_t lowest, std::uint64_t end, unsigned shift) {
  Bins bins{};
  const std::uint32_t base = lowest >> shift;
  each_large(x, std::max(lowest, 1U), [&](std::size_t i) {
    const std::uint32_t magnitude = magnitude_bits(x[i]);
    if (magnitude < end) ++bins[(magnitude >> shift) - base];
  });
  return bins;
}

// Narrows the search to the bin of the `left`-th; true if the cut is along its lower edge.
bool narrow(const Bins& bins, unsigned shift, std::uint32_t& lowest, std::size_t& left) {
  const std::size_t bin = bin_of(bins, left);
  lowest += static_cast<std::uint32_t>(bin) << shift;
  return bins[bin] == left;
}

}  // namespace

Cut cut_of_largest(std::span<const float> x, std::size_t count) {
  std::size_t left = count;
  std::uint32_t lowest = likely_below(x, count);
  Bins bins = count_bins(x, lowest, std::uint64_t{1} << 31, kFirstShift);
  if (lowest != 0 && bin_of(bins, left) == kBins) {  // it was above the cut
    lowest = 0;
    bins = count_bins(x, lowest, std::uint64_t{1} << 31, kFirstShift);
  }
  left = count;
  if (bin_of(bins, left) == kBins) return {};  // fewer than `count` are not zero
  left = count;
  if (narrow(bins, kFirstShift, lowest, left)) return {std::max(lowest, 1U)};
  for (const unsigned shift : {kSecondShift, 0U}) {
    const std::uint64_t end = std::uint64_t{lowest} + (std::uint64_t{1} << (shift + 10));
    if (narrow(count_bins(x, lowest, end, shift), shift, lowest, left)) {
      return {std::max(lowest, 1U)};
    }
  }
  return {std::max(lowest, 1U), left};
}

}  // namespace sheaf::compression
