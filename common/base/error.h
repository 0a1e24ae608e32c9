// The one exception type of Sheaf, and the faults it can carry.
// A message says who, what was expected, what was found, and what to do if that is known.
// What may normally happen (end of data, would wait, stale) is a return value, never an Error.
#pragma once

#include <fmt/format.h>

#include <exception>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>

namespace sheaf {

// The value is the exit code of the process (see `sheaf help exit-codes`).
enum class Fault : int {
  internal = 1,
  config = 2,
  data = 3,
  network = 4,
  checkpoint = 5,
  diverged = 6,
  privacy = 7,
  auth = 8,
  preempted = 75,
  interrupted = 130,
};

std::string_view to_string(Fault fault);

class Error : public std::exception {
 public:
  Error(Fault fault, std::string message, std::source_location where)
      : fault_(fault), message_(std::move(message)), where_(where) {}

  const char* what() const noexcept override { return message_.c_str(); }
  Fault fault() const { return fault_; }
  const std::string& message() const { return message_; }
  const std::source_location& where() const { return where_; }

 private:
  Fault fault_;
  std::string message_;
  std::source_location where_;
};

namespace detail {
// A compile-time checked format string that also remembers where it was written.
template <typename... Args>
struct FormatHere {
  template <typename Text>
  consteval FormatHere(const Text& text,  // NOLINT: implicit, so that a literal converts
                       std::source_location here = std::source_location::current())
      : format(text), where(here) {}
  fmt::format_string<Args...> format;
  std::source_location where;
};
}  // namespace detail

// Throws an Error whose message is the formatted text.
template <typename... Args>
[[noreturn]] void fail(Fault fault, detail::FormatHere<std::type_identity_t<Args>...> text,
                       Args&&... args) {
  throw Error(fault, fmt::format(text.format, std::forward<Args>(args)...), text.where);
}

// Throws Fault::internal when an invariant of our own does not hold. Never for bad input.
[[noreturn]] void check_failed(const char* condition, std::source_location where);
inline void check(bool holds, const char* what,
                  std::source_location where = std::source_location::current()) {
  if (!holds) [[unlikely]]
    check_failed(what, where);
}

// Runs on every way out of a rank: "text (fault)" for an Error, what() for anything else.
std::pair<Fault, std::string> describe(const std::exception_ptr& error);

}  // namespace sheaf
