// The made sources give what their formula says. Bounds are five standard errors, worked out beside
// each; the seeds are fixed, so a test never fails by chance.
#include <gmock/gmock.h>

#include <cmath>

#include "tests/worker/data/support.h"

namespace sheaf::worker {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr double kRows = 100000;
constexpr const char* kExamples = "examples = 100000\n";

struct Line {
  double intercept = 0;
  double slope = 0;
  double origin_slope = 0;  // of the line through the origin
  double residual_variance = 0;
};

// Least squares in closed form.
Line fit(const Examples& examples) {
  double n = 0, sx = 0, sy = 0, sxx = 0, sxy = 0, syy = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const double x = examples.floats(i)[0];
    const double y = examples.targets(i)[0];
    n += 1, sx += x, sy += y, sxx += x * x, sxy += x * y, syy += y * y;
  }
  Line line;
  line.slope = (n * sxy - sx * sy) / (n * sxx - sx * sx);
  line.intercept = (sy - line.slope * sx) / n;
  line.origin_slope = sxy / sxx;
  line.residual_variance = (syy - line.intercept * sy - line.slope * sxy) / n;
  return line;
}

TEST(SyntheticLinearTest, UniformNoiseGivesSlope3AndIntercept2AndAHalf) {
  const auto source = make_source("synthetic_linear", std::string(kExamples) +
                                                          "slope = 3.0\nintercept = 2.0\n"
                                                          "noise = \"uniform\"\nnoise_scale = 1.0");
  const Examples examples = read_all(*source);
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const double noise = examples.targets(i)[0] - 3.0 * examples.floats(i)[0] - 2.0;
    ASSERT_GT(noise, -1e-6);
    ASSERT_LT(noise, 1 + 1e-6);
  }
  const Line line = fit(examples);
  // Noise and x both have variance 1/12: the slope has standard error 1 / sqrt(n), the intercept
  // sqrt(1/12) * sqrt(1 + 12 / 4) / sqrt(n) = 0.577 / sqrt(n).
  EXPECT_NEAR(line.slope, 3.0, 5 / std::sqrt(kRows));
  EXPECT_NEAR(line.intercept, 2.5, 5 * 0.577 / std::sqrt(kRows));
  // Var(u^2) of centred U(0, 1) is 1/80 - 1/144 = 1/180.
  EXPECT_NEAR(line.residual_variance, 1.0 / 12, 5 * std::sqrt(1.0 / 180 / kRows));
  // Through the origin: with r = 2 + u - 3.75 x the variance is E[r^2 x^2] / E[x^2]^2 / n
  // = ((6.25 + 1/12) / 3 - 7.5 * 2.5 / 4 + 3.75^2 / 5) * 9 / n = 2.125 / n.
  EXPECT_NEAR(line.origin_slope, 6.75, 5 * std::sqrt(2.125 / kRows));
}

TEST(SyntheticLinearTest, NormalNoiseHasItsScaleAsStandardDeviation) {
  const auto source = make_source("synthetic_linear", std::string(kExamples) +
                                                          "slope = 2.0\nintercept = 1.0\n"
                                                          "noise = \"normal\"\nnoise_scale = 0.5");
  const Line line = fit(read_all(*source));
  // The slope has standard error 0.5 * sqrt(12 / n), the intercept 0.5 * 2 / sqrt(n); a variance
  // s^2 of n normals has standard error s^2 sqrt(2 / n).
  EXPECT_NEAR(line.slope, 2.0, 5 * 0.5 * std::sqrt(12 / kRows));
  EXPECT_NEAR(line.intercept, 1.0, 5 / std::sqrt(kRows));
  EXPECT_NEAR(line.residual_variance, 0.25, 5 * 0.25 * std::sqrt(2 / kRows));
}

TEST(SyntheticLinearTest, WithoutNoiseThePlaneIsExact) {
  const auto source = make_source("synthetic_linear",
                                  "examples = 1000\nfeatures = 3\nslopes = [1.0, -2.0, 0.5]\n"
                                  "intercept = 4.0\nlow = -1.0\nhigh = 3.0\n");
  ASSERT_EQ(source->schema(), (Schema{3, 1}));
  const Examples examples = read_all(*source);
  double sum = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const auto x = examples.floats(i);
    EXPECT_FLOAT_EQ(examples.targets(i)[0],
                    static_cast<float>(double{x[0]} - 2.0 * double{x[1]} + 0.5 * double{x[2]} + 4));
    for (const float value : x) {
      EXPECT_GE(value, -1.0F);
      EXPECT_LT(value, 3.0F);
      sum += value;
    }
  }
  // U(-1, 3) has mean 1 and variance 16/12.
  EXPECT_NEAR(sum / 3000, 1.0, 5 * std::sqrt(16.0 / 12 / 3000));
}

