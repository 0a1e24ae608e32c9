#include <cmath>

#include "common/compression/largest_values.h"
#include "common/config/section.h"

namespace sheaf::compression {
namespace {

// topk of gradients that pile up with momentum (deep gradient compression: Lin et al., ICLR 2018).
// Each quarter of the first `warmup_steps` steps sends a smaller share, a fourth at first, so that
// the fifth is `ratio`: 25 %, 6.3 %, 1.6 %, 0.4 % and 0.1 % in the paper.
class DeepGradientCompression final : public Compressor {
 public:
  explicit DeepGradientCompression(const config::Section& section)
      : values_("dgc", read_values(section, true)),
        momentum_{.factor = section.real("momentum", 0.9, {0, config::kBelowOne}),
                  .clip_norm = section.real("clip_norm", 0.0, {0, 1e30})},
        warmup_steps_(
            static_cast<Step>(section.integer("warmup_steps", 0, {0, std::int64_t{1} << 40}))) {
    constexpr double kFirst = 0.25;
    const double ratio = read_ratio(section);
    // The fourth root by operations that round the same everywhere: both ends must find the same.
    const double factor = std::sqrt(std::sqrt(std::min(1.0, ratio / kFirst)));
    double share = std::max(ratio, kFirst);
    for (double& stage : ratios_) {
      stage = share;
      share *= factor;
    }
    ratios_.back() = ratio;
  }

  std::optional<Momentum> momentum() const override { return momentum_; }
  Promises promises(std::size_t elements) const override {
    return values_.promises(share_of(ratios_.back(), elements), elements);
  }
  std::size_t max_bytes(std::size_t elements) const override {
    return values_.max_bytes(most(elements, 0), elements);
  }
  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override {
    return values_.encode(values, most(values.size(), key.step), key, bytes);
  }
  void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                  std::span<float> sum) const override {
    values_.decode_add(bytes, most(sum.size(), key.step), sum);
  }

 private:
  std::size_t most(std::size_t elements, Step step) const {
    const std::size_t last = ratios_.size() - 1;
    const std::size_t stage =
        step >= warmup_steps_ ? last : static_cast<std::size_t>(last * step / warmup_steps_);
    return share_of(ratios_[stage], elements);
  }

  LargestValues values_;
  Momentum momentum_;
  Step warmup_steps_;
  std::array<double, 5> ratios_{};
};

std::unique_ptr<Compressor> make_dgc(const config::Section& section) {
  return std::make_unique<DeepGradientCompression>(section);
}

}  // namespace

extern const Mode<Compressor> compressor_dgc = {
    "topk of gradients that pile up with momentum before they are sent; for pushes", &make_dgc};

}  // namespace sheaf::compression
