#include "common/config/toml_text.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <limits>

#include "common/config/duration.h"
#include "common/config/path.h"

namespace sheaf::config {
namespace {

using std::chrono::milliseconds;

TEST(TomlTextTest, RealNumbersReadBackToTheSameBits) {
  for (const double value : {0.1, 1.0, 1e-3, 1.0 / 3, 6.02214076e23, 5e-324, -0.0, 1e300,
                             std::numeric_limits<double>::max(), 123456789.0}) {
    const std::string text = toml_text(value);
    EXPECT_EQ(std::strtod(text.c_str(), nullptr), value) << text;
    EXPECT_NE(text.find_first_of(".e"), std::string::npos) << text << " would read as an integer";
  }
}

TEST(TomlTextTest, StringsAreEscapedOntoOneLine) {
  EXPECT_EQ(toml_text(std::string("a\"b\\c\n\t\x01\x7f")), R"("a\"b\\c\n\t\u0001\u007F")");
  EXPECT_EQ(toml_text(std::string("Größe")), "\"Größe\"");
}

TEST(TomlTextTest, ListsAndBooleansAreToml) {
  EXPECT_EQ(toml_list(std::vector<double>{0.9, 1}), "[0.9, 1.0]");
  EXPECT_EQ(toml_list(std::vector<std::string>{"a", "b c"}), R"(["a", "b c"])");
  EXPECT_EQ(toml_list(std::vector<double>{}), "[]");
  EXPECT_EQ(toml_text(true), "true");
}

TEST(DurationTest, EveryUnitIsRead) {
  EXPECT_EQ(parse_duration("250ms"), milliseconds(250));
  EXPECT_EQ(parse_duration("30s"), milliseconds(30'000));
  EXPECT_EQ(parse_duration("5m"), milliseconds(300'000));
  EXPECT_EQ(parse_duration("2h"), milliseconds(7'200'000));
  EXPECT_EQ(parse_duration("0s"), milliseconds(0));
}

TEST(DurationTest, AnythingElseIsRefused) {
  for (const char* text : {"", "5", "s", "1.5s", "-1s", "+1s", "1 s", " 1s", "1s ", "1S", "1d",
                           "99999999999999999999s", "9223372036854775807h"}) {
    EXPECT_EQ(parse_duration(text), std::nullopt) << text;
  }
}

TEST(DurationTest, TheLargestUnitThatDividesIsWritten) {
  EXPECT_EQ(to_text(milliseconds(0)), "0s");
  EXPECT_EQ(to_text(milliseconds(1500)), "1500ms");
  EXPECT_EQ(to_text(milliseconds(90'000)), "90s");
  EXPECT_EQ(to_text(milliseconds(120'000)), "2m");
  EXPECT_EQ(to_text(milliseconds(7'200'000)), "2h");
}

TEST(PathTest, PathsAreKeysAndPlaces) {
  const auto steps = parse_path("model.layers[12].units");
  ASSERT_TRUE(steps);
  ASSERT_EQ(steps->size(), 4U);
  EXPECT_EQ((*steps)[1].key, "layers");
  EXPECT_EQ((*steps)[2].key, "");
  EXPECT_EQ((*steps)[2].index, 12U);
  EXPECT_EQ((*steps)[3].key, "units");
}

TEST(PathTest, AnythingElseIsNoPath) {
  for (const char* text : {"", ".", "a.", ".a", "a..b", "[0]", "a[", "a[]", "a[x]", "a[-1]", "a b",
                           "a[0]b", "a[99999999999999999999999]", "ä"}) {
    EXPECT_FALSE(parse_path(text)) << text;
  }
}

TEST(PathTest, ParentsAndDescendants) {
  EXPECT_EQ(parent_path("a.b[2].c"), "a.b[2]");
  EXPECT_EQ(parent_path("a.b[2]"), "a.b");
  EXPECT_EQ(parent_path("a"), "");
  EXPECT_TRUE(lies_within("a.b[2].c", "a.b"));
  EXPECT_TRUE(lies_within("a.b", "a.b"));
  EXPECT_FALSE(lies_within("a.bc", "a.b"));
  EXPECT_TRUE(lies_within("a", ""));
  EXPECT_EQ(without_places("a.b[2].c[10]"), "a.b[].c[]");
}

}  // namespace
}  // namespace sheaf::config
