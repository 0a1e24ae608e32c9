// How a reader of this folder's formats says that it cannot accept what it was given; whoever knows
// the file's name catches it and adds it.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <utility>

namespace sheaf::checkpoint {

template <typename... Args>
[[noreturn]] void refuse(fmt::format_string<Args...> text, Args&&... args) {
  throw std::invalid_argument(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace sheaf::checkpoint
