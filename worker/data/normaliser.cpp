#include "worker/data/normaliser.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/math/kernels.h"
#include "worker/data/partition.h"

namespace sheaf::worker {
namespace {

// Calls add(feature, value) for each input of each example of one partition, in its own order.
template <typename Add>
void each_input(const Partition& partition, Add add) {
  const Examples& examples = partition.examples();
  const std::size_t features = examples.schema().features;
  for (const std::uint32_t row : partition.rows()) {
    if (examples.schema().bytes) {
      const auto inputs = examples.bytes(row);
      for (std::size_t f = 0; f < features; ++f) add(f, static_cast<double>(inputs[f]));
    } else {
      const auto inputs = examples.floats(row);
      for (std::size_t f = 0; f < features; ++f) add(f, static_cast<double>(inputs[f]));
    }
  }
}

// Element 0 is the number of examples, element 1 + f the sum of feature f.
std::vector<double> sums(const Partition& partition, std::size_t features) {
  std::vector<double> result(1 + features, 0.0);
  result[0] = static_cast<double>(partition.size());
  each_input(partition, [&](std::size_t f, double x) { result[1 + f] += x; });
  return result;
}

std::vector<double> centred_squares(const Partition& partition, std::span<const double> mean) {
  std::vector<double> result(mean.size(), 0.0);
  each_input(partition,
             [&](std::size_t f, double x) { result[f] += (x - mean[f]) * (x - mean[f]); });
  return result;
}

Normaliser standard(const PartitionSet& data, const SumOverPartitions& sum) {
  const std::size_t features = data.schema().features;
  const PartitionRange hosted = data.hosted();

  std::map<std::uint32_t, std::vector<double>> mine;
  for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
    mine[p] = sums(data.train(p), features);
  }
  const std::vector<double> total = sum("normalise.sum", std::move(mine));
  check(total.size() == 1 + features && total[0] > 0, "sums over the training part");
  std::vector<double> mean(total.begin() + 1, total.end());
  for (double& value : mean) value /= total[0];

  mine.clear();
  for (std::uint32_t p = hosted.first; p < hosted.end(); ++p) {
    mine[p] = centred_squares(data.train(p), mean);
  }
  std::vector<double> scale = sum("normalise.squares", std::move(mine));
  check(scale.size() == features, "squares over the training part");
  // The sum of up to 2^29 equal floats is exact in fp64, so a constant feature has variance 0 here
  // and not a rounding error that scaling would blow up.
  for (double& value : scale) value = value > 0 ? 1.0 / std::sqrt(value / total[0]) : 1.0;
  return Normaliser::per_feature(mean, scale);
}

std::vector<float> to_floats(std::span<const double> values) {
  std::vector<float> result(values.size());
  std::transform(values.begin(), values.end(), result.begin(),
                 [](double value) { return static_cast<float>(value); });
  return result;
}

}  // namespace

std::optional<Normalisation> parse_normalisation(std::string_view word) {
  const auto at = std::find(kNormalisations.begin(), kNormalisations.end(), word);
  if (at == kNormalisations.end()) return std::nullopt;
  return static_cast<Normalisation>(at - kNormalisations.begin());
}

std::optional<std::string> normalisation_problem(Normalisation kind, const Schema& schema) {
  if (kind != Normalisation::unit || schema.bytes) return std::nullopt;
  return "\"unit\" divides bytes by 255, but the inputs of this source are real numbers; "
         "use \"standard\" or \"none\"";
}

Normaliser Normaliser::unit() {
  Normaliser result;
  result.kind_ = Normalisation::unit;
  return result;
}

Normaliser Normaliser::per_feature(std::span<const double> mean, std::span<const double> scale) {
  check(mean.size() == scale.size(), "a mean and a scale per feature");
  Normaliser result;
  result.kind_ = Normalisation::standard;
  result.mean_ = to_floats(mean);
  result.scale_ = to_floats(scale);
  return result;
}

void Normaliser::apply(std::span<const std::uint8_t> in, std::span<float> out) const {
  switch (kind_) {
    case Normalisation::none: std::copy(in.begin(), in.end(), out.begin()); return;
    case Normalisation::unit: math::bytes_to_unit(in, out); return;
    case Normalisation::standard: math::standardise(in, mean_, scale_, out); return;
  }
}

void Normaliser::apply(std::span<const float> in, std::span<float> out) const {
  check(kind_ != Normalisation::unit, "only bytes are divided by 255");
  if (kind_ == Normalisation::none) {
    std::copy(in.begin(), in.end(), out.begin());
  } else {
    math::standardise(in, mean_, scale_, out);
  }
}

Normaliser make_normaliser(Normalisation kind, const PartitionSet& data,
                           const SumOverPartitions& sum) {
  if (const auto problem = normalisation_problem(kind, data.schema())) {
    fail(Fault::config, "data.normalise: {}", *problem);
  }
  switch (kind) {
    case Normalisation::none: return {};
    case Normalisation::unit: return Normaliser::unit();
    case Normalisation::standard: return standard(data, sum);
  }
  return {};
}

}  // namespace sheaf::worker
