#include <cstring>

#include "common/base/error.h"
#include "common/compression/gaps.h"
#include "common/compression/packed_values.h"
#include "common/compression/refusals.h"
#include "common/compression/selection.h"

namespace sheaf::compression {
namespace {

// The k values of the largest magnitude, k = ratio * elements; of those that are as large as each
// other the first ones (Aji and Heafield, EMNLP 2017; Stich et al., NeurIPS 2018, for the
// contraction k / d). Zeros are not sent. What is left out is lost without error feedback.
class TopK final : public Compressor {
 public:
  explicit TopK(const config::Section& section)
      : ratio_(read_ratio(section)), values_(read_values(section, true)) {}

  Promises promises(std::size_t elements) const override {
    const double share = static_cast<double>(share_of(ratio_, elements)) /
                         static_cast<double>(std::max<std::size_t>(elements, 1));
    return {.contraction = share * values_.contraction(),
            .exact_residual = values_.exact_residual()};
  }
  std::size_t max_bytes(std::size_t elements) const override {
    const std::size_t most = share_of(ratio_, elements);
    return kHead + values_.bytes(most) + (most_gap_bits(most, elements) + 7) / 8;
  }
  std::size_t encode(std::span<const float> values, const EncodingKey& key,
                     std::span<std::byte> bytes) const override;
  void decode_add(std::span<const std::byte> bytes, const EncodingKey& key,
                  std::span<float> sum) const override;

 private:
  static constexpr std::size_t kHead = 5;  // count and code of the gaps
  struct Parts {
    std::size_t count;
    std::span<const std::byte> values;
    GapCode code;
    std::span<const std::byte> gaps;
  };
  Parts parts(std::span<const std::byte> bytes, std::size_t elements) const;

  double ratio_;
  PackedValues values_;
};

// Between neighbours of the selection.
class Gaps {
 public:
  std::uint32_t to(std::size_t position) {
    const auto gap = static_cast<std::uint32_t>(position - from_);
    from_ = position + 1;
    return gap;
  }

 private:
  std::size_t from_ = 0;
};

std::size_t TopK::encode(std::span<const float> values, const EncodingKey& key,
                         std::span<std::byte> bytes) const {
  const std::size_t most = share_of(ratio_, values.size());
  const Cut cut = most == 0 ? Cut{} : cut_of_largest(values, most);
  GapStatistics statistics(most, values.size());
  each_selected(values, cut,
                [&, gaps = Gaps()](std::size_t i) mutable { statistics.add(gaps.to(i)); });
  const auto count = static_cast<std::uint32_t>(statistics.count());
  const GapCode code = statistics.choose();
  std::memcpy(bytes.data(), &count, sizeof count);
  bytes[sizeof count] = code.byte();

  const auto coded = bytes.subspan(kHead, values_.bytes(count));
  GapWriter writer(code, bytes.data() + kHead + coded.size());
  PackedValues::Block block;
  std::size_t written = 0, held = 0;
  bool finite = true;
  const auto flush = [&] {
    finite &= values_.encode(std::span(block).first(held), written, count, coded);
    written += held;
    held = 0;
  };
  each_selected(values, cut, [&, gaps = Gaps()](std::size_t i) mutable {
    writer.put(gaps.to(i));
    block[held++] = values[i];
    if (held == block.size()) flush();
  });
  if (held != 0) flush();
  if (!finite) fail_not_finite(key);  // what is not finite is larger than all that is
  return kHead + coded.size() + writer.finish();
}

TopK::Parts TopK::parts(std::span<const std::byte> bytes, std::size_t elements) const {
  if (bytes.size() < kHead) {
    fail(Fault::network, "compressor topk: found {} bytes, expected at least {}", bytes.size(),
         kHead);
  }
  std::uint32_t count;
  std::memcpy(&count, bytes.data(), sizeof count);
  const std::size_t most = share_of(ratio_, elements);
  if (count > most) {
    fail(Fault::network, "compressor topk: found {} of {} values, expected at most {}", count,
         elements, most);
  }
  const auto code = GapCode::from(bytes[sizeof count]);
  if (!code) {
    fail(Fault::network, "compressor topk: found {:#x}, which is no code of gaps",
         std::to_integer<unsigned>(bytes[sizeof count]));
  }
  const auto rest = bytes.subspan(kHead);
  if (rest.size() < values_.bytes(count)) {
    fail(Fault::network, "compressor topk: found {} bytes, expected at least {} for {} values",
         bytes.size(), kHead + values_.bytes(count), count);
  }
  return {count, rest.first(values_.bytes(count)), *code, rest.subspan(values_.bytes(count))};
}

[[noreturn]] void fail_position(std::size_t found, std::size_t count, std::size_t elements) {
  fail(Fault::network, "compressor topk: found {} positions below {}, expected {} and nothing more",
       found, elements, count);
}

void TopK::decode_add(std::span<const std::byte> bytes, const EncodingKey&,
                      std::span<float> sum) const {
  const auto [count, coded, code, gaps] = parts(bytes, sum.size());
  values_.expect_sound("topk", coded, count);
  PositionReader checked(code, gaps, sum.size());
  for (std::size_t i = 0; i < count; ++i) {
    if (!checked.next()) fail_position(i, count, sum.size());
  }
  if (!checked.at_end()) fail_position(count, count, sum.size());

  PositionReader positions(code, gaps, sum.size());
  PackedValues::Block block;
  for (std::size_t i = 0; i < count; ++i) {
    if (i % block.size() == 0) values_.decode(coded, i, count, block);
    const auto position = positions.next();
    if (!position) fail_position(i, count, sum.size());  // the bytes have changed meanwhile
    sum[*position] += block[i % block.size()];
  }
}

std::unique_ptr<Compressor> make_topk(const config::Section& section) {
  return std::make_unique<TopK>(section);
}

}  // namespace

extern const Mode<Compressor> compressor_topk = {
    "the largest values and where they stand; wants error feedback", &make_topk};

}  // namespace sheaf::compression
