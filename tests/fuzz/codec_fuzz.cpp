// Any bytes to every compressor: what is refused is refused as Fault::network and leaves the sum as
// it was, what is accepted leaves it finite, and nothing is allocated for it. And any floats: what
// is encoded fits its bound and is accepted. With the plain kernels: the vector ones get what has
// been found sound, and tests/common/math holds them against these.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "common/base/error.h"
#include "common/compression/compressor.h"
#include "common/config/section.h"
#include "common/math/codec_set.h"
#include "common/math/kernel_set.h"
#include "tests/fuzz/allocation_budget.h"

namespace sheaf::math {

std::span<const KernelSet* const> supported_kernels() {
  static constexpr const KernelSet* kSets[] = {&kScalarKernels};
  return kSets;
}

std::span<const CodecSet* const> supported_codecs() {
  static constexpr const CodecSet* kSets[] = {&kScalarCodecs};
  return kSets;
}

}  // namespace sheaf::math

namespace {

using namespace sheaf;
using compression::Compressor;
using fuzz::budget;

constexpr compression::EncodingKey kKey = {1, 2, 3, 4};

struct Choice {
  std::string_view name, options;
};
constexpr Choice kChoices[] = {{"none", ""},
                               {"fp16", ""},
                               {"bf16", ""},
                               {"int8", ""},
                               {"int8", "rounding = \"stochastic\"\nblock = 16"},
                               {"int4", "block = 32"},
                               {"sign", "block = 64"},
                               {"dgc", "warmup_steps = 8"},
                               {"powersgd", "rank = 1"},
                               {"powersgd", "rank = 8"},
                               {"topk", "ratio = 0.3"},
                               {"topk", "ratio = 0.1\nvalues = 8"},
                               {"topk", "ratio = 1.0\nvalues = 2"},
                               {"topk", "ratio = 0.5\nvalues = 4"},
                               {"topk", "ratio = 0.5\nvalues = 16"},
                               {"randomk", "ratio = 0.2"},
                               {"randomk", "ratio = 0.5\nvalues = 8\nunbiased = false"}};

const std::vector<std::unique_ptr<Compressor>>& all() {
  static const auto made = [] {
    std::vector<std::unique_ptr<Compressor>> list;
    for (const auto& [name, options] : kChoices) {
      const auto document = config::Document::from_text(options, "job.toml");
      list.push_back(find_mode(compression::compressors(), name)->make(document->root()));
      document->throw_if_faulty();
    }
    return list;
  }();
  return made;
}

bool is_finite(std::span<const float> x) {
  return std::ranges::all_of(x, [](float v) { return std::isfinite(v); });
}

void decode(const Compressor& compressor, std::span<const std::byte> bytes, std::size_t size) {
  constexpr float kBefore = 0.5F;
  std::vector<float> sum(size, kBefore);
  budget = 16384;  // an error's message
  try {
    compressor.decode_add(bytes, kKey, sum);
    budget = 0;
    if (!compressor.identity() && !is_finite(sum)) std::abort();
  } catch (const Error& error) {
    budget = 0;
    if (error.fault() != Fault::network) std::abort();
    if (!std::ranges::all_of(sum, [](float v) { return v == kBefore; })) std::abort();
  }
}

void encode(const Compressor& compressor, std::span<const float> values) {
  std::vector<std::byte> bytes(compressor.max_bytes(values.size()));
  try {
    const std::size_t size = compressor.encode(values, kKey, bytes);
    if (size > bytes.size()) std::abort();
    bytes.resize(size);
  } catch (const Error& error) {
    if (error.fault() != Fault::diverged || is_finite(values)) std::abort();
    return;
  }
  std::vector<float> sum(values.size());
  compressor.decode_add(bytes, kKey, sum);
  if (!compressor.identity() && !is_finite(sum)) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  all();
  fuzz::watch_allocations();
  return 0;
}

// One byte: which; two: how many values; then the bytes.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 3) return 0;
  const Compressor& compressor = *all()[data[0] % all().size()];
  const std::size_t elements = (data[1] + 256U * data[2]) % 2048;
  decode(compressor, std::as_bytes(std::span(data, size)).subspan(3), elements);
  std::vector<float> values((size - 3) / sizeof(float));
  if (!values.empty()) std::memcpy(values.data(), data + 3, values.size() * sizeof(float));
  encode(compressor, values);
  return 0;
}
