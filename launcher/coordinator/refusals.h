// Connections that the coordinator refused, and what is said of them: a port scan must not fill the
// terminal. Owned by the coordinator; not thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

namespace sheaf::launcher {

class Refusals {
 public:
  // A warning to show, with the number so far: of the first, second, fourth … only.
  std::optional<std::string> add(const std::string& why);
  // "; 3 connections were refused, the last one: …", to end a sentence with. Empty if none was.
  std::string clause() const;

 private:
  std::size_t count_ = 0;
  std::string last_;
};

}  // namespace sheaf::launcher
