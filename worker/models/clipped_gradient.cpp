// The part of Model that clips the gradient of each example.
#include <algorithm>
#include <cmath>

#include "common/base/error.h"
#include "common/privacy/clip.h"
#include "worker/models/layers/example_rule.h"
#include "worker/models/losses/loss.h"
#include "worker/models/model.h"

namespace sheaf::worker {
namespace {

// Makes the rows of weight 0 zeros, so that what is not finite in them meets no product.
void clear_rows(std::span<const float> weights, std::span<float> rows) {
  const std::size_t width = rows.size() / weights.size();
  for (std::size_t i = 0; i < weights.size(); ++i) {
    if (weights[i] == 0) std::ranges::fill(rows.subspan(i * width, width), 0.0F);
  }
}

}  // namespace

std::optional<std::size_t> Model::layer_without_example_rule() const {
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const bool has_rule = layers_[i]->tensors().empty() || layers_[i]->example_rule() != nullptr;
    if (!has_rule || !layers_[i]->examples_are_apart()) return i;
  }
  return std::nullopt;
}

void Model::reserve_clipping(std::size_t examples) {
  reserve(examples);
  if (examples <= reserved_clipping_) return;
  signals_.clear();
  for (const auto& layer : layers_) signals_.emplace_back(examples * layer->outputs());
  squares_.resize(examples);
  weights_.resize(examples);
  reserved_clipping_ = examples;
}

ClippedPass Model::clipped_gradient(std::span<const float> parameters, const Batch& batch,
                                    const PassKey& key, const privacy::Clip& how,
                                    std::span<float> gradient, PassObserver* observer) {
  check(gradient.size() == layout_.size(), "the gradient fills the layout");
  check(how.adapts() == bound_.has_value(), "a bound where it adapts");
  const std::size_t n = batch.examples;
  if (n == 0) {
    empty_pass(gradient, observer);
    return {};
  }
  check(n <= reserved_clipping_, "a pass has the rows it reserved");
  forward(parameters, batch, key, true, observer);
  const std::span<double> squares = std::span(squares_).first(n);
  const double loss = propagate(parameters, batch, key, squares);
  if (bound_ && observer != nullptr) observer->before_forward(*bound_, *bound_ + 1);
  const privacy::Clip clip = bound_ ? how.at(parameters[*bound_]) : how;

  const std::span<float> weights = std::span(weights_).first(n);
  std::ranges::transform(squares, weights.begin(), [&](double sum) { return clip.weight(sum); });
  ClippedPass result{loss, n, 0};
  for (const double sum : squares) {
    if (!std::isfinite(sum)) ++result.left_out;
  }
  if (result.left_out != 0) clear_left_out(batch, weights);
  if (bound_) {
    double halves = 0;
    for (const double sum : squares) halves += clip.half(sum);
    gradient[*bound_] = static_cast<float>(halves) * clip.count_unit();
  }

  for (std::size_t i = layers_.size(); i-- > 0;) {
    const Range range = ranges_[i];
    if (range.size == 0) continue;
    const bool from_data = i == 0 && result.left_out != 0;
    const std::span<const float> in = from_data ? clean_inputs_.span() : input(i, batch);
    layers_[i]->example_rule()->sum(weights, in, signals_[i].first(n * layers_[i]->outputs()),
                                    gradient.subspan(range.begin, range.size));
    if (observer != nullptr) observer->after_backward(range.begin);
  }
  return result;
}

// Backward pass that leaves the signal of each layer where its sum() reads it, and the squares of
// the gradient of each example. Returns the loss.
double Model::propagate(std::span<const float> parameters, const Batch& batch, const PassKey& key,
                        std::span<double> squares) {
  const std::size_t n = batch.examples;
  std::ranges::fill(squares, 0.0);
  const auto signal = [&](std::size_t i) { return signals_[i].first(n * layers_[i]->outputs()); };
  const double loss =
      loss_->sum(n, input(layers_.size(), batch), batch.targets.first(n * schema_.targets),
                 signal(signals_.size() - 1));
  const std::size_t lowest = lowest_with_parameters();
  const Layer::Forward pass{n, key, true};
  for (std::size_t i = layers_.size(); i-- > lowest;) {
    const std::span<const float> in = input(i, batch), out = input(i + 1, batch);
    const std::span<float> d_in = i > lowest ? signal(i - 1) : std::span<float>();
    if (ranges_[i].size == 0) {
      layers_[i]->backward(pass, {}, in, out, signal(i), {}, d_in);
      continue;
    }
    ExampleRule& rule = *layers_[i]->example_rule();
    rule.backward_signal(pass, parameters.subspan(ranges_[i].begin, ranges_[i].size), in, out,
                         signal(i), d_in);
    rule.add_squares(in, signal(i), squares);
  }
  return loss;
}

// A rare event, so it may allocate.
void Model::clear_left_out(const Batch& batch, std::span<const float> weights) {
  const std::span<const float> inputs = input(0, batch);
  clean_inputs_ = AlignedBuffer<float>(inputs.size());
  std::ranges::copy(inputs, clean_inputs_.span().begin());
  clear_rows(weights, clean_inputs_.span());
  for (std::size_t i = 0; i + 1 < layers_.size(); ++i) {
    clear_rows(weights, activations_[i].first(batch.examples * layers_[i]->outputs()));
  }
}

}  // namespace sheaf::worker
