#include "launcher/compression/codec_speed.h"

#include <algorithm>
#include <chrono>
#include <span>
#include <utility>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/random.h"
#include "common/compression/error_feedback.h"
#include "common/math/kernels.h"
#include "launcher/system/median.h"

namespace sheaf::launcher {
namespace {

constexpr std::size_t kValues = 1 << 16;  // of a chunk: 256 KiB

// The median of some samples that are long enough for the clock, after one that warms up.
template <typename Body>
double seconds_per_value(Body body) {
  constexpr int kSamples = 5;
  constexpr double kLeast = 2e-3;  // seconds
  body();
  std::vector<double> samples;
  for (int i = 0; i < kSamples; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    double seconds = 0;
    std::size_t times = 0;
    for (; seconds < kLeast; ++times) {
      body();
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    }
    samples.push_back(seconds / static_cast<double>(times * kValues));
  }
  return median(std::move(samples));
}

}  // namespace

CodecSpeed measure_codec(const compression::Compressor& compressor, bool feedback) {
  AlignedBuffer<float> values(kValues), sum(kValues);
  AlignedBuffer<std::byte> bytes(compressor.max_bytes(kValues));
  Stream stream(1, Purpose::synthetic);
  for (float& value : values.span()) value = static_cast<float>(1e-3 * stream.normal());
  AlignedBuffer<float> left(feedback ? kValues : 0), next(feedback ? kValues : 0);
  compression::ErrorFeedback residuals(compressor, feedback ? kValues : 0);
  const compression::EncodingKey key;
  std::size_t size = 0;
  const auto encode = [&] {
    if (!feedback) {
      size = compressor.encode(values.span(), key, bytes.span());
      return;
    }
    size = residuals.encode(left.span(), values.span(), key, bytes.span(), next.span());
    std::swap(left, next);
  };
  CodecSpeed speed;
  if (compressor.identity()) {
    encode();
  } else {
    speed.encode = seconds_per_value(encode);
  }
  speed.bits = 8 * static_cast<double>(size) / kValues;
  speed.decode_add =
      seconds_per_value([&] { compressor.decode_add(bytes.first(size), key, sum.span()); });
  return speed;
}

}  // namespace sheaf::launcher
