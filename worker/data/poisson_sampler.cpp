#include "worker/data/poisson_sampler.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "common/math/secure_random.h"
#include "common/privacy/noise/secret_words.h"

namespace sheaf::worker {

using privacy::UInt128;

namespace {

// Of 0 .. n - 1 as many as `chosen` has room for, each set of them equally likely, ascending
// (Floyd's method: Bentley, "Programming pearls: a sample of brilliance", CACM 30(9), 1987).
void choose(privacy::SecretWords& words, std::uint64_t n, std::span<std::uint64_t> chosen) {
  for (std::size_t taken = 0; taken < chosen.size(); ++taken) {
    const std::uint64_t last = n - chosen.size() + taken;  // above all that are taken
    auto next = static_cast<std::uint64_t>(words.below(UInt128{last} + 1));
    const auto end = chosen.begin() + static_cast<std::ptrdiff_t>(taken);
    auto at = std::lower_bound(chosen.begin(), end, next);
    if (at != end && *at == next) {
      at = end;
      next = last;
    }
    std::move_backward(at, end, end + 1);
    *at = next;
  }
}

}  // namespace

PoissonSampler::PoissonSampler(const wire::Digest& secret, std::uint64_t batch,
                               std::uint64_t examples, std::uint64_t examples_per_user)
    : secret_(secret),
      everybody_(batch == examples),
      below_(everybody_ ? 0 : static_cast<std::uint64_t>((UInt128{batch} << 64) / examples)),
      examples_per_user_(examples_per_user) {
  check(batch > 0 && batch <= examples && examples_per_user > 0, "a share of the examples");
}

// Example i is decided by word i of a stream. Half the bits of the threshold decide all but one in
// 2^32; those are decided by word i of a second stream.
void PoissonSampler::sample(Step step, std::uint32_t partition, std::uint64_t size,
                            std::vector<std::uint64_t>& places) const {
  constexpr math::ChachaNonce kUpper = {0, 0, 0}, kLower = {1, 0, 0};
  constexpr std::uint64_t kWords = math::kChachaWords;
  const math::ChachaKey key =
      secret_.key({privacy::NoisePurpose::sampling, step, partition, 0, 0}, {});
  const auto upper_bound = static_cast<std::uint32_t>(below_ >> 32);
  const auto lower_bound = static_cast<std::uint32_t>(below_);
  std::array<std::uint32_t, math::kChachaWords> upper{}, lower{};
  places.clear();
  for (std::uint64_t at = 0; at < size; at += kWords) {
    const auto block = static_cast<std::uint32_t>(at / kWords * math::kChachaBlocks);
    math::chacha20(key, kUpper, block, upper);
    for (std::uint64_t i = 0; i < std::min(kWords, size - at); ++i) {
      bool takes_part = everybody_ || upper[i] < upper_bound;
      if (!everybody_ && upper[i] == upper_bound) {
        math::chacha20(key, kLower, block, lower);
        takes_part = lower[i] < lower_bound;
      }
      if (takes_part) places.push_back(at + i);
    }
  }
}

// From the last user to the first: what each takes is written behind all users before it, since
// these take one at least.
void PoissonSampler::sample_users(Step step, std::uint32_t partition,
                                  std::span<const std::uint64_t> begins,
                                  std::vector<std::uint64_t>& places) const {
  sample(step, partition, begins.size() - 1, places);
  const auto examples = [&](std::uint64_t user) { return begins[user + 1] - begins[user]; };
  const auto takes = [&](std::uint64_t user) {
    return std::min(examples(user), examples_per_user_);
  };
  std::size_t users = places.size(), end = 0;
  for (const std::uint64_t user : places) end += takes(user);
  places.resize(end);
  // Named as if by the next chunk: chunk 0 draws the users.
  const math::ChachaKey key =
      secret_.key({privacy::NoisePurpose::sampling, step, partition, 0, 1}, {});
  while (users-- > 0) {
    const std::uint64_t user = places[users];
    const std::uint64_t count = takes(user);
    check(count > 0, "an example of each user");
    end -= count;
    const auto chosen = std::span(places).subspan(end, count);
    privacy::SecretWords words(key, static_cast<std::uint32_t>(user));
    choose(words, examples(user), chosen);
    for (std::uint64_t& place : chosen) place += begins[user];
  }
}

}  // namespace sheaf::worker
