// Numbers users in the order in which they first come, as Source::users() has them.
#pragma once

#include <cstdint>
#include <limits>
#include <unordered_map>

#include "common/base/error.h"

namespace sheaf::worker {

template <typename Name>
class UserNumbers {
 public:
  std::uint32_t of(const Name& user) {
    check(numbers_.size() < std::numeric_limits<std::uint32_t>::max(),
          "users that can be numbered");
    return numbers_.try_emplace(user, static_cast<std::uint32_t>(numbers_.size())).first->second;
  }

 private:
  std::unordered_map<Name, std::uint32_t> numbers_;
};

}  // namespace sheaf::worker
