#include "launcher/commands/list.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <utility>

#include "common/base/mode.h"
#include "common/compression/compressor.h"
#include "common/config/suggest.h"
#include "common/optimization/optimizer.h"
#include "common/privacy/mechanism.h"
#include "server/consistency/gate.h"
#include "worker/data/source.h"
#include "worker/data/transforms/transform.h"
#include "worker/models/layers/layer.h"
#include "worker/models/losses/loss.h"

namespace sheaf::launcher {
namespace {

struct Family {
  std::string name;
  std::vector<std::pair<std::string_view, std::string_view>> modes;  // name, description
};

template <typename Table>
Family family(std::string name, const Table& table) {
  Family family{std::move(name), {}};
  for (const auto& entry : table) family.modes.emplace_back(entry.name, entry.mode->description);
  return family;
}

// With the word for a choice among them, which is no mode.
Family compression_family() {
  Family all = family("compression", compression::compressors());
  const std::pair<std::string_view, std::string_view> choice = {
      "auto", "what is fastest on the job's own network, measured before it starts"};
  all.modes.insert(std::ranges::lower_bound(all.modes, choice), choice);
  return all;
}

std::vector<Family> families() {
  return {
      family("data", worker::sources()),        family("transform", worker::transforms()),
      family("layer", worker::layers()),        family("loss", worker::losses()),
      family("privacy", privacy::mechanisms()), compression_family(),
      family("consistency", server::gates()),   family("optimizer", optimization::optimizers())};
}

}  // namespace

std::vector<std::string> family_names() {
  std::vector<std::string> names;
  for (const Family& family : families()) names.push_back(family.name);
  return names;
}

int list_modes(const ListCommand& command, std::ostream& out, std::ostream& err) {
  const std::vector<std::string> names = family_names();
  if (command.family && std::find(names.begin(), names.end(), *command.family) == names.end()) {
    const auto near = config::nearest(*command.family, names);
    fmt::print(err, "sheaf list: found \"{}\", expected one of {}{}\n", *command.family,
               config::join_words(names), near ? ", try " + *near : "");
    return 2;
  }
  for (const Family& family : families()) {
    if (command.family && *command.family != family.name) continue;
    for (const auto& [name, description] : family.modes) {
      fmt::print(out, "{}\t{}\t{}\n", family.name, name, description);
    }
  }
  return 0;
}

}  // namespace sheaf::launcher
