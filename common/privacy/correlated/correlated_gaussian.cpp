#include "common/privacy/correlated/correlated_gaussian.h"

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/privacy/gaussian.h"
#include "common/privacy/noise/normal_noise.h"

namespace sheaf::privacy {
namespace {

constexpr std::string_view kBranchLabel = "sheaf noise branch 1";

wire::Digest secret_of_branch(const wire::Digest& secret, const std::string& name) {
  const std::string message = std::string(kBranchLabel) + name;
  return wire::hmac_sha256(wire::JobKey(secret), std::as_bytes(std::span(message)));
}

}  // namespace

CorrelatedGaussian::CorrelatedGaussian(const Clip& clip, std::size_t bands, double noise,
                                       const wire::Digest& secret,
                                       std::span<const NoiseBranch> branches)
    : clip_(clip), factor_(bands), deviation_(deviation_of(noise, clip)) {
  for (const NoiseBranch& branch : branches) {
    check(branches_.empty() ? branch.first == 0 : branch.first > branches_.back().first,
          "branches of noise that follow each other from step 0 on");
    branches_.emplace_back(branch.first, secret_of_branch(secret, branch.name));
  }
}

const NoiseSecret& CorrelatedGaussian::secret_of(Step step) const {
  const auto after = std::ranges::upper_bound(branches_, step, {}, &Branch::first);
  check(after != branches_.begin(), "a branch for each step of noise");
  return std::prev(after)->secret;
}

// Two values of one step with the same white noise could be subtracted.
void CorrelatedGaussian::take(const NoiseKey& key) const {
  const std::lock_guard lock(mutex_);
  Step& next = next_[key.chunk];
  check(key.step >= next, "noise that hides one thing");
  next = key.step + 1;
}

wire::Digest CorrelatedGaussian::perturb(std::span<float> values, const NoiseKey& key) const {
  take(key);
  NoiseName name{NoisePurpose::correlated, key.step, 0, 0, key.chunk};
  const wire::Digest digest = release_digest(secret_of(key.step).key(name, std::as_bytes(values)));
  std::vector<float> white(values.size());
  std::vector<double> sum(values.size());
  for (std::size_t k = 0; k < factor_.bands() && k <= key.step; ++k) {
    name.step = key.step - k;
    NormalNoise(sized(secret_of(name.step).key(name, {}), deviation_)).fill(white);
    const double weight = factor_.inverse()[k] * static_cast<double>(deviation_);
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * static_cast<double>(white[i]);
  }
  for (std::size_t i = 0; i < values.size(); ++i) {
    values[i] = static_cast<float>(static_cast<double>(values[i]) + sum[i]);
  }
  return digest;
}

}  // namespace sheaf::privacy
