#include "common/config/suggest.h"

#include <algorithm>
#include <tuple>
#include <vector>

namespace sheaf::config {
namespace {

constexpr std::size_t kMostEdits = 2;
constexpr std::size_t kShortestPart = 3;  // "de" is part of too many words to mean anything

bool contains_either_way(std::string_view a, std::string_view b) {
  if (std::min(a.size(), b.size()) < kShortestPart) return false;
  return a.find(b) != std::string_view::npos || b.find(a) != std::string_view::npos;
}

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Three rows of the table: a swap looks two rows back.
  std::vector<std::size_t> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t substitution = above[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, substitution});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    std::swap(before, above);
    std::swap(above, row);
  }
  return above[b.size()];
}

std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates) {
  std::optional<std::string> best;
  std::tuple<std::size_t, bool> best_rank{};
  for (const std::string& candidate : candidates) {
    std::size_t edits = edit_distance(word, candidate);
    // A match must keep something of the word: two edits turn any two letters into any others.
    if (edits > kMostEdits || edits >= std::max(word.size(), candidate.size())) {
      if (!contains_either_way(word, candidate)) continue;
      edits = kMostEdits + 1;
    }
    const bool other_start = word.empty() || candidate.empty() || word.front() != candidate.front();
    const std::tuple rank{edits, other_start};
    if (!best || rank < best_rank) {
      best = candidate;
      best_rank = rank;
    }
  }
  return best;
}

std::string join_words(std::span<const std::string> words, bool quoted) {
  std::string joined;
  for (const std::string& word : words) {
    if (!joined.empty()) joined += ", ";
    joined += quoted ? '"' + word + '"' : word;
  }
  return joined;
}

}  // namespace sheaf::config
