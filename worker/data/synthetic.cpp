#include "worker/data/synthetic.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/config/section.h"
#include "worker/data/examples.h"

namespace sheaf::worker {
namespace {

constexpr std::int64_t kMostExamples = std::int64_t{1} << 40;
constexpr std::uint64_t kMostUsers = std::uint64_t{1} << 31;

std::uint64_t read_count(const config::Section& section, std::string_view key,
                         std::optional<std::int64_t> otherwise, std::int64_t least) {
  return static_cast<std::uint64_t>(section.integer(key, otherwise, {least, kMostExamples}));
}

}  // namespace

SyntheticSource::SyntheticSource(const config::Section& section, std::uint64_t seed)
    : seed_(seed),
      examples_(read_count(section, "examples", std::nullopt, 1)),
      test_examples_(read_count(section, "test_examples", 0, 0)) {
  if (!section.has("users")) return;
  const auto most = static_cast<std::int64_t>(std::min<std::uint64_t>(examples_, kMostUsers));
  users_ = static_cast<std::uint32_t>(section.integer("users", std::nullopt, {1, most}));
}

std::uint64_t SyntheticSource::rows(SourcePart part) {
  return part == SourcePart::train ? examples_ : test_examples_;
}

void SyntheticSource::read(SourcePart part, const RowFilter& keep, Examples& into) {
  const Schema made = schema();
  const std::uint32_t set = part == SourcePart::train ? 0 : 1;
  std::vector<float> inputs(made.features);
  std::vector<float> targets(made.targets);
  const std::uint64_t count = rows(part);
  for (std::uint64_t row = 0; row < count; ++row) {
    if (!keep(row)) continue;
    Stream stream(seed_, Purpose::synthetic, row, set);
    make(stream, inputs, targets);
    into.append(row, inputs, targets);
  }
}

std::vector<std::uint32_t> SyntheticSource::users() {
  std::vector<std::uint32_t> all(examples_);
  for (std::uint64_t row = 0; row < examples_; ++row) {
    all[row] = static_cast<std::uint32_t>(row % users_);
  }
  return all;
}

std::string SyntheticSource::locate(SourcePart part, std::uint64_t row) const {
  return fmt::format("synthetic {} example {}", part == SourcePart::train ? "training" : "test",
                     row);
}

}  // namespace sheaf::worker
