#include "common/compression/selection.h"

#include <cmath>

namespace sheaf::compression {
namespace {

// Three digits of a magnitude: 11 bits (the exponent and 3 bits behind it), 10 and 10.
constexpr unsigned kFirstShift = 20, kSecondShift = 10;  // and 0
constexpr std::size_t kBins = 2048;
using Bins = std::array<std::uint32_t, kBins>;

// The bin that holds the `place`-th magnitude from above, and its place among those of the bin;
// kBins if there are fewer.
struct Found {
  std::size_t bin, place;
};
Found find_bin(const Bins& bins, std::size_t place) {
  for (std::size_t b = kBins; b-- > 0;) {
    if (bins[b] >= place) return {b, place};
    place -= bins[b];
  }
  return {kBins, place};
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
  const auto target = static_cast<std::size_t>(expected + 3 * std::sqrt(expected) + 4);
  if (2 * target > sampled) return 0;
  return static_cast<std::uint32_t>(find_bin(bins, target).bin) << kFirstShift;
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

}  // namespace

Cut cut_of_largest(std::span<const float> x, std::size_t count) {
  constexpr std::uint64_t kAll = std::uint64_t{1} << 31;
  std::uint32_t lowest = likely_below(x, count);
  Bins bins = count_bins(x, lowest, kAll, kFirstShift);
  Found found = find_bin(bins, count);
  if (found.bin == kBins && lowest != 0) {  // that was above the cut
    lowest = 0;
    bins = count_bins(x, lowest, kAll, kFirstShift);
    found = find_bin(bins, count);
  }
  if (found.bin == kBins) return {};  // fewer than `count` are not zero
  for (unsigned shift = kFirstShift;; shift -= kSecondShift) {
    lowest += static_cast<std::uint32_t>(found.bin) << shift;
    // Along the lower edge of the bin, or between equal magnitudes.
    if (bins[found.bin] == found.place) return {std::max(lowest, 1U)};
    if (shift == 0) return {lowest, found.place};
    const unsigned next = shift - kSecondShift;
    bins = count_bins(x, lowest, lowest + (std::uint64_t{1} << shift), next);
    found = find_bin(bins, found.place);
  }
}

}  // namespace sheaf::compression
