#include "common/privacy/audit/audit.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <map>
#include <optional>

#include "common/privacy/accounting/accountant.h"
#include "common/privacy/audit/bounds.h"

namespace sheaf::privacy {
namespace {

// Shares of the canaries about which the auditor guesses: those of the highest scores are guessed
// to be in, and as many of the lowest to be out.
constexpr std::array kShares = {0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125};

struct Threshold {
  Found found;      // of the highest
  Guesses guesses;  // of both ends
};

std::vector<Threshold> thresholds_of(std::vector<CanaryScore>& scores) {
  std::ranges::sort(scores, std::greater(), &CanaryScore::score);
  std::vector<Threshold> all;
  const std::size_t total = scores.size();
  const auto in = static_cast<std::uint64_t>(std::ranges::count(scores, true, &CanaryScore::in));
  for (const double share : kShares) {
    const auto taken = static_cast<std::size_t>(share * static_cast<double>(total));
    Threshold threshold;
    threshold.found.in = in;
    threshold.found.out = total - in;
    threshold.guesses = {total, 2 * taken, 0};
    for (std::size_t i = 0; i < taken; ++i) {
      ++(scores[i].in ? threshold.found.in_found : threshold.found.out_found);
      threshold.guesses.correct += scores[i].in ? 1U : 0U;
      threshold.guesses.correct += scores[total - 1 - i].in ? 0U : 1U;
    }
    all.push_back(threshold);
  }
  return all;
}

// The curves of the claim with other noise; each is evaluated once.
class Curves {
 public:
  Curves(const GaussianSteps& claim, Adjacency adjacency) : claim_(claim), adjacency_(adjacency) {}

  // The least noise that is refuted, to within a third of a per cent; nothing if none is.
  std::optional<double> least_refuted(const std::function<bool(const TradeOff&)>& refutes) {
    double high = 16 * claim_.noise, low = claim_.noise / 8;
    if (!refutes(of(high))) return std::nullopt;
    for (int i = 0; i < 11; ++i) {
      const double middle = std::sqrt(low * high);
      (refutes(of(middle)) ? high : low) = middle;
    }
    return high;
  }

 private:
  const TradeOff& of(double noise) {
    const auto known = curves_.find(noise);
    if (known != curves_.end()) return known->second;
    GaussianSteps steps = claim_;
    steps.noise = noise;
    return curves_.emplace(noise, TradeOff({&steps, 1}, adjacency_)).first->second;
  }

  GaussianSteps claim_;
  Adjacency adjacency_;
  std::map<double, TradeOff> curves_;
};

}  // namespace

AuditBounds audit_bounds(std::vector<CanaryScore> scores, const GaussianSteps& claim, double delta,
                         Adjacency adjacency, double confidence) {
  const std::vector<Threshold> thresholds = thresholds_of(scores);
  const double significance = (1 - confidence) / static_cast<double>(thresholds.size());
  const auto epsilon = [&](std::optional<double> noise) {
    GaussianSteps steps = claim;
    if (!noise) return 0.0;
    steps.noise = *noise;
    return epsilon_of({&steps, 1}, delta, adjacency, Method::tight).value;
  };
  Curves curves(claim, adjacency);
  const auto independent = curves.least_refuted([&](const TradeOff& curve) {
    return std::ranges::any_of(thresholds, [&](const Threshold& threshold) {
      return refuted_if_independent(threshold.found, curve, significance);
    });
  });
  const auto one_run = curves.least_refuted([&](const TradeOff& curve) {
    return std::ranges::any_of(thresholds, [&](const Threshold& threshold) {
      return refuted_in_one_run(threshold.guesses, curve, significance);
    });
  });
  return {epsilon(independent), epsilon(one_run), epsilon(claim.noise)};
}

double canary_score(double seen, double sampling_rate, double noise, Adjacency adjacency) {
  const auto of_one = [&](double x) {
    return std::log1p(sampling_rate * std::expm1((2 * x - 1) / (2 * noise * noise)));
  };
  return adjacency == Adjacency::add_remove ? of_one(seen) : of_one(seen) - of_one(-seen);
}

}  // namespace sheaf::privacy
