#include "common/math/kernels.h"

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/math/kernel_set.h"

namespace sheaf::math {
namespace {

const KernelSet& best() {
  static const KernelSet& chosen = *supported_kernels().back();
  return chosen;
}

std::size_t index(Activation f) { return static_cast<std::size_t>(f); }

}  // namespace

std::string_view instruction_set() { return best().name; }

void add(std::span<const float> x, std::span<float> y) { best().add(x.data(), y.data(), y.size()); }

double sum_squares(std::span<const float> x) { return best().sum_squares(x.data(), x.size()); }

bool all_finite(std::span<const float> x) { return best().all_finite(x.data(), x.size()); }

void exp(std::span<const float> x, std::span<float> y) { best().exp(x.data(), y.data(), x.size()); }

void sum(std::span<const float> a, std::span<const float> b, std::span<float> y) {
  best().sum(a.data(), b.data(), y.data(), a.size());
}

double softmax(std::span<const float> x, std::span<float> y) {
  return best().softmax(x.data(), y.empty() ? nullptr : y.data(), x.size());
}

void activate(Activation f, std::span<const float> x, std::span<float> y) {
  best().activate[index(f)](x.data(), y.data(), x.size());
}

void activation_gradient(Activation f, std::span<const float> y, std::span<const float> dy,
                         std::span<float> dx) {
  best().activation_gradient[index(f)](y.data(), dy.data(), dx.data(), y.size());
}

void add_bias(Activation f, std::span<const float> bias, std::size_t rows, std::span<float> x) {
  best().add_bias[index(f)](bias.data(), rows, bias.size(), x.data());
}

void bias_gradient(Activation f, std::span<const float> y, std::size_t rows, std::span<float> dy,
                   std::span<float> sum) {
  best().bias_gradient[index(f)](y.data(), rows, sum.size(), dy.data(), sum.data());
}

void weigh_rows(std::span<const float> weights, std::span<float> x, std::span<float> sum) {
  best().weigh_rows(weights.data(), weights.size(), x.size() / weights.size(), x.data(),
                    sum.empty() ? nullptr : sum.data());
}

void random_words(const Stream& stream, std::uint32_t first, std::span<std::uint32_t> words) {
  check(words.size() % 4 == 0, "random words come in whole blocks");
  best().random_words(stream.key().data(), stream.name().data(), first, words.data(),
                      words.size() / 4);
}

void dropout(const Dropout& d, std::span<const std::uint32_t> words, std::span<const float> x,
             std::span<float> y) {
  best().dropout(d.below, d.factor, words.data(), x.data(), y.data(), x.size());
}

void bytes_to_unit(std::span<const std::uint8_t> x, std::span<float> y) {
  best().bytes_to_unit(x.data(), y.data(), x.size());
}

void standardise(std::span<const std::uint8_t> x, std::span<const float> mean,
                 std::span<const float> scale, std::span<float> y) {
  best().standardise_bytes(x.data(), mean.data(), scale.data(), y.data(), x.size());
}

void standardise(std::span<const float> x, std::span<const float> mean,
                 std::span<const float> scale, std::span<float> y) {
  best().standardise(x.data(), mean.data(), scale.data(), y.data(), x.size());
}

bool sgd_step(const SgdStep& s, std::span<const float> in, std::span<const float> grad,
              std::span<float> out, bool streamed) {
  return best().sgd_step(s, in.data(), grad.data(), out.data(), in.size(), streamed);
}

bool momentum_step(const MomentumStep& s, std::span<const float> in, std::span<const float> grad,
                   std::span<float> velocity, std::span<float> out, bool streamed) {
  return best().momentum_step(s, in.data(), grad.data(), velocity.data(), out.data(), in.size(),
                              streamed);
}

bool adam_step(const AdamStep& s, std::span<const float> in, std::span<const float> grad,
               std::span<float> m, std::span<float> v, std::span<float> out, bool streamed) {
  return best().adam_step(s, in.data(), grad.data(), m.data(), v.data(), out.data(), in.size(),
                          streamed);
}

}  // namespace sheaf::math
