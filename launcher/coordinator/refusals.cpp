#include "launcher/coordinator/refusals.h"

#include <fmt/format.h>

#include <bit>

namespace sheaf::launcher {

std::optional<std::string> Refusals::add(const std::string& why) {
  last_ = why;
  ++count_;
  if (!std::has_single_bit(count_)) return std::nullopt;
  return fmt::format("warning: refused a connection to the coordinator: {} (x{})", last_, count_);
}

std::string Refusals::clause() const {
  if (count_ == 0) return "";
  return fmt::format("; {} refused, the last one: {}",
                     count_ == 1 ? "1 connection was" : fmt::format("{} connections were", count_),
                     last_);
}

}  // namespace sheaf::launcher
