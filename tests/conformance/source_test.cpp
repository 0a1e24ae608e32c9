// What every source promises, asked of every file in worker/data/modes/ with the [data] table of
// configs/modes/source_<mode>.toml.
#include "worker/data/source.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <set>
#include <string>

#include "common/config/section.h"
#include "tests/harness/places.h"
#include "worker/data/digest.h"
#include "worker/data/examples.h"

namespace sheaf::worker {
namespace {

// The job files name their data from the top of the tree.
class SourceConformance : public testing::TestWithParam<ModeEntry<Source>> {
 protected:
  void SetUp() override {
    before_ = std::filesystem::current_path();
    std::filesystem::current_path(source_folder());
    const std::string file = "configs/modes/source_" + std::string(GetParam().name) + ".toml";
    job_ = std::make_unique<config::Document>(file, std::span<const std::string>{});
    ASSERT_EQ(job_->root().table("data").text("kind", std::nullopt), GetParam().name);
    source_ = make();
    job_->throw_if_faulty();
  }
  void TearDown() override { std::filesystem::current_path(before_); }

  std::unique_ptr<Source> make() const {
    return GetParam().mode->make(job_->root().table("data"), 7);
  }

  static Examples read(Source& source, SourcePart part, const RowFilter& keep) {
    Examples examples(source.schema());
    source.read(part, keep, examples);
    return examples;
  }
  static bool everything(std::uint64_t) { return true; }

  static void expect_same(const Examples& a, std::size_t i, const Examples& b, std::size_t j) {
    EXPECT_EQ(a.row(i), b.row(j));
    EXPECT_THAT(a.targets(i), testing::ElementsAreArray(b.targets(j)));
    if (a.schema().bytes) {
      EXPECT_THAT(a.bytes(i), testing::ElementsAreArray(b.bytes(j)));
    } else {
      EXPECT_THAT(a.floats(i), testing::ElementsAreArray(b.floats(j)));
    }
  }

  std::filesystem::path before_;
  std::unique_ptr<config::Document> job_;
  std::unique_ptr<Source> source_;
};

constexpr SourcePart kParts[] = {SourcePart::train, SourcePart::test};

TEST_P(SourceConformance, GivesTheRowsItAnnouncesInOrder) {
  EXPECT_GT(source_->schema().features, 0U);
  EXPECT_GT(source_->schema().targets, 0U);
  EXPECT_GT(source_->rows(SourcePart::train), 0U);
  for (const SourcePart part : kParts) {
    const std::uint64_t rows = source_->rows(part);
    if (rows == 0) continue;
    const Examples all = read(*source_, part, &everything);
    ASSERT_EQ(all.size(), rows);
    for (std::uint64_t row = 0; row < rows; ++row) EXPECT_EQ(all.row(row), row);
  }
}

TEST_P(SourceConformance, KeepsOnlyWhatTheFilterAccepts) {
  for (const SourcePart part : kParts) {
    if (source_->rows(part) == 0) continue;
    const Examples all = read(*source_, part, &everything);
    std::set<std::uint64_t> asked;
    const Examples some = read(*source_, part, [&](std::uint64_t row) {
      EXPECT_TRUE(asked.insert(row).second) << "asked twice about row " << row;
      return row % 7 == 3;
    });
    EXPECT_EQ(asked.size(), all.size());
    ASSERT_EQ(some.size(), (all.size() + 3) / 7);
    for (std::size_t i = 0; i < some.size(); ++i) expect_same(some, i, all, 7 * i + 3);
    EXPECT_EQ(read(*source_, part, [](std::uint64_t) { return false; }).size(), 0U);
  }
}

TEST_P(SourceConformance, GivesTheSameAgainAndInAnotherProcess) {
  const auto other = make();
  EXPECT_EQ(source_->schema(), other->schema());
  for (const SourcePart part : kParts) {
    ASSERT_EQ(source_->rows(part), other->rows(part));
    if (source_->rows(part) == 0) continue;
    const Examples first = read(*source_, part, &everything);
    const Examples again = read(*source_, part, &everything);
    const Examples elsewhere = read(*other, part, &everything);
    ASSERT_EQ(first.size(), again.size());
    ASSERT_EQ(first.size(), elsewhere.size());
    for (std::size_t i = 0; i < first.size(); ++i) {
      expect_same(first, i, again, i);
      expect_same(first, i, elsewhere, i);
    }
  }
  EXPECT_EQ(data_digest(*source_), data_digest(*other));
}

TEST_P(SourceConformance, NamesThePlaceOfEachRow) {
  source_->schema();
  for (const SourcePart part : kParts) {
    if (source_->rows(part) == 0) continue;
    EXPECT_NE(source_->locate(part, 0), "");
    EXPECT_NE(source_->locate(part, 0), source_->locate(part, 1));
  }
}

TEST_P(SourceConformance, NamesFilesThatExist) {
  for (const auto& file : source_->files()) EXPECT_TRUE(std::filesystem::exists(file)) << file;
}

TEST_P(SourceConformance, SaysWhichInputsItGives) {
  const Normalisation usual = source_->default_normalisation();
  EXPECT_EQ(normalisation_problem(usual, source_->schema()), std::nullopt);
}

TEST_P(SourceConformance, DescribesItselfInOneLine) {
  EXPECT_NE(GetParam().mode->description, "");
  EXPECT_EQ(GetParam().mode->description.find('\n'), std::string_view::npos);
}

INSTANTIATE_TEST_SUITE_P(Sources, SourceConformance, testing::ValuesIn(sources()),
                         [](const auto& entry) { return std::string(entry.param.name); });

}  // namespace
}  // namespace sheaf::worker
