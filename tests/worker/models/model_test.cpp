#include "worker/models/model.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "tests/worker/models/job_model.h"
#include "worker/models/losses/loss.h"

namespace sheaf::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr char kClassifier[] = R"(
loss = "softmax_cross_entropy"
layers = [
  { kind = "dense", units = 6, activation = "relu", name = "wide" },
  { kind = "tanh" },
  { kind = "dense", units = 4, rate_scale = 0, bias = false, from = ["1"] },
  { kind = "dense", units = 3, rate_scale = 0.5 },
]
)";

std::vector<float> normals(std::size_t size, std::uint64_t name) {
  Stream stream(1, Purpose::test, name);
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(stream.normal());
  return values;
}

std::vector<float> labels(std::size_t size, std::size_t classes) {
  std::vector<float> values(size);
  for (std::size_t i = 0; i < size; ++i) values[i] = static_cast<float>(i % classes);
  return values;
}

TEST(ModelLayout, NamesShapesAndGroupsStandInTheOrderOfTheForwardPass) {
  const JobModel job(kClassifier, {5, 1});
  ASSERT_THAT(job.faults(), IsEmpty());
  const params::Layout& layout = job.model.layout();
  std::vector<std::string> found;
  for (const params::Tensor& tensor : layout.tensors()) {
    const params::Group group = layout.groups()[tensor.group];
    found.push_back(fmt::format("{} {} at {}: rate {}, decay {}", tensor.name,
                                fmt::join(tensor.shape, "x"), tensor.offset, group.rate_scale,
                                group.decay_scale));
  }
  EXPECT_THAT(found, ElementsAre("layers.wide.weight 5x6 at 0: rate 1, decay 1",
                                 "layers.wide.bias 6 at 30: rate 1, decay 0",
                                 "layers.2.weight 6x4 at 36: rate 0, decay 1",
                                 "layers.3.weight 4x3 at 60: rate 0.5, decay 1",
                                 "layers.3.bias 3 at 72: rate 0.5, decay 0"));
  EXPECT_EQ(layout.size(), 75U);
  EXPECT_EQ(job.model.outputs(), 3U);
  EXPECT_EQ(job.model.loss().task(), Task::classification);
}

TEST(ModelInitialise, IsAFunctionOfTheSeedAndFillsTheVector) {
  JobModel job(kClassifier, {5, 1});
  std::vector<float> once(75, std::numeric_limits<float>::quiet_NaN()), again(75), other(75);
  job.model.initialise(once, 3);
  job.model.initialise(again, 3);
  job.model.initialise(other, 4);
  EXPECT_EQ(once, again);
  EXPECT_NE(once, other);
  EXPECT_THAT(std::vector<float>(once.begin() + 30, once.begin() + 36), testing::Each(0.0F));
}

// y = w x + b with squared error, by hand: w = 2, b = 1; (x, t) = (1, 5), (-1, 0).
// Errors -2 and -1: loss 4 + 1; dw = 2 (-2 * 1 + -1 * -1) = -2; db = 2 (-2 - 1) = -6.
TEST(ModelGradient, OfALineIsThatOfTheTextbook) {
  JobModel job("loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 1 }]\n", {1, 1});
  ASSERT_THAT(job.faults(), IsEmpty());
  job.model.reserve(2);
  const Batch batch = job.batch(std::vector<float>{1, -1}, std::vector<float>{5, 0});
  const std::vector<float> parameters = {2, 1};
  EXPECT_DOUBLE_EQ(job.model.gradient(parameters, batch, {}, job.gradient), 5);
  EXPECT_THAT(job.gradient, ElementsAre(-2, -6));
  std::span<const float> outputs;
  EXPECT_DOUBLE_EQ(job.model.evaluate(parameters, batch, outputs), 5);
  EXPECT_THAT(outputs, ElementsAre(3, -1));
}

// The whole stack against a central difference of its own evaluate(): fp32 sums over 8 examples,
// rounded to about 1e-6, divided by the step of 2^-7.
TEST(ModelGradient, OfAStackIsTheDerivativeOfItsLoss) {
  JobModel job(kClassifier, {5, 1});
  job.model.reserve(8);
  const Batch batch = job.batch(normals(40, 1), labels(8, 3));
  std::vector<float> parameters = normals(75, 2);
  std::span<const float> outputs;
  const double loss = job.model.gradient(parameters, batch, {}, job.gradient);
  EXPECT_EQ(job.model.evaluate(parameters, batch, outputs), loss);  // no dropout: the same bits
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const float middle = parameters[i];
    const auto at = [&](float value) {
      parameters[i] = value;
      return job.model.evaluate(parameters, batch, outputs);
    };
    const float high = middle + 0x1p-7F, low = middle - 0x1p-7F;
    const double slope = (at(high) - at(low)) / static_cast<double>(high - low);
    parameters[i] = middle;
    EXPECT_NEAR(job.gradient[i], slope, 2e-3) << "parameter " << i;
  }
}

