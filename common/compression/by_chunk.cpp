#include "common/compression/by_chunk.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "common/base/error.h"
#include "common/compression/factors.h"
#include "common/compression/refusals.h"
#include "common/math/kernels.h"

namespace sheaf::compression {
namespace {

class ByChunk final : public Compressor {
 public:
  // `of_chunk`: of `codecs`; null for floats.
  ByChunk(Codecs codecs, std::vector<const Compressor*> of_chunk, Factors factors)
      : codecs_(std::move(codecs)), of_chunk_(std::move(of_chunk)), factors_(std::move(factors)) {}

  std::optional<Momentum> momentum() const override { return codecs_.usual->momentum(); }
  std::uint32_t rank() const override { return codecs_.usual->rank(); }
  const Factors* factors() const override { return factors_.chunks.empty() ? nullptr : &factors_; }
  Promises promises(std::size_t elements) const override {
    return codecs_.usual->promises(elements);
  }
  std::size_t max_bytes(std::size_t elements) const override {
    std::size_t most = 0;
    for (const Compressor* compressor : of_chunk_) {
      most = std::max(
          most, compressor == nullptr ? elements * sizeof(float) : compressor->max_bytes(elements));
    }
    return most;
  }

  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override {
    const Compressor* compressor = of_chunk_.at(key.chunk);
    if (compressor != nullptr) return compressor->encode(values, key, bytes);
    if (!math::all_finite(values)) fail_not_finite(key);
    std::ranges::copy(std::as_bytes(values), bytes.begin());
    return values.size_bytes();
  }

  void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                  std::span<float> sum) const override {
    const Compressor* compressor = of_chunk_.at(key.chunk);
    if (compressor != nullptr) return compressor->decode_add(bytes, key, sum);
    expect_bytes("none", bytes.size(), sum.size_bytes(), sum.size());
    const auto value = [&](std::size_t i) {
      float x;
      std::memcpy(&x, &bytes[i * sizeof x], sizeof x);
      return x;
    };
    for (std::size_t i = 0; i < sum.size(); ++i) {
      if (!std::isfinite(value(i))) {
        fail(Fault::network, "compressor none: found a value that is not finite");
      }
    }
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += value(i);
  }

 private:
  Codecs codecs_;
  std::vector<const Compressor*> of_chunk_;
  Factors factors_;
};

std::vector<std::string> patterns_of(const Codecs& codecs) {
  std::vector<std::string> patterns;
  for (const LayerCodec& layer : codecs.layers) patterns.push_back(layer.match);
  return patterns;
}

}  // namespace

// At a difference the last star takes a character more.
bool matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = pattern.npos, from = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      from = n;
    } else if (p < pattern.size() && pattern[p] == name[n]) {
      ++p;
      ++n;
    } else if (star != pattern.npos) {
      p = star + 1;
      n = ++from;
    } else {
      return false;
    }
  }
  return pattern.find_first_not_of('*', p) == pattern.npos;
}

std::vector<Choice> choices_of(std::span<const std::string> patterns, std::size_t exempt_below,
                               const params::Layout& layout, const params::ChunkMap& chunks) {
  const auto choice_of = [&](const params::Tensor& tensor) -> Choice {
    if (tensor.size < exempt_below || layout.groups()[tensor.group].averaged) return kFloats;
    const auto found = std::ranges::find_if(
        patterns, [&](const std::string& pattern) { return matches(pattern, tensor.name); });
    return found == patterns.end() ? kUsual : static_cast<Choice>(found - patterns.begin());
  };
  std::vector<Choice> choices(chunks.size(), kUsual);
  std::vector<std::size_t> largest(chunks.size());
  for (const params::Tensor& tensor : layout.tensors()) {
    if (tensor.size == 0) continue;
    for (std::size_t c = chunks.holding(tensor.offset);
         c < chunks.size() && chunks[c].offset < tensor.offset + tensor.size; ++c) {
      if (tensor.size <= largest[c]) continue;
      largest[c] = tensor.size;
      choices[c] = choice_of(tensor);
    }
  }
  return choices;
}

Factors factors_in(const Codecs& codecs, const params::Layout& layout,
                   const params::ChunkMap& chunks) {
  std::vector<bool> usual;
  for (const Choice choice : choices_of(patterns_of(codecs), codecs.exempt_below, layout, chunks)) {
    usual.push_back(choice == kUsual);
  }
  return factors_of(codecs.usual->rank(), layout, chunks, usual);
}

params::Layout pushed_layout(const Codecs& codecs, const params::Layout& parameters,
                             std::size_t chunk_bytes) {
  const params::ChunkMap chunks(parameters, chunk_bytes);
  return with_factors(factors_in(codecs, parameters, chunks), parameters);
}

std::unique_ptr<Compressor> by_chunk(Codecs codecs, const params::Layout& layout,
                                     const params::ChunkMap& chunks) {
  const auto choices = choices_of(patterns_of(codecs), codecs.exempt_below, layout, chunks);
  Factors factors = factors_in(codecs, layout, chunks);
  check(factors.chunks.empty() || factors.end() == layout.size(), "the layout has the factors");
  std::vector<const Compressor*> of_chunk;
  bool usual = true;
  for (const Choice choice : choices) {
    const Compressor* compressor = nullptr;
    if (choice == kUsual) compressor = codecs.usual.get();
    if (choice >= 0) compressor = codecs.layers[static_cast<std::size_t>(choice)].compressor.get();
    if (compressor != nullptr && compressor->identity()) compressor = nullptr;
    const bool is_none = choice == kUsual && factors.rank != 0 &&
                         factors.find(static_cast<std::uint32_t>(of_chunk.size())) == nullptr;
    if (is_none) compressor = nullptr;
    usual = usual && !is_none &&
            (choice == kUsual || (compressor == nullptr && codecs.usual->identity()));
    of_chunk.push_back(compressor);
  }
  if (usual) return std::move(codecs.usual);
  return std::make_unique<ByChunk>(std::move(codecs), std::move(of_chunk), std::move(factors));
}

}  // namespace sheaf::compression
