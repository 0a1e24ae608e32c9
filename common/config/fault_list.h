// The faults of one job file, in the order of the file, each once. Owns its lines; not thread-safe.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::config {

// Where a key stands. Faults of the file come first, those of overrides in the order given.
struct Place {
  bool from_override = false;
  std::uint32_t line = 1;  // from 1; for an override its place on the command line
  std::uint32_t column = 1;
  auto operator<=>(const Place&) const = default;
};

class FaultList {
 public:
  // What is missing is remembered apart: a misspelt key explains it, then it is no fault of its
  // own.
  enum class Kind { wrong, missing };

  explicit FaultList(std::string file) : file_(std::move(file)) {}

  // Takes no more: what a file lacks that could not be parsed is not known.
  void close() { closed_ = true; }
  // Control characters of `text` are escaped: a fault stays one line.
  void add(const Place& place, std::string key, const std::string& text, Kind kind = Kind::wrong);
  // Forgets that `key`, or a key below it, is missing.
  void forgive_missing(std::string_view key);
  // True if something is recorded for this key or below it.
  bool concerns(std::string_view key) const;
  // "FILE:LINE:COL: key: text", or "override: key: text".
  std::vector<std::string> lines() const;

 private:
  struct Entry {
    Place place;
    std::string key;
    std::string text;
    Kind kind;
    bool operator==(const Entry&) const = default;
  };
  std::string file_;
  std::vector<Entry> entries_;
  bool closed_ = false;
};

}  // namespace sheaf::config
