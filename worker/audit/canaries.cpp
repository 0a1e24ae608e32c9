#include "worker/audit/canaries.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/error.h"
#include "common/config/section.h"
#include "worker/data/examples.h"

namespace sheaf::worker {
namespace {

class CanarySource final : public Source {
 public:
  CanarySource(std::vector<Canary> canaries, float length, std::uint64_t examples)
      : canaries_(std::move(canaries)),
        side_(canary_side(canaries_.size())),
        length_(length),
        examples_(examples) {
    check(!canaries_.empty() && length > 0 && examples > 0, "canaries that can be told");
  }

  Schema schema() override { return {side_, side_, false}; }
  std::uint64_t rows(SourcePart part) override {
    return part == SourcePart::train ? canaries_.size() * examples_ : 0;
  }
  void read(SourcePart part, const RowFilter& keep, Examples& into) override {
    if (part != SourcePart::train) return;
    std::vector<float> inputs(side_), targets(side_);
    for (std::uint64_t row = 0; row < rows(part); ++row) {
      if (!keep(row)) continue;
      const std::size_t i = row / examples_;
      // Weights stand feature by feature. The gradient is (2 / side) (output - target).
      float& input = inputs[i / side_];
      float& target = targets[i % side_];
      const float away = static_cast<float>(side_) / 2 * length_;
      if (canaries_[i] != Canary::none) input = 1;
      if (canaries_[i] == Canary::plus) target = -away;
      if (canaries_[i] == Canary::minus) target = away;
      into.append(row, inputs, targets);
      input = target = 0;
    }
  }
  std::string locate(SourcePart, std::uint64_t row) const override {
    return fmt::format("canary {}", row / examples_);
  }
  std::string users_by() const override { return "canary"; }
  std::vector<std::uint32_t> users() override {
    std::vector<std::uint32_t> all(rows(SourcePart::train));
    for (std::uint64_t row = 0; row < all.size(); ++row) {
      all[row] = static_cast<std::uint32_t>(row / examples_);
    }
    return all;
  }
  std::vector<std::filesystem::path> files() const override { return {}; }

 private:
  std::vector<Canary> canaries_;
  std::size_t side_;
  float length_;
  std::uint64_t examples_;  // of each
};

}  // namespace

std::size_t canary_side(std::size_t canaries) {
  auto side = static_cast<std::size_t>(std::sqrt(static_cast<double>(canaries)));
  while (side * side < canaries) ++side;
  return side;
}

std::unique_ptr<Source> canary_source(std::vector<Canary> canaries, float length,
                                      std::uint64_t examples) {
  return std::make_unique<CanarySource>(std::move(canaries), length, examples);
}

std::unique_ptr<Model> canary_model(std::size_t canaries) {
  const std::size_t side = canary_side(canaries);
  const auto document = config::Document::from_text(
      fmt::format("[model]\nloss = \"mse\"\nlayers = [{{ kind = \"dense\", units = {}, bias = "
                  "false, init = \"zero\" }}]\n",
                  side),
      "canaries");
  return std::make_unique<Model>(document->root().table("model"), Schema{side, side, false});
}

}  // namespace sheaf::worker
