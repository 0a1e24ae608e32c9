// Near matches for misspelt words: keys, modes, subcommands. Pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace sheaf::config {

// Insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b`
// (optimal string alignment, the restricted Damerau-Levenshtein distance).
std::size_t edit_distance(std::string_view a, std::string_view b);

// The candidate that `word` most likely stands for: within two edits, else one that contains it or
// is contained in it (three letters or more). Candidates come in order of preference, which breaks
// ties that a shared first letter leaves. Nothing if none is near.
std::optional<std::string> nearest(std::string_view word, std::span<const std::string> candidates);

// "a, b, c"; each in double quotes when `quoted`.
std::string join_words(std::span<const std::string> words, bool quoted = false);

}  // namespace sheaf::config
