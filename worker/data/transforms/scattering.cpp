#include "worker/data/transforms/scattering.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/base/error.h"
#include "common/math/blas.h"

namespace sheaf::worker {
namespace {

// A step of margin on each side, and what an image has beyond whole steps is taken from it.
std::size_t padded(std::size_t size, std::size_t step) { return (size / step + 2) * step; }
std::size_t margin(std::size_t size, std::size_t step) { return (padded(size, step) - size) / 2; }

// Where a place outside of the image is reflected to, its edge pixels not repeated.
std::size_t reflected(std::size_t place, std::size_t before, std::size_t size) {
  const std::size_t period = 2 * (size - 1);
  const std::size_t at = (place + period - before % period) % period;
  return std::min(at, period - at);
}

// (rows of outputs x size): the bell around each output; the first and the last step of the grid
// are margin.
std::vector<double> averages(std::size_t size, std::size_t step, double sigma) {
  const std::vector<double> bell = periodic_bell(size, sigma);
  const std::size_t outputs = size / step - 2;
  std::vector<double> matrix(outputs * size);
  for (std::size_t i = 0; i < outputs; ++i) {
    for (std::size_t x = 0; x < size; ++x) {
      matrix[i * size + x] = bell[(x + size - (i + 1) * step) % size];
    }
  }
  return matrix;
}

void modulus(std::span<const float> real, std::span<const float> imaginary, std::span<float> out) {
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = std::sqrt(real[i] * real[i] + imaginary[i] * imaginary[i]);
  }
}

}  // namespace

Scattering::Scattering(const ScatteringShape& shape)
    : shape_(shape),
      padded_{padded(shape.image.height, shape.step()), padded(shape.image.width, shape.step())},
      image_(padded_.size()),
      spectrum_(2 * padded_.size()),
      moduli_(shape.orientations * padded_.size()),
      moduli_spectrum_(2 * shape.orientations * padded_.size()),
      folded_(2 * shape.orientations * padded_.size()),
      filtered_(2 * shape.orientations * padded_.size()),
      half_averaged_(shape.outputs().height * shape.orientations * padded_.width),
      averaged_(shape.orientations * shape.outputs().size()) {
  check(shape.scales > 0 && shape.orientations > 0 && shape.outputs().size() > 0,
        "the shape of a scattering transform");
  for (std::size_t level = 0; level < shape.scales; ++level) levels_.push_back(make_level(level));
}

Scattering::Level Scattering::make_level(std::size_t level) const {
  const Grid grid{padded_.height >> level, padded_.width >> level};
  Level made{FourierProducts(grid, shape_.orientations), {}, {}, {}};
  for (std::size_t j = level; j < shape_.scales; ++j) {
    AlignedBuffer<float> filters(shape_.orientations * grid.size());
    for (std::size_t l = 0; l < shape_.orientations; ++l) {
      const double orientations = static_cast<double>(shape_.orientations);
      const auto spectrum =
          morlet_spectrum(grid, {.scale = std::ldexp(1.0, static_cast<int>(j - level)),
                                 .angle = std::numbers::pi * static_cast<double>(l) / orientations,
                                 .slant = 4 / orientations});
      std::transform(spectrum.begin(), spectrum.end(), filters.data() + l * grid.size(),
                     [&](double value) {
                       return static_cast<float>(value / static_cast<double>(grid.size()));
                     });
    }
    made.filters.push_back(std::move(filters));
  }
  const std::size_t step = shape_.step() >> level;
  const double sigma = 0.4 * static_cast<double>(step);
  const std::vector<double> rows = averages(grid.height, step, sigma);
  made.low_pass_rows = AlignedBuffer<float>(rows.size());
  std::transform(rows.begin(), rows.end(), made.low_pass_rows.data(),
                 [](double value) { return static_cast<float>(value); });
  const std::vector<double> columns = averages(grid.width, step, sigma);
  const std::size_t outputs = columns.size() / grid.width;
  made.low_pass_columns = AlignedBuffer<float>(columns.size());
  for (std::size_t i = 0; i < outputs; ++i) {
    for (std::size_t x = 0; x < grid.width; ++x) {
      made.low_pass_columns[x * outputs + i] = static_cast<float>(columns[i * grid.width + x]);
    }
  }
  return made;
}

