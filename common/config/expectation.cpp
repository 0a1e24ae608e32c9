#include "common/config/expectation.h"

#include <fmt/format.h>

#include <chrono>

#include "common/config/duration.h"

namespace sheaf::config {
namespace {

// "", " from 1 to 9", " of at least 1", " above 0 and below 1", … ; an empty bound is none.
std::string range(const std::string& low, const std::string& high) {
  const bool plain_low = !low.starts_with("above"), plain_high = !high.starts_with("below");
  if (low.empty() && high.empty()) return {};
  if (!low.empty() && !high.empty() && plain_low && plain_high) {
    return fmt::format(" from {} to {}", low, high);
  }
  const std::string from = plain_low && !low.empty() ? "of at least " + low : low;
  const std::string to = plain_high && !high.empty() ? "of at most " + high : high;
  return fmt::format(" {}{}{}", from, from.empty() || to.empty() ? "" : " and ", to);
}

}  // namespace

std::string expected_integer(const Bounds<std::int64_t>& bounds) {
  const Bounds<std::int64_t> any;
  return "an integer" + range(bounds.low == any.low ? "" : fmt::format("{}", bounds.low),
                              bounds.high == any.high ? "" : fmt::format("{}", bounds.high));
}

std::string expected_real(const Bounds<double>& bounds) {
  const Bounds<double> any;
  std::string low = bounds.low == any.low ? "" : fmt::format("{}", bounds.low);
  std::string high = bounds.high == any.high ? "" : fmt::format("{}", bounds.high);
  if (bounds.low == kAboveZero) low = "above 0";
  if (bounds.high == kBelowOne) high = "below 1";
  return "a number" + range(low, high);
}

std::string expected_duration(const Bounds<std::int64_t>& milliseconds) {
  const auto text = [](std::int64_t value) { return to_text(std::chrono::milliseconds(value)); };
  const std::int64_t any = std::numeric_limits<std::int64_t>::max();
  return R"(a duration such as "250ms", "30s", "5m" or "2h")" +
         range(milliseconds.low <= 0 ? "" : text(milliseconds.low),
               milliseconds.high == any ? "" : text(milliseconds.high));
}

}  // namespace sheaf::config
