#include "launcher/coordinator/restarts.h"

#include <algorithm>

namespace sheaf::launcher {

std::optional<Duration> Restarts::next(std::optional<Step> newest) {
  using std::chrono::seconds;
  constexpr std::uint32_t kDoublings = 6;  // to more than the longest pause
  constexpr Duration kLongest = seconds(60);
  if (newest > from_) in_a_row_ = 0;  // a job without a checkpoint is behind every other
  from_ = std::max(from_, newest);
  if (in_a_row_ == most_) return std::nullopt;
  if (in_a_row_++ == 0) return Duration{0};
  return std::min<Duration>(kLongest, seconds(1U << std::min(in_a_row_ - 2, kDoublings)));
}

}  // namespace sheaf::launcher
