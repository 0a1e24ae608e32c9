// The Gaussian mechanism as a job file describes it; it is armed with its noise and secret when the
// job has begun, and hides nothing before.
#include "common/privacy/gaussian.h"

#include <algorithm>
#include <array>

#include "common/base/error.h"
#include "common/config/section.h"
#include "common/privacy/ledger/terms.h"

namespace sheaf::privacy {
namespace {

class Described final : public Mechanism {
 public:
  Described(Gaussian::Where where, const Clip& clip) : where_(where), clip_(clip) {}

  std::optional<Clip> clip() const override { return clip_; }
  bool perturbs_at_worker() const override { return where_ == Gaussian::Where::local; }
  bool perturbs_at_server() const override { return where_ == Gaussian::Where::central; }
  wire::Digest perturb(std::span<float>, const NoiseKey&) const override {
    fail(Fault::internal, "noise was asked for before the job had its secrets");
  }
  std::unique_ptr<Mechanism> armed(double noise, const wire::Digest& secret,
                                   std::span<const NoiseBranch>) const override {
    return std::make_unique<Gaussian>(where_, clip_, noise, secret);
  }

 private:
  Gaussian::Where where_;
  Clip clip_;
};

std::unique_ptr<Mechanism> make_gaussian(const config::Section& section) {
  static constexpr std::array<std::string_view, 2> kPlaces = {"central", "local"};
  const bool central = section.word("where", kPlaces, kPlaces[0]) == kPlaces[0];
  Clip clip = read_clip(section);
  if (section.word("unit", kJobUnits, kJobUnits[0]) == to_string(Unit::user)) {
    constexpr config::Bounds<std::int64_t> kExamples{1, 1 << 20};
    clip.examples = static_cast<std::uint64_t>(
        std::max<std::int64_t>(1, section.integer("examples_per_user", std::nullopt, kExamples)));
  }
  return std::make_unique<Described>(central ? Gaussian::Where::central : Gaussian::Where::local,
                                     clip);
}

}  // namespace

extern const Mode<Mechanism> mechanism_gaussian = {
    "examples are clipped (flat, automatic, or to a bound that adapts), and normal noise is added "
    "to "
    "sums of them",
    &make_gaussian};

}  // namespace sheaf::privacy
