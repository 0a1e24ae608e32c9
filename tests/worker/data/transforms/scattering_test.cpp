// The scattering transform against one in doubles that is made of nothing but its definition:
// filters sampled in space, convolutions as sums.
#include "worker/data/transforms/scattering.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <complex>
#include <numbers>

#include "common/base/random.h"

namespace sheaf::worker {
namespace {

using Complex = std::complex<double>;
constexpr double kPi = std::numbers::pi;

// --- the second implementation -------------------------------------------------------------------

struct Plane {
  std::size_t height, width;
  std::vector<Complex> values;
  Plane(std::size_t h, std::size_t w) : height(h), width(w), values(h * w) {}
  Complex& at(std::size_t y, std::size_t x) { return values[y * width + x]; }
  const Complex& at(std::size_t y, std::size_t x) const { return values[y * width + x]; }
};

// exp(i frequency along) under a bell, at every sample of a periodic plane, wrapped many times.
Plane sampled(std::size_t h, std::size_t w, double sigma, double slant, double angle,
              double frequency) {
  Plane filter(h, w);
  for (int wrap_y = -4; wrap_y <= 4; ++wrap_y) {
    for (int wrap_x = -4; wrap_x <= 4; ++wrap_x) {
      for (std::size_t row = 0; row < h; ++row) {
        for (std::size_t column = 0; column < w; ++column) {
          const double y = static_cast<double>(row) + wrap_y * static_cast<double>(h);
          const double x = static_cast<double>(column) + wrap_x * static_cast<double>(w);
          const double along = y * std::cos(angle) + x * std::sin(angle);
          const double across = x * std::cos(angle) - y * std::sin(angle);
          filter.at(row, column) +=
              std::exp(
                  Complex(-(along * along + slant * slant * across * across) / 2 / sigma / sigma,
                          frequency * along)) *
              slant / (2 * kPi * sigma * sigma);
        }
      }
    }
  }
  return filter;
}

Complex total(const Plane& plane) {
  Complex sum = 0;
  for (const Complex& value : plane.values) sum += value;
  return sum;
}

Plane morlet(std::size_t h, std::size_t w, double scale, double angle, double slant) {
  const double sigma = 0.8 * scale;
  Plane wave = sampled(h, w, sigma, slant, angle, 3 * kPi / 4 / scale);
  const Plane bell = sampled(h, w, sigma, slant, angle, 0);
  const Complex k = total(wave) / total(bell);
  for (std::size_t i = 0; i < wave.values.size(); ++i) wave.values[i] -= k * bell.values[i];
  return wave;
}

// Periodic convolution, at every `stride`-th row and column.
Plane convolve(const Plane& x, const Plane& filter, std::size_t stride) {
  Plane out(x.height / stride, x.width / stride);
  for (std::size_t y = 0; y < out.height; ++y) {
    for (std::size_t z = 0; z < out.width; ++z) {
      Complex sum = 0;
      for (std::size_t v = 0; v < x.height; ++v) {
        for (std::size_t u = 0; u < x.width; ++u) {
          sum += x.at(v, u) * filter.at((y * stride + x.height - v) % x.height,
                                        (z * stride + x.width - u) % x.width);
        }
      }
      out.at(y, z) = sum;
    }
  }
  return out;
}

Plane modulus_of(Plane plane) {
  for (Complex& value : plane.values) value = std::abs(value);
  return plane;
}

// x * phi at the outputs; `level`: x has every 2^level-th pixel. The bell sums to 1.
void append_average(const Plane& x, const ScatteringShape& shape, std::size_t level,
                    std::vector<double>& out) {
  const std::size_t step = shape.step() >> level;
  Plane bell = sampled(x.height, x.width, 0.4 * static_cast<double>(step), 1, 0, 0);
  const Complex sum = total(bell);
  for (Complex& value : bell.values) value /= sum;
  const Plane averages = convolve(x, bell, step);
  for (std::size_t y = 1; y + 1 < averages.height; ++y) {
    for (std::size_t z = 1; z + 1 < averages.width; ++z) out.push_back(averages.at(y, z).real());
  }
}

std::size_t mirrored(long at, long size) {
  while (at < 0 || at >= size) at = at < 0 ? -at : 2 * (size - 1) - at;
  return static_cast<std::size_t>(at);
}

std::vector<double> reference(std::span<const float> image, const ScatteringShape& shape) {
  const std::size_t step = shape.step(), orientations = shape.orientations;
  const auto [height, width] = shape.image;
  Plane x((height / step + 2) * step, (width / step + 2) * step);
  const long above = static_cast<long>(x.height - height) / 2;
  const long left = static_cast<long>(x.width - width) / 2;
  for (std::size_t y = 0; y < x.height; ++y) {
    for (std::size_t z = 0; z < x.width; ++z) {
      x.at(y, z) = image[mirrored(static_cast<long>(y) - above, static_cast<long>(height)) * width +
                         mirrored(static_cast<long>(z) - left, static_cast<long>(width))];
    }
  }
  const double slant = 4.0 / static_cast<double>(orientations);
  const auto filtered = [&](const Plane& from, std::size_t jump, std::size_t l) {
    const double angle = kPi * static_cast<double>(l) / static_cast<double>(orientations);
    const double scale = std::pow(2.0, static_cast<double>(jump));
    return modulus_of(convolve(from, morlet(from.height, from.width, scale, angle, slant),
                               std::size_t{1} << jump));
  };
  std::vector<double> out, second;
  append_average(x, shape, 0, out);
  for (std::size_t j = 0; j < shape.scales; ++j) {
    for (std::size_t l = 0; l < orientations; ++l) {
      const Plane first = filtered(x, j, l);
      append_average(first, shape, j, out);
      for (std::size_t k = j + 1; k < shape.scales; ++k) {
        for (std::size_t m = 0; m < orientations; ++m) {
          append_average(filtered(first, k - j, m), shape, k, second);
        }
      }
    }
  }
  out.insert(out.end(), second.begin(), second.end());
  return out;
}

// --- tests ---------------------------------------------------------------------------------------

std::vector<float> noise_image(const Grid& grid, std::uint64_t name) {
  Stream random(5, Purpose::test, name);
  std::vector<float> image(grid.size());
  for (float& pixel : image) pixel = random.uniform();
  return image;
}

std::vector<float> scatter(const ScatteringShape& shape, std::span<const float> image) {
  std::vector<float> out(shape.channels() * shape.outputs().size());
  Scattering(shape).apply(image, out);
  return out;
}

double distance(std::span<const float> a, std::span<const float> b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    squares += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
  }
  return std::sqrt(squares);
}

class ScatteringShapes : public testing::TestWithParam<ScatteringShape> {};

TEST_P(ScatteringShapes, IsWhatItsDefinitionGives) {
  const ScatteringShape& shape = GetParam();
  const auto image = noise_image(shape.image, 1);
  const auto expected = reference(image, shape);
  const auto found = scatter(shape, image);
  ASSERT_EQ(found.size(), expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) EXPECT_NEAR(found[i], expected[i], 2e-6) << i;
}

// Sides that are no multiples of the step, more than two scales, an odd number of orientations.
std::string name_of(const testing::TestParamInfo<ScatteringShape>& info) {
  return fmt::format("{}x{}_scales{}_orientations{}", info.param.image.height,
                     info.param.image.width, info.param.scales, info.param.orientations);
}

// Sides that are no multiples of the step, more than two scales, an odd number of orientations.
INSTANTIATE_TEST_SUITE_P(Of, ScatteringShapes,
                         testing::Values(ScatteringShape{{28, 28}, 2, 8},
                                         ScatteringShape{{4, 4}, 1, 8},
                                         ScatteringShape{{7, 5}, 2, 3},
                                         ScatteringShape{{13, 18}, 3, 4}),
                         &name_of);

TEST(ScatteringTest, HasAsManyChannelsAsTheLiterature) {
  const ScatteringShape shape{{28, 28}, 2, 8};
  EXPECT_EQ(shape.channels(), 81U);  // Oyallon and Mallat, CVPR 2015
  EXPECT_EQ(shape.outputs(), (Grid{7, 7}));
}

TEST(ScatteringTest, AConstantImageHasOrderZeroAlone) {
  const ScatteringShape shape{{28, 28}, 2, 8};
  const auto found = scatter(shape, std::vector<float>(784, 0.75F));
  for (std::size_t i = 0; i < 49; ++i) EXPECT_NEAR(found[i], 0.75, 1e-6);
  for (std::size_t i = 49; i < found.size(); ++i) EXPECT_NEAR(found[i], 0, 1e-6);
}

// With nothing near the edges the padded image is shifted around its circle, and so is the result.
TEST(ScatteringTest, AShiftByAStepShiftsTheOutputs) {
  const ScatteringShape shape{{28, 28}, 2, 8};
  std::vector<float> image(784), shifted(784);
  const auto noise = noise_image({10, 10}, 2);
  for (std::size_t y = 0; y < 10; ++y) {
    for (std::size_t x = 0; x < 10; ++x) {
      image[(y + 8) * 28 + x + 8] = noise[y * 10 + x];
      shifted[(y + 8) * 28 + x + 12] = noise[y * 10 + x];
    }
  }
  const auto before = scatter(shape, image), after = scatter(shape, shifted);
  ASSERT_GT(distance(before, after), 0.1);  // else nothing is tested
  for (std::size_t row = 0; row < 81 * 7; ++row) {
    for (std::size_t x = 0; x < 6; ++x) {
      EXPECT_NEAR(after[row * 7 + x + 1], before[row * 7 + x], 1e-6) << row << ", " << x;
    }
  }
}

TEST(ScatteringTest, BringsNoTwoImagesFartherApart) {
  const ScatteringShape shape{{28, 28}, 2, 8};
  const auto a = noise_image(shape.image, 3);
  // Another noise, a pixel, an edge, and a change along the border, which the margin repeats.
  std::vector<std::vector<float>> others(4, a);
  others[0] = noise_image(shape.image, 4);
  others[1][14 * 28 + 14] += 1;
  for (std::size_t i = 0; i < 784; ++i) others[2][i] += i % 28 < 14 ? 0.5F : 0.0F;
  for (std::size_t x = 0; x < 28; ++x) others[3][28 + x] += 1;
  for (const auto& b : others)
    EXPECT_LE(distance(scatter(shape, a), scatter(shape, b)), distance(a, b));
}

// What makes it so: no frequency of a real image comes out of all filters together with more energy
// than it had (Littlewood-Paley), and those up to the highest wavelets' keep a part of it.
TEST(ScatteringTest, FiltersKeepEnergyWithinBounds) {
  const Grid grid{36, 36};
  const auto mirror = [&](std::size_t y, std::size_t x) {
    return (grid.height - y) % grid.height * grid.width + (grid.width - x) % grid.width;
  };
  std::vector<double> energy(grid.size());
  for (std::size_t filter = 0; filter < 16; ++filter) {
    const auto spectrum = morlet_spectrum(grid, {.scale = filter < 8 ? 1.0 : 2.0,
                                                 .angle = kPi * static_cast<double>(filter % 8) / 8,
                                                 .slant = 0.5});
    EXPECT_EQ(spectrum[0], 0);
    for (std::size_t y = 0; y < 36; ++y) {
      for (std::size_t x = 0; x < 36; ++x) {
        const double one = spectrum[y * 36 + x], other = spectrum[mirror(y, x)];
        energy[y * 36 + x] += (one * one + other * other) / 2;
      }
    }
  }
  // The bell's own spectrum is a bell: exp(-sigma^2 w^2 / 2), nearly nothing where it wraps.
  for (std::size_t y = 0; y < 36; ++y) {
    for (std::size_t x = 0; x < 36; ++x) {
      const double v = 2 * kPi / 36 * static_cast<double>(std::min(y, 36 - y));
      const double u = 2 * kPi / 36 * static_cast<double>(std::min(x, 36 - x));
      const double radius = std::sqrt(v * v + u * u);
      const double kept = energy[y * 36 + x] + std::exp(-1.6 * 1.6 * radius * radius);
      EXPECT_LE(kept, 1 + 1e-3) << y << ", " << x;
      EXPECT_GE(kept, radius < 3 * kPi / 4 ? 0.3 : 0) << y << ", " << x;
    }
  }
}

TEST(ScatteringTest, BitsOfAnImageDoNotDependOnWhatCameBefore) {
  const ScatteringShape shape{{12, 12}, 2, 8};
  const auto a = noise_image(shape.image, 6), b = noise_image(shape.image, 7);
  Scattering one(shape);
  std::vector<float> out(shape.channels() * shape.outputs().size());
  one.apply(b, out);
  one.apply(a, out);
  EXPECT_THAT(out, testing::ElementsAreArray(scatter(shape, a)));
}

}  // namespace
}  // namespace sheaf::worker
