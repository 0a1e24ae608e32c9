#include "worker/models/model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/base/random.h"
#include "common/config/section.h"
#include "common/config/suggest.h"
#include "common/privacy/clip.h"
#include "worker/models/layers/layer.h"
#include "worker/models/losses/loss.h"

namespace sheaf::worker {
namespace {

// The name of a layer in messages and tensor names: its place, unless the config gives one.
std::string read_name(const config::Section& section, const std::vector<std::string>& names) {
  std::string name = fmt::format("{}", names.size());
  if (section.has("name")) {
    name = section.text("name", std::nullopt);
    const auto is_plain = [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
             c == '_' || c == '-';
    };
    if (name.empty() || !std::all_of(name.begin(), name.end(), is_plain)) {
      section.fault("name", fmt::format("\"{}\"", name), "letters, digits, _ and -");
    }
  }
  if (std::find(names.begin(), names.end(), name) != names.end()) {
    section.fault("name", fmt::format("\"{}\" a second time", name),
                  "a name that no other layer has (without one its place in the list is its name)");
  }
  return name;
}

// `from` may say what is the case anyway: that a layer reads the one before it.
void check_from(const config::Section& section, const std::vector<std::string>& names) {
  if (!section.has("from")) return;
  const std::vector<std::string> from = section.texts("from", std::nullopt);
  if (!section.sound("from")) return;
  if (!names.empty() && from.size() == 1 && from.front() == names.back()) return;
  const std::string expected =
      names.empty()
          ? "no key here: the first layer reads the data"
          : fmt::format("[\"{}\"], the layer before it: only plain stacks are built today",
                        names.back());
  section.fault("from", fmt::format("[{}]", config::join_words(from, true)), expected,
                "leaving it out");
}

bool is_known(const TensorRequest& tensor) {
  return std::find(tensor.shape.begin(), tensor.shape.end(), 0U) == tensor.shape.end();
}

}  // namespace

Model::Model(const config::Section& section, const Schema& schema)
    : schema_(schema), width_(schema.features) {
  std::vector<std::string> names;
  for (const config::Section& layer : section.tables("layers", true)) add_layer(layer, names);
  add_loss(section);
}

Model::~Model() = default;

void Model::add_layer(const config::Section& section, std::vector<std::string>& names) {
  check_from(section, names);
  const std::string name = read_name(section, names);
  const std::size_t index = names.size();
  names.push_back(name);
  const Mode<Layer>* mode =
      find_mode(layers(), section.mode("kind", mode_names(layers()), std::nullopt));
  const std::size_t inputs = std::exchange(width_, 0);
  if (mode == nullptr) return;
  auto layer = mode->make(section, inputs, index);
  width_ = layer->outputs();
  const std::size_t begin = layout_.size();
  for (const TensorRequest& tensor : layer->tensors()) {
    if (is_known(tensor)) {
      layout_.add(fmt::format("layers.{}.{}", name, tensor.name), tensor.shape, tensor.group);
    }
  }
  ranges_.push_back({begin, layout_.size() - begin});
  layers_.push_back(std::move(layer));
}

void Model::add_loss(const config::Section& section) {
  const std::string kind = section.word("loss", mode_names(losses()), std::nullopt);
  loss_ = find_mode(losses(), kind)->make(section);
  if (!section.sound("loss") || width_ == 0 || schema_.targets == 0) return;
  if (const auto mismatch = loss_->mismatch(width_, schema_)) {
    section.fault("loss", mismatch->found, mismatch->expected, mismatch->attempt);
  }
}

void Model::add_bound(const privacy::Clip& clip) {
  check(!bound_, "one bound");
  bound_ = layout_.size();
  layout_.add("privacy.log_bound", {1}, {.own = clip.bound_descent()});
}

void Model::initialise(std::span<float> parameters, std::uint64_t seed) const {
  check(parameters.size() == layout_.size(), "parameters fill the layout");
  std::size_t tensor = 0;
  for (const auto& layer : layers_) {
    for (std::size_t i = 0; i < layer->tensors().size(); ++i, ++tensor) {
      const params::Tensor& place = layout_.tensors()[tensor];
      Stream stream(seed, Purpose::initialise, tensor);
      layer->initialise(i, parameters.subspan(place.offset, place.size), stream);
    }
  }
  if (bound_) parameters[*bound_] = 0;
}

void Model::reserve(std::size_t examples) {
  if (examples <= reserved_) return;
  std::size_t widest = 0;
  activations_.clear();
  for (const auto& layer : layers_) {
    layer->reserve(examples);
    activations_.emplace_back(examples * layer->outputs());
    widest = std::max(widest, layer->outputs());
  }
  for (auto& gradient : gradients_) gradient = AlignedBuffer<float>(examples * widest);
  reserved_ = examples;
}

std::span<const float> Model::input(std::size_t layer, const Batch& batch) const {
  if (layer == 0) return batch.inputs.first(batch.examples * schema_.features);
  return activations_[layer - 1].first(batch.examples * layers_[layer - 1]->outputs());
}

void Model::forward(std::span<const float> parameters, const Batch& batch, const PassKey& key,
                    bool training, PassObserver* observer) {
  check(batch.examples >= 1 && batch.examples <= reserved_, "a pass has the rows it reserved");
  check(parameters.size() == layout_.size(), "parameters fill the layout");
  const Layer::Forward pass{batch.examples, key, training};
  for (std::size_t i = 0; i < layers_.size(); ++i) {
    const Range range = ranges_[i];
    if (observer != nullptr && range.size > 0) {
      observer->before_forward(range.begin, range.begin + range.size);
    }
    layers_[i]->forward(pass, parameters.subspan(range.begin, range.size), input(i, batch),
                        activations_[i].first(batch.examples * layers_[i]->outputs()));
  }
}

double Model::gradient(std::span<const float> parameters, const Batch& batch, const PassKey& key,
                       std::span<float> gradient, PassObserver* observer) {
  check(gradient.size() == layout_.size(), "the gradient fills the layout");
  if (batch.examples == 0) {
    empty_pass(gradient, observer);
    return 0;
  }
  forward(parameters, batch, key, true, observer);
  if (bound_) gradient[*bound_] = 0;
  const std::size_t n = batch.examples;
  std::span<float> d_out = gradients_[0].first(n * width_);
  const double loss =
      loss_->sum(n, input(layers_.size(), batch), batch.targets.first(n * schema_.targets), d_out);

  const std::size_t lowest = lowest_with_parameters();
  const Layer::Forward pass{n, key, true};
  for (std::size_t i = layers_.size(); i-- > lowest;) {
    const Range range = ranges_[i];
    const std::span<const float> in = input(i, batch);
    const std::size_t turn = (layers_.size() - i) % 2;
    const std::span<float> d_in = gradients_[turn].first(i > lowest ? in.size() : 0);
    layers_[i]->backward(pass, parameters.subspan(range.begin, range.size), in, input(i + 1, batch),
                         d_out, gradient.subspan(range.begin, range.size), d_in);
    if (observer != nullptr && range.size > 0) observer->after_backward(range.begin);
    d_out = d_in;
  }
  return loss;
}

std::size_t Model::lowest_with_parameters() const {
  std::size_t lowest = 0;
  while (lowest < layers_.size() && ranges_[lowest].size == 0) ++lowest;
  return lowest;
}

void Model::empty_pass(std::span<float> gradient, PassObserver* observer) {
  if (observer != nullptr) observer->before_forward(0, layout_.size());
  std::ranges::fill(gradient, 0.0F);
  if (observer != nullptr) observer->after_backward(0);
}

double Model::evaluate(std::span<const float> parameters, const Batch& batch,
                       std::span<const float>& outputs) {
  forward(parameters, batch, PassKey{}, false, nullptr);
  outputs = input(layers_.size(), batch);
  return loss_->sum(batch.examples, outputs, batch.targets.first(batch.examples * schema_.targets),
                    {});
}

}  // namespace sheaf::worker
