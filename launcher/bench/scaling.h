// The arithmetic of `sheaf bench scaling`: which jobs a sweep has, what the network allows each,
// and how they compare. Plain data and pure functions.
//
// The bound of an exchange (Jiang et al., BytePS, OSDI 2020): n hosts with a worker each, M bytes
// of model, B bytes per second in each direction of each host. With servers on k hosts of their own
// no step takes less than max(1, n/k) · M/B; with servers on the hosts of workers, and on k more,
// not less than 2n(n−1)M / ((n² + kn − 2k)B).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "launcher/config/run_config.h"

namespace sheaf::launcher {

// One job of the sweep.
struct ScalingPoint {
  std::string series = {};  // what it may be compared within: "strong, 2 servers, 1gbit"
  bool weak = false;
  std::string rate = {};  // of the links; empty: as they are
  std::uint32_t workers = 1;
  std::uint32_t servers = 1;
  std::uint64_t batch = 1;
};

// All rates, then kinds, then servers, then workers: a rate is set once.
std::vector<ScalingPoint> plan_points(const ScalingSection& scaling, std::uint64_t batch);
// "strong-2w-1s-1gbit": a name for a folder.
std::string label(const ScalingPoint& point);

struct PlacedRank {
  bool server = false;
  std::string host;
};

// Seconds; 0 if all ranks share a host. Several workers of a host count as one with a model that
// many times as large: each exchanges the whole of it.
double exchange_bound(std::span<const PlacedRank> ranks, double model_bytes, double bytes_per_s);

// What a job of the sweep came to.
struct ScalingMeasurement {
  ScalingPoint point;
  double examples_per_s = 0;
  double step_seconds = 0;
  double exchange_seconds = 0;  // of a step: from its first push to its last new parameter
  double model_bytes = 0;
  double link = 0;  // bytes per second in each direction at once; 0 = not known
  std::vector<PlacedRank> ranks = {};
  std::string run = {};  // its run directory
};

struct ScalingRow {
  ScalingMeasurement measured;
  std::size_t hosts = 1;
  double speed_up = 1;    // of examples_per_s over that of the series' first
  double efficiency = 1;  // speed_up per growth of workers
  std::optional<double> bound_seconds =
      {};                            // nothing where the network has no part, or is not known
  std::optional<double> share = {};  // bound / exchange
};

std::vector<ScalingRow> compare(std::vector<ScalingMeasurement> measurements);

std::string scaling_text(std::span<const ScalingRow> rows);
// {"job", "build", "points": [ … ]}
std::string scaling_json(const std::string& job, const std::string& build,
                         std::span<const ScalingRow> rows);

}  // namespace sheaf::launcher
