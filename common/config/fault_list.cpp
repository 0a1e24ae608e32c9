#include "common/config/fault_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/config/path.h"

namespace sheaf::config {
namespace {

// What was found may hold anything; a fault is one line all the same.
std::string on_one_line(const std::string& text) {
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\n') {
      line += "\\n";
    } else if (byte < 0x20 || byte == 0x7f) {
      line += fmt::format("\\x{:02x}", byte);
    } else {
      line += c;
    }
  }
  return line;
}

}  // namespace

void FaultList::add(const Place& place, std::string key, const std::string& text, Kind kind) {
  if (closed_) return;
  Entry entry{place, std::move(key), on_one_line(text), kind};
  // A key may be read twice, by the launcher and by its owner.
  if (std::find(entries_.begin(), entries_.end(), entry) == entries_.end()) {
    entries_.push_back(std::move(entry));
  }
}

void FaultList::forgive_missing(std::string_view key) {
  std::erase_if(entries_, [&](const Entry& entry) {
    return entry.kind == Kind::missing && lies_within(entry.key, key);
  });
}

bool FaultList::concerns(std::string_view key) const {
  return std::any_of(entries_.begin(), entries_.end(),
                     [&](const Entry& entry) { return lies_within(entry.key, key); });
}

std::vector<std::string> FaultList::lines() const {
  std::vector<Entry> sorted = entries_;
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const Entry& a, const Entry& b) { return a.place < b.place; });
  std::vector<std::string> lines;
  for (const Entry& entry : sorted) {
    const std::string where =
        entry.place.from_override
            ? "override"
            : fmt::format("{}:{}:{}", file_, entry.place.line, entry.place.column);
    lines.push_back(entry.key.empty() ? fmt::format("{}: {}", where, entry.text)
                                      : fmt::format("{}: {}: {}", where, entry.key, entry.text));
  }
  return lines;
}

}  // namespace sheaf::config
