#include "common/config/asked_keys.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "common/config/path.h"

namespace sheaf::config {
namespace {

bool left_out(std::string_view path, std::span<const std::string_view> without) {
  return std::any_of(without.begin(), without.end(),
                     [&](std::string_view name) { return lies_within(path, name); });
}

}  // namespace

AskedKeys::Entry& AskedKeys::entry(std::string_view path, std::string_view key) {
  auto found = tables_.find(path);
  if (found == tables_.end())
    found = tables_.emplace(std::string(path), std::vector<Entry>{}).first;
  for (Entry& entry : found->second) {
    if (entry.key == key) return entry;
  }
  return found->second.emplace_back(Entry{std::string(key), Kind::known, {}, 0});
}

const std::vector<AskedKeys::Entry>& AskedKeys::entries(std::string_view path) const {
  static const std::vector<Entry> kNone;
  const auto found = tables_.find(path);
  return found == tables_.end() ? kNone : found->second;
}

void AskedKeys::known(std::string_view path, std::string_view key) { entry(path, key); }

void AskedKeys::value(std::string_view path, std::string_view key, std::string toml) {
  Entry& asked = entry(path, key);
  asked.kind = Kind::value;
  asked.toml = std::move(toml);
}

void AskedKeys::table(std::string_view path, std::string_view key) {
  entry(path, key).kind = Kind::table;
  tables_.try_emplace(join_path(path, key));
}

void AskedKeys::tables(std::string_view path, std::string_view key, std::size_t count) {
  Entry& asked = entry(path, key);
  asked.kind = Kind::tables;
  asked.count = count;
  for (std::size_t i = 0; i < count; ++i) {
    tables_.try_emplace(fmt::format("{}[{}]", join_path(path, key), i));
  }
}

bool AskedKeys::knows(std::string_view path, std::string_view key) const {
  const auto& asked = entries(path);
  return std::any_of(asked.begin(), asked.end(),
                     [&](const Entry& entry) { return entry.key == key; });
}

std::vector<std::string> AskedKeys::keys(std::string_view path) const {
  std::vector<std::string> names;
  for (const Entry& entry : entries(path)) names.push_back(entry.key);
  return names;
}

std::vector<std::string> AskedKeys::tables_with(std::string_view key) const {
  std::set<std::string> paths;
  for (const auto& [path, asked] : tables_) {
    if (!path.empty() && knows(path, key)) paths.insert(without_places(path));
  }
  return {paths.begin(), paths.end()};
}

std::vector<std::string> AskedKeys::all() const {
  std::set<std::string> names;
  for (const auto& [path, asked] : tables_) {
    for (const Entry& entry : asked) {
      if (entry.kind == Kind::table || entry.kind == Kind::tables) continue;
      names.insert(without_places(join_path(path, entry.key)));
    }
  }
  return {names.begin(), names.end()};
}

void AskedKeys::write_table(const std::string& path, const std::string& header, bool in_array,
                            std::span<const std::string_view> without, std::string& out) const {
  // TOML: the values of a table come before the headers of the tables inside it.
  std::string values;
  std::string inner;
  for (const Entry& entry : entries(path)) {
    const std::string place = join_path(path, entry.key);
    const std::string name = join_path(header, entry.key);
    if (left_out(place, without)) continue;
    if (entry.kind == Kind::value) values += fmt::format("{} = {}\n", entry.key, entry.toml);
    if (entry.kind == Kind::table) write_table(place, name, false, without, inner);
    if (entry.kind == Kind::tables) {
      for (std::size_t i = 0; i < entry.count; ++i) {
        write_table(fmt::format("{}[{}]", place, i), name, true, without, inner);
      }
    }
  }
  const bool has_header = !header.empty() && (in_array || !values.empty() || inner.empty());
  if (has_header) {
    if (!out.empty()) out += '\n';
    out += in_array ? fmt::format("[[{}]]\n", header) : fmt::format("[{}]\n", header);
  }
  out += values;
  if (!inner.empty() && !out.empty() && !inner.starts_with('\n')) out += '\n';
  out += inner;
}

std::string AskedKeys::write(std::span<const std::string_view> without) const {
  std::string out;
  write_table("", "", false, without, out);
  return out;
}

}  // namespace sheaf::config