TEST(SyntheticLinearTest, ConfigFaultsAreFound) {
  const std::string good = "examples = 10\nslope = 1.0\n";
  EXPECT_THAT(config_faults("synthetic_linear", good), IsEmpty());
  EXPECT_THAT(config_faults("synthetic_linear", ""),
              ElementsAre(HasSubstr("data.examples"), HasSubstr("data.slope")));
  EXPECT_THAT(config_faults("synthetic_linear", "examples = 10\nfeatures = 2\nslopes = [1.0]"),
              ElementsAre(HasSubstr("data.slopes")));
  EXPECT_THAT(config_faults("synthetic_linear", good + "noise = \"normal\""),
              ElementsAre(HasSubstr("data.noise_scale")));
  EXPECT_THAT(config_faults("synthetic_linear", good + "noise = \"gauss\""),
              ElementsAre(HasSubstr("data.noise")));
  EXPECT_THAT(config_faults("synthetic_linear", good + "low = 2.0"),
              ElementsAre(HasSubstr("data.high")));
}

TEST(SyntheticLogisticTest, LabelsFollowTheOdds) {
  const auto source = make_source("synthetic_logistic",
                                  std::string(kExamples) + "weights = [2.0, -1.0]\nbias = 0.5");
  const Examples examples = read_all(*source);
  // At the true weights the score, the sum of (y - p) (1, x0, x1), has mean 0 and variance the sum
  // of p (1 - p) (1, x0^2, x1^2).
  std::array<double, 3> score{}, variance{};
  double sum = 0, squares = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    const std::array<double, 3> x = {1.0, examples.floats(i)[0], examples.floats(i)[1]};
    const double y = examples.targets(i)[0];
    ASSERT_TRUE(y == 0 || y == 1);
    const double p = 1 / (1 + std::exp(-(0.5 + 2 * x[1] - x[2])));
    for (std::size_t k = 0; k < 3; ++k) {
      score[k] += (y - p) * x[k];
      variance[k] += p * (1 - p) * x[k] * x[k];
    }
    sum += x[1] + x[2];
    squares += x[1] * x[1] + x[2] * x[2];
  }
  for (std::size_t k = 0; k < 3; ++k) EXPECT_NEAR(score[k], 0, 5 * std::sqrt(variance[k]));
  // 2 n standard normals: mean and variance.
  EXPECT_NEAR(sum / (2 * kRows), 0, 5 / std::sqrt(2 * kRows));
  EXPECT_NEAR(squares / (2 * kRows), 1, 5 * std::sqrt(2 / (2 * kRows)));
}

TEST(SyntheticLogisticTest, ConfigFaultsAreFound) {
  EXPECT_THAT(config_faults("synthetic_logistic", "examples = 1"),
              ElementsAre(HasSubstr("data.weights")));
  EXPECT_THAT(config_faults("synthetic_logistic", "examples = 1\nweights = []"),
              ElementsAre(HasSubstr("data.weights")));
}

TEST(SyntheticSumTest, TargetsAreTheSums) {
  const auto source = make_source("synthetic_sum", "examples = 10000");
  ASSERT_EQ(source->schema(), (Schema{10, 1}));
  const Examples examples = read_all(*source);
  double mean = 0;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    double sum = 0;
    for (const float x : examples.floats(i)) {
      EXPECT_GE(x, 0.0F);
      EXPECT_LT(x, 1.0F);
      sum += x;
    }
    EXPECT_FLOAT_EQ(examples.targets(i)[0], static_cast<float>(sum));
    mean += sum / 10000;
  }
  // A sum of ten U(0, 1) has mean 5 and variance 10/12.
  EXPECT_NEAR(mean, 5, 5 * std::sqrt(10.0 / 12 / 10000));
}

TEST(SyntheticSourceTest, ARowIsAFunctionOfSeedPartAndRow) {
  const auto make = [](int examples, std::uint64_t seed) {
    return make_source("synthetic_sum", "test_examples = 5\nexamples = " + std::to_string(examples),
                       seed);
  };
  const auto few = rows_of(read_all(*make(5, 1)));
  auto many = rows_of(read_all(*make(50, 1)));
  many.resize(5);
  EXPECT_EQ(few, many);
  EXPECT_NE(few, rows_of(read_all(*make(5, 2))));
  EXPECT_NE(few, rows_of(read_all(*make(5, 1), SourcePart::test)));
}

}  // namespace
}  // namespace sheaf::worker
