// Remembers what a program asked of a job file and what it was given: the keys it knows, and the
// resolved file. Knows paths and TOML text, nothing of the parser. Not thread-safe.
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace sheaf::config {

class AskedKeys {
 public:
  // `path` names a table. The last value counts if a key is read again.
  void known(std::string_view path, std::string_view key);
  void value(std::string_view path, std::string_view key, std::string toml);
  void table(std::string_view path, std::string_view key);
  void tables(std::string_view path, std::string_view key, std::size_t count);

  // True if the table at `path` was asked for.
  bool has_table(std::string_view path) const { return tables_.contains(path); }
  bool knows(std::string_view path, std::string_view key) const;
  // The keys of one table, in the order in which they were first asked for.
  std::vector<std::string> keys(std::string_view path) const;
  // The paths of the tables that know `key`, places in arrays left out; never the root.
  std::vector<std::string> tables_with(std::string_view key) const;
  // Every key by its dotted name, sorted, places in arrays left out: "model.layers[].units".
  std::vector<std::string> all() const;
  // A TOML document of all values, without the keys and tables that `without` names.
  std::string write(std::span<const std::string_view> without) const;

 private:
  enum class Kind { known, value, table, tables };
  struct Entry {
    std::string key;
    Kind kind = Kind::known;
    std::string toml;       // of a value
    std::size_t count = 0;  // of tables
  };
  Entry& entry(std::string_view path, std::string_view key);
  const std::vector<Entry>& entries(std::string_view path) const;
  void write_table(const std::string& path, const std::string& header, bool in_array,
                   std::span<const std::string_view> without, std::string& out) const;

  std::map<std::string, std::vector<Entry>, std::less<>> tables_;
};

}  // namespace sheaf::config
