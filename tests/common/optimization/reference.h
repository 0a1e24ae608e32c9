// A second implementation of the update rules, in double precision and straight from the papers,
// one parameter at a time, and the means to run an optimizer beside it.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/config/section.h"
#include "common/optimization/optimizer.h"

namespace sheaf::optimization {

struct ReferenceSgd {
  double decay = 0;
  double operator()(int, double rate, double x, double g) const {
    return x - rate * (g + decay * x);
  }
};

struct ReferenceMomentum {
  double decay = 0;
  double momentum = 0.9;
  bool nesterov = false;
  double v = 0;
  double operator()(int, double rate, double x, double gradient) {
    const double g = gradient + decay * x;
    v = momentum * v + g;
    return x - rate * (nesterov ? g + momentum * v : v);
  }
};

struct ReferenceAdam {
  double decay = 0;
  bool decoupled = false;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double m = 0;
  double v = 0;
  double operator()(int t, double rate, double x, double gradient) {
    const double g = gradient + (decoupled ? 0 : decay * x);
    m = beta1 * m + (1 - beta1) * g;
    v = beta2 * v + (1 - beta2) * g * g;
    const double m_hat = m / (1 - std::pow(beta1, t));
    const double v_hat = v / (1 - std::pow(beta2, t));
    const double shrunk = decoupled ? x - rate * decay * x : x;
    return shrunk - rate * m_hat / (std::sqrt(v_hat) + epsilon);
  }
};

// The optimizer `kind` with `options` (TOML) as its section.
inline std::unique_ptr<Optimizer> make_optimizer(std::string_view kind,
                                                 const std::string& options) {
  const auto job = config::Document::from_text("[optimizer]\n" + options, "job.toml");
  auto optimizer = find_mode(optimizers(), kind)->make(job->root().table("optimizer"));
  job->throw_if_faulty();
  return optimizer;
}

// Largest |x - reference| over `steps` steps of 37 parameters with normal gradients, both from the
// same start. Each parameter of the reference starts as a copy of `rule`.
template <typename Rule>
double largest_difference(const Optimizer& optimizer, const Rule& rule, double rate, int steps) {
  constexpr std::size_t kSize = 37;
  Stream stream(3, Purpose::test, 1);
  std::vector<float> x(kSize);
  for (float& value : x) value = static_cast<float>(stream.normal());
  std::vector<double> reference(x.begin(), x.end());
  std::vector<Rule> rules(kSize, rule);
  std::vector<float> gradient(kSize);
  std::vector<float> next(kSize);
  std::vector<float> state(kSize * optimizer.state_per_parameter());
  double largest = 0;
  for (int t = 1; t <= steps; ++t) {
    for (float& value : gradient) value = static_cast<float>(stream.normal());
    for (std::size_t i = 0; i < kSize; ++i) {
      reference[i] = rules[i](t, rate, reference[i], static_cast<double>(gradient[i]));
    }
    optimizer.step({.step = static_cast<Step>(t - 1), .rate = rate, .group = {}}, x, gradient,
                   state, next);
    std::swap(x, next);
    for (std::size_t i = 0; i < kSize; ++i) {
      largest = std::max(largest, std::abs(static_cast<double>(x[i]) - reference[i]));
    }
  }
  return largest;
}

// The parameter after each of `gradients`, from `x`; `state` for one parameter is kept.
inline std::vector<float> trace(const Optimizer& optimizer, float x, double rate,
                                std::vector<float> gradients, params::Group group = {}) {
  std::vector<float> state(optimizer.state_per_parameter());
  std::vector<float> after;
  for (std::size_t t = 0; t < gradients.size(); ++t) {
    float next = 0;
    optimizer.step({.step = t, .rate = rate, .group = group}, {&x, 1}, {&gradients[t], 1}, state,
                   {&next, 1});
    after.push_back(x = next);
  }
  return after;
}

}  // namespace sheaf::optimization
