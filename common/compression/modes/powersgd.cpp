#include <algorithm>
#include <cmath>
#include <vector>

#include "common/compression/compressor.h"
#include "common/compression/low_rank.h"
#include "common/compression/refusals.h"
#include "common/config/section.h"
#include "common/math/kernels.h"

namespace sheaf::compression {
namespace {

// The nearest matrix of rank r that a step of the power method finds (low_rank.h). In a job the
// left factor is that of the sum over all partitions, whose right factor goes on to the next step:
// TrainingStep brings it about, and encodes by it. By itself, as here, it begins with random
// vectors each time, which depend on the chunk alone.
class PowerSgd final : public Compressor {
 public:
  explicit PowerSgd(const config::Section& section)
      : rank_(static_cast<std::uint32_t>(section.integer("rank", 4, {1, 256}))) {}

  std::uint32_t rank() const override { return rank_; }
  Promises promises(std::size_t) const override { return {}; }
  // In a job factors stand where they are fewer bytes than floats; see factors_of().
  std::size_t max_bytes(std::size_t elements) const override {
    return std::max(bytes_of(square_matrix(elements)), elements * sizeof(float));
  }
  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override {
    if (!math::all_finite(values)) fail_not_finite(key);
    if (values.empty()) return 0;
    const Matrix matrix = square_matrix(values.size());
    std::vector<float> left(rank_ * matrix.rows()), right(rank_ * matrix.columns);
    Stream stream(key.seed, Purpose::selection, 0, 0, key.chunk);
    draw_missing(right, rank_, stream);
    orthonormalise(right, rank_);
    // Directions are all that is wanted of the product: none of its values is to be infinite, or 0.
    int exponent = 0;
    float most = 0;
    for (const float value : values) most = std::max(most, std::abs(value));
    std::frexp(most, &exponent);
    std::vector<float> scaled(values.begin(), values.end());
    const float scale = std::ldexp(1.0F, -std::max(exponent, -126));
    for (float& value : scaled) value *= scale;
    times_right(matrix, scaled, right, left);
    orthonormalise(left, rank_);
    encode_factors(std::span(&matrix, 1), values, rank_, left, right, bytes);
    return bytes_of(matrix);
  }
  void decode_add(std::span<const std::byte> bytes, const EncodingKey&,
                  std::span<float> sum) const override {
    if (sum.empty()) return expect_bytes("powersgd", bytes.size(), 0, 0);
    decode_add_factors(bytes, rank_, sum);
  }

 private:
  std::size_t bytes_of(const Matrix& matrix) const {
    return matrix.size == 0 ? 0 : factors_bytes(std::span(&matrix, 1), rank_, matrix.size);
  }

  std::uint32_t rank_;
};

std::unique_ptr<Compressor> make_powersgd(const config::Section& section) {
  return std::make_unique<PowerSgd>(section);
}

}  // namespace

extern const Mode<Compressor> compressor_powersgd = {
    "factors of rank r of each chunk, by the power method over all partitions; for pushes in bsp",
    &make_powersgd};

}  // namespace sheaf::compression
