#include "worker/models/layers/elementwise.h"

namespace sheaf::worker {
namespace {

class Elementwise final : public Layer {
 public:
  Elementwise(math::Activation activation, std::size_t width)
      : activation_(activation), width_(width) {}

  std::size_t outputs() const override { return width_; }

  void forward(const Forward&, std::span<const float>, std::span<const float> in,
               std::span<float> out) override {
    math::activate(activation_, in, out);
  }

  void backward(const Forward&, std::span<const float>, std::span<const float>,
                std::span<const float> out, std::span<float> d_out, std::span<float>,
                std::span<float> d_in) override {
    if (!d_in.empty()) math::activation_gradient(activation_, out, d_out, d_in);
  }

 private:
  math::Activation activation_;
  std::size_t width_;
};

}  // namespace

std::unique_ptr<Layer> make_elementwise(math::Activation activation, std::size_t width) {
  return std::make_unique<Elementwise>(activation, width);
}

}  // namespace sheaf::worker
