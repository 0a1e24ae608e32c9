// What a Document owns: the parsed file with its overrides applied, the faults found so far, and
// what was asked. Private to common/config, the only folder that knows the TOML library.
#pragma once

#include <toml++/toml.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/config/asked_keys.h"
#include "common/config/fault_list.h"
#include "common/config/path.h"
#include "common/config/section.h"

namespace sheaf::config {

struct Document::State {
  explicit State(std::string_view file) : faults(std::string(file)) {}
  static std::unique_ptr<State> make(std::string_view text, std::string_view file,
                                     std::span<const std::string> override_texts);

  void parse(std::string_view text);
  void apply(std::string_view text, std::uint32_t number);
  // One step of an override: the node there, a missing table being made; null after a fault.
  toml::node* open(toml::node& node, const PathStep& step, std::string& path, const Place& place);

  // The node at a path, or null.
  const toml::node* find(std::string_view path) const;
  // Where a path stands; of what is missing, the table that lacks it.
  Place place(std::string_view path) const;
  // The node at path.key; null if it is missing, which is a fault when it is required.
  const toml::node* take(const Section& section, std::string_view key, bool required,
                         const std::string& expected);
  // One value: `accept` gives it or nothing, then `attempt` says what was probably meant.
  template <typename Value, typename Default, typename Accept, typename Attempt>
  Value read(const Section& section, std::string_view key, const Default& otherwise, Value stand_in,
             toml::node_type type, const std::string& expected, Accept accept, Attempt attempt);
  template <typename Value, typename Accept>
  std::vector<Value> read_list(const Section& section, std::string_view key,
                               std::optional<std::vector<Value>> otherwise, std::string_view plural,
                               std::string_view singular, Accept accept);
  void reject(std::string_view path, std::string_view found, std::string_view expected,
              std::string_view attempt = {});
  void reject_unknown(const toml::table& table, const std::string& path);
  void reject_unknown_key(const toml::node& node, const std::string& path, std::string_view key,
                          bool kind_is_sound);

  struct Override {
    std::string path;
    Place place;
  };
  toml::table root;
  std::vector<Override> overrides;
  FaultList faults;
  AskedKeys asked;
};

}  // namespace sheaf::config
