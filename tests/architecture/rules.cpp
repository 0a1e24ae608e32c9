#include "tests/architecture/rules.h"

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <string_view>

namespace sheaf::architecture {
namespace {

std::string_view top_folder(std::string_view path) { return path.substr(0, path.find('/')); }

std::string fault(const SourceFile& file, const Include& include, const std::string& rule) {
  const std::string what = include.angle ? "<" + include.path + ">" : "\"" + include.path + "\"";
  return file.path + ":" + std::to_string(include.line) + ": includes " + what + "; " + rule;
}

// What the launcher may see of the two roles: their front doors, and the families and shapes that
// `sheaf check`, `list` and `bench` ask for before any process is started.
const std::set<std::string, std::less<>> kRoleDoors = {
    "worker/worker.h",
    "worker/audit/canaries.h",
    "worker/data/batch_plan.h",
    "worker/data/batcher.h",
    "worker/data/digest.h",
    "worker/data/normaliser.h",
    "worker/data/partition.h",
    "worker/data/source.h",
    "worker/data/split.h",
    "worker/data/transforms/transform.h",
    "worker/data/transforms/transformed_source.h",
    "worker/models/model.h",
    "worker/models/layers/layer.h",
    "worker/models/losses/loss.h",
    "worker/residuals/residual_saver.h",
    "worker/residuals/residuals.h",
    "worker/step/local_step.h",
    "server/server.h",
    "server/consistency/gate.h",
    "server/consistency/trace.h",
};

// A library, by the beginning of its include path, and the files or folders ('/' at the end) of the
// product that may include it. Everything else goes through what these offer.
struct Door {
  std::string_view prefix;
  std::vector<std::string_view> places;
};
const std::vector<Door> kDoors = {
    {"benchmark/", {}},
    {"boost/", {"common/net/asio.h"}},
    {"cblas", {"common/math/blas.cpp"}},
    {"cereal/", {"common/wire/"}},
    {"CLI/", {"launcher/"}},
    {"fmt/", {"common/", "worker/", "server/", "launcher/"}},
    {"gmock/", {}},
    {"gtest/", {}},
    {"isa-l", {"common/wire/checksum.cpp"}},
    {"mpi.h", {"launcher/rank/mpi_session.cpp"}},
    {"nlohmann/", {"common/checkpoint/", "common/privacy/ledger/", "launcher/"}},
    {"openblas", {"common/math/blas.cpp"}},
    {"openssl/",
     {"common/net/tls.cpp", "common/privacy/noise/input_tag.cpp", "common/wire/handshake.cpp",
      "launcher/run/model_file.cpp", "worker/data/digest.cpp"}},
    {"toml++/", {"common/config/"}},
    {"zlib.h", {"worker/data/"}},
};

// Written by the build, so not in the tree.
constexpr std::string_view kGenerated = "build_constants.h";

// Folders of the system's own headers; other headers of C, C++ and POSIX have no '/' in their name.
const std::set<std::string, std::less<>> kSystemFolders = {"arpa", "gnu",     "linux",
                                                           "net",  "netinet", "sys"};

// The room of a file: its first two folders. Folders inside a room may know each other.
std::string room(std::string_view path) {
  const auto top = path.find('/');
  return std::string(path.substr(0, std::min(path.find('/', top + 1), path.rfind('/'))));
}

bool may_see(std::string_view from, std::string_view path) {
  const std::string_view to = top_folder(path);
  if (to == from || to == "common" || path == kGenerated) return true;
  return from == "launcher" && kRoleDoors.contains(path);
}

bool is_place(std::string_view place, std::string_view path) {
  return place.ends_with('/') ? path.starts_with(place) : path == place;
}

}  // namespace

Faults layer_faults(const SourceFile& file) {
  static const std::map<std::string_view, std::string> kRules = {
      {"common", "common includes common only"},
      {"worker", "worker includes common and worker only"},
      {"server", "server includes common and server only"},
      {"launcher",
       "launcher includes common, launcher and the doors of the roles only "
       "(kRoleDoors in tests/architecture/rules.cpp)"},
  };
  const auto from = top_folder(file.path);
  const auto rule = kRules.find(from);
  Faults faults;
  if (rule == kRules.end()) return faults;
  for (const auto& include : file.includes) {
    if (!include.angle && !may_see(from, include.path)) {
      faults.push_back(fault(file, include, rule->second));
    }
  }
  return faults;
}

Faults door_faults(const SourceFile& file) {
  Faults faults;
  for (const auto& include : file.includes) {
    if (!include.angle) continue;
    const auto door = std::ranges::find_if(
        kDoors, [&](const Door& d) { return include.path.starts_with(d.prefix); });
    if (door == kDoors.end()) {
      const bool foreign = include.path.find('/') != std::string::npos &&
                           !kSystemFolders.contains(top_folder(include.path));
      if (foreign) {
        faults.push_back(fault(file, include, "a new library needs a door: add it to kDoors"));
      }
      continue;
    }
    const bool allowed = std::ranges::any_of(
        door->places, [&](std::string_view place) { return is_place(place, file.path); });
    if (allowed) continue;
    std::string places;
    for (const auto place : door->places) places += " " + std::string(place);
    faults.push_back(fault(
        file, include,
        places.empty() ? "the product does not use it" : "the door of this library is" + places));
  }
  return faults;
}

Faults include_style_faults(const SourceFile& file, bool has_header) {
  Faults faults;
  for (const auto& include : file.includes) {
    const bool from_root =
        std::ranges::find(kAllSources, top_folder(include.path)) != kAllSources.end();
    if (!include.angle && !from_root && include.path != kGenerated) {
      faults.push_back(fault(file, include, "write project includes from the project root"));
    }
  }
  const std::string own = file.folder() + "/" + file.stem() + ".h";
  if (has_header && (file.includes.empty() || file.includes.front().path != own)) {
    faults.push_back(file.path + ":1: does not include \"" + own +
                     "\" first; its own header comes first, to prove it self-contained");
  }
  return faults;
}

std::string room_cycle(const std::vector<SourceFile>& files) {
  std::map<std::string, std::set<std::string>> edges;
  for (const auto& file : files) {
    for (const auto& include : file.includes) {
      if (include.angle) continue;
      const std::string from = room(file.path);
      const std::string to = room(include.path);
      if (to != from) edges[from].insert(to);
    }
  }
  // Depth first; `trail` is the way from the start to here.
  std::set<std::string> done;
  std::vector<std::string> trail;
  const std::function<std::string(const std::string&)> visit = [&](const std::string& at_room) {
    if (done.contains(at_room)) return std::string{};
    const auto seen = std::ranges::find(trail, at_room);
    if (seen != trail.end()) {
      std::string circle;
      for (auto at = seen; at != trail.end(); ++at) circle += *at + " -> ";
      return circle + at_room;
    }
    trail.push_back(at_room);
    for (const auto& next : edges[at_room]) {
      if (auto circle = visit(next); !circle.empty()) return circle;
    }
    trail.pop_back();
    done.insert(at_room);
    return std::string{};
  };
  std::vector<std::string> starts;
  for (const auto& [start, targets] : edges) starts.push_back(start);
  for (const auto& start : starts) {
    if (auto circle = visit(start); !circle.empty()) return circle;
  }
  return {};
}

}  // namespace sheaf::architecture
