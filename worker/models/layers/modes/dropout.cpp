#include <algorithm>

#include "common/base/aligned_buffer.h"
#include "common/base/random.h"
#include "common/config/section.h"
#include "worker/models/layers/layer.h"

namespace sheaf::worker {
namespace {

// Inverted dropout (Srivastava et al., JMLR 2014): in training a value is 0 with probability `rate`
// and otherwise divided by 1 - rate, so that its expectation stays; in evaluation nothing happens.
// Value i of a pass is decided by word i of the stream named by seed, step, partition and layer.
class Dropout final : public Layer {
 public:
  Dropout(const config::Section& section, std::size_t inputs, std::size_t index)
      : width_(inputs), index_(index) {
    const double rate = section.real("rate", std::nullopt, {0.0, config::kBelowOne});
    dropped_below_ = static_cast<std::uint64_t>(rate * 0x1p32);
    factor_ = static_cast<float>(1.0 / (1.0 - rate));
  }

  std::size_t outputs() const override { return width_; }

  void reserve(std::size_t examples) override { mask_ = AlignedBuffer<float>(examples * width_); }

  void forward(const Forward& pass, std::span<const float>, std::span<const float> in,
               std::span<float> out) override {
    if (!pass.training) {
      std::copy(in.begin(), in.end(), out.begin());
      return;
    }
    draw_mask(pass.key, in.size());
    multiply(in, out);
  }

  void backward(const Forward&, std::span<const float>, std::span<const float>,
                std::span<const float>, std::span<float> d_out, std::span<float>,
                std::span<float> d_in) override {
    if (!d_in.empty()) multiply(d_out, d_in);
  }

 private:
  void draw_mask(const PassKey& key, std::size_t size) {
    const Stream stream(key.seed, Purpose::dropout, key.step, key.partition, index_);
    for (std::size_t i = 0; i < size; i += 4) {
      const auto words = stream.block(static_cast<std::uint32_t>(i / 4));
      for (std::size_t j = 0; j < 4 && i + j < size; ++j) {
        mask_[i + j] = words[j] < dropped_below_ ? 0.0F : factor_;
      }
    }
  }

  void multiply(std::span<const float> x, std::span<float> y) const {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] = x[i] * mask_[i];
  }

  std::size_t width_;
  std::size_t index_;
  std::uint64_t dropped_below_ = 0;  // of 2^32
  float factor_ = 1;
  AlignedBuffer<float> mask_;  // of the last training pass: 0 or factor_
};

std::unique_ptr<Layer> make_dropout(const config::Section& section, std::size_t inputs,
                                    std::size_t index) {
  return std::make_unique<Dropout>(section, inputs, index);
}

}  // namespace

extern const Mode<Layer> layer_dropout = {
    "zeroes each value with probability `rate` in training, and scales the rest", &make_dropout};

}  // namespace sheaf::worker
