// What happens to an input on its way into a batch: (x - mean) * scale per feature, or x / 255, or
// nothing. Targets are never touched. Immutable after construction; thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "worker/data/batch.h"

namespace sheaf::worker {

class PartitionSet;

enum class Normalisation { none, unit, standard };

// The words of [data] normalise, in the order of the enum.
inline constexpr std::array<std::string_view, 3> kNormalisations = {"none", "unit", "standard"};

// The meaning of `word`, or nothing for an unknown one.
std::optional<Normalisation> parse_normalisation(std::string_view word);

// Why inputs of this schema cannot be normalised this way, or nothing.
std::optional<std::string> normalisation_problem(Normalisation kind, const Schema& schema);

// Adds vectors over all P partitions of the job, in a tree that P alone decides, and returns the
// total. `mine` holds those of the partitions that this process hosts; `tag` names the sum, the
// same in every process. Every process of the job calls it, also one that hosts nothing.
using SumOverPartitions = std::function<std::vector<double>(
    std::string_view tag, std::map<std::uint32_t, std::vector<double>> mine)>;

class Normaliser {
 public:
  // Leaves inputs as they are.
  Normaliser() = default;
  // x / 255.
  static Normaliser unit();
  // (x - mean) * scale, one of each per feature.
  static Normaliser per_feature(std::span<const double> mean, std::span<const double> scale);

  // Writes the normalised features of one example. REQUIRES: spans of equal size; that of
  // per_feature() if that made it; bytes if unit() did.
  void apply(std::span<const std::uint8_t> in, std::span<float> out) const;
  void apply(std::span<const float> in, std::span<float> out) const;

  Normalisation kind() const { return kind_; }
  // One value per feature; empty unless kind() is standard.
  std::span<const float> mean() const { return mean_; }
  std::span<const float> scale() const { return scale_; }

 private:
  Normalisation kind_ = Normalisation::none;
  std::vector<float> mean_;
  std::vector<float> scale_;
};

// Makes the normaliser of a job. `standard` takes two sums over the training part (mean, then
// centred squares; fp64, one partition at a time), so that every process gets the same bits,
// whatever it hosts. The deviation is that of the population; a constant feature has scale 1.
// Throws Fault::config where normalisation_problem() has a reason.
Normaliser make_normaliser(Normalisation kind, const PartitionSet& data,
                           const SumOverPartitions& sum);

}  // namespace sheaf::worker
