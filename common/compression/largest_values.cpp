#include "common/compression/largest_values.h"

#include <cstring>

#include "common/base/error.h"
#include "common/compression/refusals.h"
#include "common/compression/selection.h"

namespace sheaf::compression {
namespace {

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

}  // namespace

Promises LargestValues::promises(std::size_t most, std::size_t elements) const {
  const double share =
      static_cast<double>(most) / static_cast<double>(std::max<std::size_t>(elements, 1));
  return {.contraction = share * values_.contraction(), .exact_residual = values_.exact_residual()};
}

std::size_t LargestValues::encode(std::span<const float> values, std::size_t most,
                                  const EncodingKey& key, std::span<std::byte> bytes) const {
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

LargestValues::Parts LargestValues::parts(std::span<const std::byte> bytes,
                                          std::size_t most) const {
  if (bytes.size() < kHead) {
    fail(Fault::network, "compressor {}: found {} bytes, expected at least {}", compressor_,
         bytes.size(), kHead);
  }
  std::uint32_t count;
  std::memcpy(&count, bytes.data(), sizeof count);
  if (count > most) {
    fail(Fault::network, "compressor {}: found {} values, expected at most {}", compressor_, count,
         most);
  }
  const auto code = GapCode::from(bytes[sizeof count]);
  if (!code) {
    fail(Fault::network, "compressor {}: found {:#x}, which is no code of gaps", compressor_,
         std::to_integer<unsigned>(bytes[sizeof count]));
  }
  const auto rest = bytes.subspan(kHead);
  if (rest.size() < values_.bytes(count)) {
    fail(Fault::network, "compressor {}: found {} bytes, expected at least {} for {} values",
         compressor_, bytes.size(), kHead + values_.bytes(count), count);
  }
  return {count, rest.first(values_.bytes(count)), *code, rest.subspan(values_.bytes(count))};
}

void LargestValues::fail_position(std::size_t found, std::size_t count,
                                  std::size_t elements) const {
  fail(Fault::network, "compressor {}: found {} positions below {}, expected {} and nothing more",
       compressor_, found, elements, count);
}

void LargestValues::decode_add(std::span<const std::byte> bytes, std::size_t most,
                               std::span<float> sum) const {
  const auto [count, coded, code, gaps] = parts(bytes, most);
  values_.expect_sound(compressor_, coded, count);
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

}  // namespace sheaf::compression