void Scattering::pad(std::span<const float> image) {
  const auto [height, width] = shape_.image;
  const std::size_t above = margin(height, shape_.step()), left = margin(width, shape_.step());
  for (std::size_t y = 0; y < padded_.height; ++y) {
    const float* row = image.data() + reflected(y, above, height) * width;
    for (std::size_t x = 0; x < padded_.width; ++x) {
      image_[y * padded_.width + x] = row[reflected(x, left, width)];
    }
  }
}

std::span<const float> Scattering::filter(std::span<const float> spectrum, std::size_t of,
                                          std::size_t count, std::size_t level, std::size_t j) {
  const Grid from = levels_[level].fourier.grid();
  const Grid to = levels_[j].fourier.grid();
  const std::size_t fold = std::size_t{1} << (j - level), orientations = shape_.orientations;
  const float* filters = levels_[level].filters[j - level].data();
  // Every 2^(j - level)-th sample of an array has, at each frequency, the sum of what the array has
  // at all frequencies that look the same to it.
  for (std::size_t part = 0; part < 2; ++part) {
    for (std::size_t y = 0; y < to.height; ++y) {
      for (std::size_t l = 0; l < orientations; ++l) {
        float* out = folded_.data() + ((part * to.height + y) * orientations + l) * to.width;
        std::fill_n(out, to.width, 0.0F);
        for (std::size_t row = y; row < from.height; row += to.height) {
          const float* in =
              spectrum.data() + ((part * from.height + row) * count + of) * from.width;
          const float* filter = filters + (l * from.height + row) * from.width;
          for (std::size_t b = 0; b < fold; ++b) {
            for (std::size_t x = 0; x < to.width; ++x) {
              out[x] += in[b * to.width + x] * filter[b * to.width + x];
            }
          }
        }
      }
    }
  }
  const std::size_t size = orientations * to.size();
  levels_[j].fourier.inverse(folded_.first(2 * size), orientations, filtered_.first(2 * size));
  modulus(filtered_.first(size), filtered_.span().subspan(size, size), moduli_.first(size));
  return moduli_.first(size);
}

void Scattering::average(std::size_t level, std::span<const float> values, std::size_t count,
                         std::span<float> channels) {
  const Grid grid = levels_[level].fourier.grid();
  const Grid outputs = shape_.outputs();
  math::gemm(outputs.height, count * grid.width, grid.height, levels_[level].low_pass_rows.data(),
             values.data(), 0, half_averaged_.data());
  math::gemm(outputs.height * count, outputs.width, grid.width, half_averaged_.data(),
             levels_[level].low_pass_columns.data(), 0, averaged_.data());
  for (std::size_t y = 0; y < outputs.height; ++y) {
    for (std::size_t i = 0; i < count; ++i) {
      std::copy_n(averaged_.data() + (y * count + i) * outputs.width, outputs.width,
                  channels.data() + i * outputs.size() + y * outputs.width);
    }
  }
}

void Scattering::apply(std::span<const float> image, std::span<float> out) {
  const std::size_t orientations = shape_.orientations, scales = shape_.scales;
  const std::size_t size = shape_.outputs().size();
  check(image.size() == shape_.image.size() && out.size() == shape_.channels() * size,
        "an image of a scattering transform");
  pad(image);
  average(0, image_.span(), 1, out);
  levels_[0].fourier.forward(image_.span(), 1, spectrum_.span());
  std::span<float> first = out.subspan(size);
  std::span<float> second = first.subspan(scales * orientations * size);
  for (std::size_t j = 0; j < scales; ++j) {
    const auto moduli = filter(spectrum_.span(), 0, 1, 0, j);
    average(j, moduli, orientations, first);
    first = first.subspan(orientations * size);
    if (j + 1 == scales) break;
    const std::span<float> spectra = moduli_spectrum_.first(2 * moduli.size());
    levels_[j].fourier.forward(moduli, orientations, spectra);
    for (std::size_t l = 0; l < orientations; ++l) {
      for (std::size_t next = j + 1; next < scales; ++next) {
        average(next, filter(spectra, l, orientations, j, next), orientations, second);
        second = second.subspan(orientations * size);
      }
    }
  }
}

}  // namespace sheaf::worker
