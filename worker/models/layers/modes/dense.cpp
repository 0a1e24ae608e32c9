#include <algorithm>
#include <array>

#include "common/config/section.h"
#include "common/math/blas.h"
#include "common/math/kernels.h"
#include "worker/models/initialiser.h"
#include "worker/models/layers/example_rule.h"
#include "worker/models/layers/layer.h"

namespace sheaf::worker {
namespace {

using math::Activation;
constexpr std::array<std::string_view, 4> kActivationNames = {"none", "relu", "sigmoid", "tanh"};

template <std::size_t n>
std::size_t place(const std::array<std::string_view, n>& words, std::string_view word) {
  return static_cast<std::size_t>(std::find(words.begin(), words.end(), word) - words.begin());
}

// out = f(in W + b), with W (inputs x units), b (units) and f an activation:
//   d = d_out f'(out);  dW = in' d;  db = sum of the rows of d;  d_in = d W'
// One GEMM and one pass forward, two GEMMs and one pass backward. The gradient of one example is an
// outer product, a' d and d, so its squares sum to (||a||^2 + 1) ||d||^2.
class Dense final : public Layer, public ExampleRule {
 public:
  Dense(const config::Section& section, std::size_t inputs) : inputs_(inputs) {
    constexpr std::int64_t kMostUnits = std::int64_t{1} << 24;
    const std::int64_t units = section.integer("units", std::nullopt, {1, kMostUnits});
    units_ = section.sound("units") ? static_cast<std::size_t>(units) : 0;
    const std::string activation = section.word("activation", kActivationNames, "none");
    activation_ = static_cast<Activation>(place(kActivationNames, activation));
    const std::string_view usual = activation_ == Activation::relu ? "he" : "glorot";
    initialiser_ = static_cast<Initialiser>(
        place(kInitialiserNames, section.word("init", kInitialiserNames, usual)));
    bias_ = section.boolean("bias", true);
    rate_scale_ = static_cast<float>(section.real("rate_scale", 1.0, {0.0, 1e6}));
  }

  std::size_t outputs() const override { return units_; }

  std::vector<TensorRequest> tensors() const override {
    const auto inputs = static_cast<std::uint32_t>(inputs_);
    const auto units = static_cast<std::uint32_t>(units_);
    std::vector<TensorRequest> tensors = {{"weight", {inputs, units}, {rate_scale_, 1}}};
    if (bias_) tensors.push_back({"bias", {units}, {rate_scale_, 0}});
    return tensors;
  }

  void initialise(std::size_t tensor, std::span<float> values, Stream& stream) const override {
    const Initialiser kind = tensor == 0 ? initialiser_ : Initialiser::zero;
    worker::initialise(kind, inputs_, units_, stream, values);
  }

  void forward(const Forward& pass, std::span<const float> parameters, std::span<const float> in,
               std::span<float> out) override {
    math::gemm(pass.examples, units_, inputs_, in.data(), parameters.data(), 0, out.data());
    if (bias_) {
      math::add_bias(activation_, parameters.last(units_), pass.examples, out);
    } else if (activation_ != Activation::none) {
      math::activate(activation_, out, out);
    }
  }

  void backward(const Forward& pass, std::span<const float> parameters, std::span<const float> in,
                std::span<const float> out, std::span<float> d_out, std::span<float> gradient,
                std::span<float> d_in) override {
    if (bias_) {
      math::bias_gradient(activation_, out, pass.examples, d_out, gradient.last(units_));
    } else if (activation_ != Activation::none) {
      math::activation_gradient(activation_, out, d_out, d_out);
    }
    math::gemm_at(inputs_, units_, pass.examples, in.data(), d_out.data(), 0, gradient.data());
    if (!d_in.empty()) {
      math::gemm_bt(pass.examples, inputs_, units_, d_out.data(), parameters.data(), 0,
                    d_in.data());
    }
  }

  ExampleRule* example_rule() override { return this; }

  void backward_signal(const Forward& pass, std::span<const float> parameters,
                       std::span<const float>, std::span<const float> out, std::span<float> signal,
                       std::span<float> d_in) override {
    if (activation_ != Activation::none) {
      math::activation_gradient(activation_, out, signal, signal);
    }
    if (!d_in.empty()) {
      math::gemm_bt(pass.examples, inputs_, units_, signal.data(), parameters.data(), 0,
                    d_in.data());
    }
  }

  void add_squares(std::span<const float> in, std::span<const float> signal,
                   std::span<double> squares) const override {
    const double of_bias = bias_ ? 1 : 0;
    for (std::size_t i = 0; i < squares.size(); ++i) {
      squares[i] += (math::sum_squares(in.subspan(i * inputs_, inputs_)) + of_bias) *
                    math::sum_squares(signal.subspan(i * units_, units_));
    }
  }

  void sum(std::span<const float> weights, std::span<const float> in, std::span<float> signal,
           std::span<float> gradient) const override {
    math::weigh_rows(weights, signal, bias_ ? gradient.last(units_) : std::span<float>());
    math::gemm_at(inputs_, units_, weights.size(), in.data(), signal.data(), 0, gradient.data());
  }

 private:
  std::size_t inputs_;
  std::size_t units_ = 0;
  Activation activation_ = Activation::none;
  Initialiser initialiser_ = Initialiser::glorot;
  bool bias_ = true;
  float rate_scale_ = 1;
};

std::unique_ptr<Layer> make_dense(const config::Section& section, std::size_t inputs, std::size_t) {
  return std::make_unique<Dense>(section, inputs);
}

}  // namespace

extern const Mode<Layer> layer_dense = {"fully connected, with bias and an activation fused in",
                                        &make_dense};

}  // namespace sheaf::worker