TEST(ModelGradient, OfAPartialBatchIsThatOfAModelReservedForIt) {
  JobModel large(kClassifier, {5, 1}), small(kClassifier, {5, 1});
  large.model.reserve(100);
  small.model.reserve(3);
  const std::vector<float> parameters = normals(75, 2);
  const Batch whole = large.batch(normals(500, 1), labels(100, 3));
  large.model.gradient(parameters, whole, {}, large.gradient);
  const Batch part = large.batch(normals(15, 3), labels(3, 3));
  EXPECT_EQ(large.model.gradient(parameters, part, {}, large.gradient),
            small.model.gradient(parameters, part, {}, small.gradient));
  EXPECT_THAT(large.gradient, ElementsAreArray(small.gradient));
}

TEST(ModelGradient, DropoutFollowsTheKeyAndIsAbsentFromEvaluation) {
  JobModel job(R"(
loss = "mse"
layers = [ { kind = "dropout", rate = 0.5 }, { kind = "dense", units = 1, init = "glorot" } ]
)",
               {20, 1});
  ASSERT_THAT(job.faults(), IsEmpty());
  job.model.reserve(4);
  job.model.initialise(job.parameters, 1);
  const Batch batch = job.batch(normals(80, 1), normals(4, 2));
  const auto loss = [&](const PassKey& key) {
    return job.model.gradient(job.parameters, batch, key, job.gradient);
  };
  std::span<const float> outputs;
  const double first = loss({1, 0, 0});
  const std::vector<float> gradient = job.gradient;
  EXPECT_NE(loss({1, 1, 0}), first);
  EXPECT_NE(loss({1, 0, 1}), first);
  const double evaluated = job.model.evaluate(job.parameters, batch, outputs);
  EXPECT_EQ(job.model.evaluate(job.parameters, batch, outputs), evaluated);
  EXPECT_EQ(loss({1, 0, 0}), first);
  EXPECT_EQ(job.gradient, gradient);
}

// Scribbles over what the contract says is no longer read, and writes parameters only when they are
// asked for: an exchange that overlaps with the pass may do both.
class Overlapping : public PassObserver {
 public:
  Overlapping(std::span<const float> served, std::vector<float>& parameters)
      : served_(served), parameters_(parameters) {}
  void before_forward(std::size_t begin, std::size_t end) override {
    log.push_back(fmt::format("read {} {}", begin, end));
    for (std::size_t i = begin; i < end; ++i) parameters_[i] = served_[i];
  }
  void after_backward(std::size_t begin) override {
    log.push_back(fmt::format("final {}", begin));
    for (std::size_t i = begin; i < parameters_.size(); ++i) parameters_[i] = NAN;
  }
  std::vector<std::string> log;

 private:
  std::span<const float> served_;
  std::vector<float>& parameters_;
};

TEST(ModelObserver, ParametersAreReadAfterTheyAreAskedForAndNeverAfterTheirGradientIsFinal) {
  JobModel job(kClassifier, {5, 1});
  job.model.reserve(8);
  const Batch batch = job.batch(normals(40, 1), labels(8, 3));
  const std::vector<float> parameters = normals(75, 2);
  const double loss = job.model.gradient(parameters, batch, {}, job.gradient);
  const std::vector<float> expected = job.gradient;

  std::vector<float> arriving(75, std::numeric_limits<float>::quiet_NaN());
  Overlapping observer(parameters, arriving);
  EXPECT_EQ(job.model.gradient(arriving, batch, {}, job.gradient, &observer), loss);
  EXPECT_EQ(job.gradient, expected);
  EXPECT_THAT(observer.log, ElementsAre("read 0 36", "read 36 60", "read 60 75", "final 60",
                                        "final 36", "final 0"));
}

TEST(ModelUse, ABatchLargerThanReservedIsRefused) {
  JobModel job(kClassifier, {5, 1});
  job.model.reserve(2);
  const Batch batch = job.batch(normals(15, 1), labels(3, 3));
  EXPECT_THROW(job.model.gradient(job.parameters, batch, {}, job.gradient), std::exception);
}

// Faults: one line each, with a suggestion, and no crash.

