#include <algorithm>

#include "common/base/aligned_buffer.h"
#include "common/base/random.h"
#include "common/config/section.h"
#include "common/math/kernels.h"
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
    mask_ = {.below = static_cast<std::uint32_t>(rate * 0x1p32),
             .factor = static_cast<float>(1.0 / (1.0 - rate))};
  }

  std::size_t outputs() const override { return width_; }

  bool examples_are_apart() const override { return false; }  // masks go by the place

  void reserve(std::size_t examples) override {
    words_ = AlignedBuffer<std::uint32_t>((examples * width_ + 3) / 4 * 4);
  }

  void forward(const Forward& pass, std::span<const float>, std::span<const float> in,
               std::span<float> out) override {
    if (!pass.training) {
      std::copy(in.begin(), in.end(), out.begin());
      return;
    }
    const PassKey& key = pass.key;
    const Stream stream(key.seed, Purpose::dropout, key.step, key.partition, index_);
    math::random_words(stream, 0, words_.first((in.size() + 3) / 4 * 4));
    math::dropout(mask_, words_.span(), in, out);
  }

  void backward(const Forward&, std::span<const float>, std::span<const float>,
                std::span<const float>, std::span<float> d_out, std::span<float>,
                std::span<float> d_in) override {
    if (!d_in.empty()) math::dropout(mask_, words_.span(), d_out, d_in);
  }

 private:
  std::size_t width_;
  std::size_t index_;
  math::Dropout mask_{};
  AlignedBuffer<std::uint32_t> words_;  // of the last training pass
};

std::unique_ptr<Layer> make_dropout(const config::Section& section, std::size_t inputs,
                                    std::size_t index) {
  return std::make_unique<Dropout>(section, inputs, index);
}

}  // namespace

extern const Mode<Layer> layer_dropout = {
    "zeroes each value with probability `rate` in training, and scales the rest", &make_dropout};

}  // namespace sheaf::worker
