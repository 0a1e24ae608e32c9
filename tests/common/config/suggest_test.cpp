#include "common/config/suggest.h"

#include <gtest/gtest.h>

#include <vector>

namespace sheaf::config {
namespace {

// Distances as the literature gives them (Levenshtein 1966, Damerau 1964); "ca" to "abc" is the
// usual example where optimal string alignment (3) differs from unrestricted Damerau (2).
TEST(SuggestTest, DistancesAreThoseOfTheLiterature) {
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3U);
  EXPECT_EQ(edit_distance("saturday", "sunday"), 3U);
  EXPECT_EQ(edit_distance("ca", "abc"), 3U);
  EXPECT_EQ(edit_distance("workers", "wrokers"), 1U);
  EXPECT_EQ(edit_distance("", "abc"), 3U);
  EXPECT_EQ(edit_distance("abc", ""), 3U);
  EXPECT_EQ(edit_distance("same", "same"), 0U);
}

TEST(SuggestTest, FewerEditsWin) {
  const std::vector<std::string> words = {"beta1", "beta2", "decay", "rate"};
  EXPECT_EQ(nearest("bta2", words), "beta2");
  EXPECT_EQ(nearest("raet", words), "rate");
}

TEST(SuggestTest, AmongEqualsTheSameFirstLetterWinsThenTheOrder) {
  EXPECT_EQ(nearest("bode", std::vector<std::string>{"mode", "bone"}), "bone");
  EXPECT_EQ(nearest("xode", std::vector<std::string>{"mode", "node"}), "mode");
}

TEST(SuggestTest, APartOfAWordStandsForIt) {
  const std::vector<std::string> words = {"softmax_cross_entropy", "mse"};
  EXPECT_EQ(nearest("cross_entropy", words), "softmax_cross_entropy");
  EXPECT_EQ(nearest("mse_with_mean", words), "mse");
}

TEST(SuggestTest, NothingIsNearWhenNothingIsKept) {
  EXPECT_EQ(nearest("xy", std::vector<std::string>{"ab", "de"}), std::nullopt);
  EXPECT_EQ(nearest("colour", std::vector<std::string>{"rate", "kind"}), std::nullopt);
  EXPECT_EQ(nearest("", std::vector<std::string>{"rate", "a"}), std::nullopt);
  EXPECT_EQ(nearest("rate", {}), std::nullopt);
}

}  // namespace
}  // namespace sheaf::config
