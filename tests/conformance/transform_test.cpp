// What every transform promises, asked of every file in worker/data/transforms/modes/ with the
// [data] table of configs/modes/transform_<mode>.toml.
#include "worker/data/transforms/transform.h"

#include <gmock/gmock.h>

#include <cmath>
#include <filesystem>

#include "common/config/section.h"
#include "tests/harness/places.h"
#include "worker/data/examples.h"
#include "worker/data/transforms/transformed_source.h"

namespace sheaf::worker {
namespace {

class TransformConformance : public testing::TestWithParam<ModeEntry<Transform>> {
 protected:
  // The job files name their data from the top of the tree.
  void SetUp() override {
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(source_folder());
    const std::string file = "configs/modes/transform_" + std::string(GetParam().name) + ".toml";
    job_ = std::make_unique<config::Document>(file, std::span<const std::string>{});
    ASSERT_EQ(section().text("kind", "none"), GetParam().name);
    plain_ = make_plain();
    source_ = make();
    job_->throw_if_faulty();
  }
  void TearDown() override { std::filesystem::current_path(before_); }

  config::Section section() const { return job_->root().table("data").table("transform"); }
  std::unique_ptr<Source> make_plain() const {
    const config::Section data = job_->root().table("data");
    return find_mode(sources(), data.text("kind", std::nullopt))->make(data, 7);
  }
  std::unique_ptr<Source> make() const {
    return transformed(make_plain(), GetParam().mode->make(section(), plain_->schema().features));
  }

  static std::vector<float> inputs(const Examples& examples, std::size_t i) {
    if (!examples.schema().bytes) return {examples.floats(i).begin(), examples.floats(i).end()};
    return {examples.bytes(i).begin(), examples.bytes(i).end()};
  }
  static Examples read(Source& source, SourcePart part, const RowFilter& keep) {
    Examples examples(source.schema());
    source.read(part, keep, examples);
    return examples;
  }
  static bool everything(std::uint64_t) { return true; }

  std::filesystem::path before_;
  std::unique_ptr<config::Document> job_;
  std::unique_ptr<Source> plain_;
  std::unique_ptr<Source> source_;
};

constexpr SourcePart kTransformedParts[] = {SourcePart::train, SourcePart::test};

TEST_P(TransformConformance, KeepsRowsAndTargetsAndGivesFiniteInputs) {
  EXPECT_EQ(source_->schema().targets, plain_->schema().targets);
  for (const SourcePart part : kTransformedParts) {
    ASSERT_EQ(source_->rows(part), plain_->rows(part));
    if (plain_->rows(part) == 0) continue;
    const Examples before = read(*plain_, part, &everything);
    const Examples after = read(*source_, part, &everything);
    ASSERT_EQ(after.size(), before.size());
    for (std::size_t i = 0; i < after.size(); ++i) {
      EXPECT_EQ(after.row(i), before.row(i));
      EXPECT_THAT(after.targets(i), testing::ElementsAreArray(before.targets(i)));
      for (const float value : inputs(after, i)) EXPECT_TRUE(std::isfinite(value));
    }
  }
}

// One process has made other rows before it, another one has made this row alone.
TEST_P(TransformConformance, ARowHasTheSameBitsWhateverElseIsKept) {
  const Examples all = read(*source_, SourcePart::train, &everything);
  for (const std::uint64_t row : {std::uint64_t{0}, all.row(all.size() / 2)}) {
    const auto elsewhere = make();
    const Examples alone =
        read(*elsewhere, SourcePart::train, [row](std::uint64_t r) { return r == row; });
    ASSERT_EQ(alone.size(), 1U);
    EXPECT_THAT(inputs(alone, 0), testing::ElementsAreArray(inputs(all, row)));
  }
}

TEST_P(TransformConformance, DescribesItselfInOneLine) {
  EXPECT_NE(GetParam().mode->description, "");
  EXPECT_EQ(GetParam().mode->description.find('\n'), std::string_view::npos);
}

INSTANTIATE_TEST_SUITE_P(Transforms, TransformConformance, testing::ValuesIn(transforms()),
                         [](const auto& entry) { return std::string(entry.param.name); });

}  // namespace
}  // namespace sheaf::worker