TEST(ModelFaults, AMisspeltKindIsReadOnAsTheNearestOne) {
  const JobModel job(R"(
loss = "mse"
layers = [ { kind = "dnese", units = 0 }, { kind = "dense", units = 1 } ]
)",
                     {5, 1});
  EXPECT_THAT(job.faults(),
              ElementsAre(AllOf(HasSubstr("job.toml:4:14: model.layers[0].kind"),
                                HasSubstr("try \"dense\"")),
                          AllOf(HasSubstr("model.layers[0].units"), HasSubstr("found 0"))));
}

TEST(ModelFaults, AnUnknownKindLeavesTheRestOfTheModelReadable) {
  const JobModel job(R"(
loss = "mse"
layers = [ { kind = "quantum" }, { kind = "tanh" }, { kind = "dense", units = 7 } ]
)",
                     {5, 1});
  EXPECT_THAT(job.faults(),
              ElementsAre(HasSubstr("model.loss: found 7 outputs of the last layer, expected 1"),
                          AllOf(HasSubstr("layers[0].kind"), HasSubstr("\"dropout\""))));
  EXPECT_THAT(job.model.layout().tensors(), testing::SizeIs(1));  // the bias: its shape is known
}

TEST(ModelFaults, OutputsThatDoNotFitTheLossAreToldApart) {
  const JobModel job(R"(
loss = "binary_cross_entropy"
layers = [ { kind = "dense", units = 2 } ]
)",
                     {5, 1});
  EXPECT_THAT(job.faults(), ElementsAre(AllOf(HasSubstr("job.toml:3:1: model.loss"),
                                              HasSubstr("found 2 outputs of the last layer"),
                                              HasSubstr("expected 1, the logit of class 1"),
                                              HasSubstr("try units = 1 in the last layer"))));
}

TEST(ModelFaults, DataThatCouldNotBeReadIsNotHeldAgainstTheModel) {
  const JobModel job(kClassifier, {0, 0});
  EXPECT_THAT(job.faults(), IsEmpty());
}

TEST(ModelFaults, OnlyPlainStacksAreBuiltToday) {
  const JobModel job(R"(
loss = "mse"
layers = [
  { kind = "dense", units = 4, name = "a", from = ["data"] },
  { kind = "relu", name = "b", from = ["a"] },
  { kind = "dense", units = 1, from = ["a", "b"] },
]
)",
                     {5, 1});
  EXPECT_THAT(job.faults(),
              ElementsAre(AllOf(HasSubstr("layers[0].from"), HasSubstr("reads the data")),
                          AllOf(HasSubstr("layers[2].from: found [\"a\", \"b\"]"),
                                HasSubstr("[\"b\"], the layer before it: only plain stacks"))));
}

TEST(ModelFaults, NamesAreUniqueAndPlain) {
  const JobModel job(R"(
loss = "mse"
layers = [
  { kind = "relu", name = "a" },
  { kind = "relu", name = "a" },
  { kind = "relu", name = "3" },
  { kind = "dense", units = 1 },
  { kind = "relu", name = "x.y" },
]
)",
                     {5, 1});
  EXPECT_THAT(job.faults(),
              ElementsAre(HasSubstr("layers[1].name: found \"a\" a second time"),
                          HasSubstr("layers[3].name: found \"3\" a second time"),
                          AllOf(HasSubstr("layers[4].name"), HasSubstr("letters, digits"))));
}

TEST(ModelFaults, AnEmptyTableNamesItsRequiredKeys) {
  const JobModel job("", {5, 1});
  EXPECT_THAT(job.faults(), ElementsAre(HasSubstr("model.layers"), HasSubstr("model.loss")));
  const JobModel empty("loss = \"mse\"\nlayers = []\n", {5, 5});
  EXPECT_THAT(empty.faults(), ElementsAre(HasSubstr("model.layers")));
}

TEST(ModelFaults, ImpossibleOptionsAndUnknownKeysAreFound) {
  const JobModel job(R"(
loss = "mse"
layers = [
  { kind = "dense", units = 4, activaton = "relu" },
  { kind = "dropout", rate = 1 },
  { kind = "dense", units = 1, activation = "rleu", init = "hee", rate_scale = -1 },
]
)",
                     {5, 1});
  EXPECT_THAT(job.faults(), ElementsAre(AllOf(HasSubstr("activaton"), HasSubstr("try activation")),
                                        HasSubstr("layers[1].rate: found 1"),
                                        AllOf(HasSubstr("activation"), HasSubstr("try \"relu\"")),
                                        AllOf(HasSubstr("init"), HasSubstr("try \"he\"")),
                                        HasSubstr("rate_scale")));
}

}  // namespace
}  // namespace sheaf::worker
