// Clipping per example without per-example gradients, against the plain way: the gradient of each
// example by itself (Model::gradient of a batch of one), its norm, its weight and the sum in fp64.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "common/base/random.h"
#include "common/privacy/clip.h"
#include "tests/worker/models/job_model.h"

namespace sheaf::worker {
namespace {

using privacy::Clip;
using privacy::ClipKind;
using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;

// A stack for each kind of layer that examples may be clipped in, and for each loss.
struct Net {
  std::string name, text;
  std::size_t features, targets;
  std::size_t classes;  // of labels; 0: the targets are numbers
};

const std::vector<Net>& nets() {
  static const std::vector<Net> all = {
      {"dense", "loss = \"softmax_cross_entropy\"\nlayers = [{ kind = \"dense\", units = 3 }]\n", 5,
       1, 3},
      {"no_bias", "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 2, bias = false }]\n", 7,
       2, 0},
      {"below_without_parameters",
       "loss = \"mae\"\nlayers = [{ kind = \"tanh\" }, { kind = \"dense\", units = 4, activation = "
       "\"sigmoid\" }, { kind = \"relu\" }, { kind = \"dense\", units = 1 }]\n",
       6, 1, 0},
      {"logit",
       "loss = \"binary_cross_entropy\"\nlayers = [{ kind = \"dense\", units = 9, activation = "
       "\"relu\", "
       "rate_scale = 0 }, { kind = \"sigmoid\" }, { kind = \"dense\", units = 1 }]\n",
       4, 1, 2},
      {"whole",
       "loss = \"softmax_cross_entropy\"\nlayers = [{ kind = \"dense\", units = 33, activation = "
       "\"tanh\" }, { kind = \"dense\", units = 17, activation = \"relu\" }, { kind = \"dense\", "
       "units = 10 }]\n",
       40, 1, 10},
  };
  return all;
}

std::vector<float> random_values(std::size_t size, double scale, Stream& stream) {
  std::vector<float> values(size);
  for (float& value : values) value = static_cast<float>(scale * stream.normal());
  return values;
}

class ClippedGradient : public testing::TestWithParam<Net> {
 protected:
  static constexpr std::size_t kMost = 64;
  ClippedGradient() : job_(GetParam().text, {GetParam().features, GetParam().targets}) {
    EXPECT_THAT(job_.faults(), IsEmpty());
    EXPECT_EQ(job_.model.layer_without_example_rule(), std::nullopt);
    job_.model.reserve_clipping(kMost);
    job_.parameters = random_values(job_.parameters.size(), 0.3, stream_);
  }

  Batch random_batch(std::size_t examples) {
    const Net& net = GetParam();
    const std::vector<float> inputs = random_values(examples * net.features, 1, stream_);
    std::vector<float> targets = random_values(examples * net.targets, 2, stream_);
    for (float& target : targets) {
      if (net.classes != 0) target = static_cast<float>(stream_.next() % net.classes);
    }
    return job_.batch(inputs, targets);
  }

  // The first `count` examples from `first` on.
  Batch part(const Batch& batch, std::size_t first, std::size_t count) const {
    const Net& net = GetParam();
    return job_.batch(batch.inputs.span().subspan(first * net.features, count * net.features),
                      batch.targets.span().subspan(first * net.targets, count * net.targets));
  }

  std::vector<float> clipped(const Batch& batch, const Clip& clip) {
    std::ranges::fill(job_.gradient, std::numeric_limits<float>::quiet_NaN());
    last_ = job_.model.clipped_gradient(job_.parameters, batch, {}, clip, job_.gradient);
    return job_.gradient;
  }

  std::vector<double> plain_way(const Batch& batch, const Clip& clip) {
    std::vector<double> sum(job_.gradient.size());
    for (std::size_t e = 0; e < batch.examples; ++e) {
      job_.model.gradient(job_.parameters, part(batch, e, 1), {}, job_.gradient);
      double squares = 0;
      for (const float g : job_.gradient) squares += static_cast<double>(g) * g;
      const double n = std::sqrt(squares);
      const double weight =
          clip.kind == ClipKind::flat ? std::min(1.0, clip.norm / n) : clip.norm / (n + clip.gamma);
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += weight * job_.gradient[i];
    }
    return sum;
  }

  Stream stream_{9, Purpose::test};
  JobModel job_;
  ClippedPass last_;
};

template <typename A, typename B>
double distance(const A& a, const B& b) {
  double squares = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double d = static_cast<double>(a[i]) - static_cast<double>(b[i]);
    squares += d * d;
  }
  return std::sqrt(squares);
}

double length(const std::vector<double>& x) { return distance(x, std::vector<double>(x.size())); }

TEST_P(ClippedGradient, IsTheSumOfGradientsThatWereClippedOneByOne) {
  for (const double norm : {1e-3, 0.5, 2.0, 1e6}) {  // from all shortened to none
    for (const ClipKind kind : {ClipKind::flat, ClipKind::automatic}) {
      const Clip clip{kind, norm, 0.01};
      const Batch batch = random_batch(kMost);
      const std::vector<double> expected = plain_way(batch, clip);
      EXPECT_LE(distance(clipped(batch, clip), expected), 1e-6 * length(expected)) << norm;
      EXPECT_EQ(last_.examples, kMost);
      EXPECT_EQ(last_.left_out, 0U);
    }
  }
}

TEST_P(ClippedGradient, WithAHighBoundIsTheGradientAndItsLoss) {
  const Batch batch = random_batch(20);
  const std::vector<float> found = clipped(batch, {ClipKind::flat, 1e6, 0});
  const double loss = job_.model.gradient(job_.parameters, batch, {}, job_.gradient);
  EXPECT_EQ(last_.loss, loss);
  for (std::size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i], job_.gradient[i], 1e-5) << i;
  }
}

// What differential privacy rests on. Pairs of data sets that differ in one example, at a random
// place, which is of any size; the examples are shared out among partitions, whose sums are added.
TEST_P(ClippedGradient, OneExampleMoreChangesTheSumByNoMoreThanTheBound) {
  double largest = 0;
  for (int pair = 0; pair < 1000; ++pair) {
    const Clip clip{pair % 2 == 0 ? ClipKind::flat : ClipKind::automatic,
                    std::exp(2 * stream_.normal()), 0.01};
    const std::size_t examples = 1 + stream_.next() % 24;
    Batch with = random_batch(examples + 1);
    const std::size_t place = stream_.next() % (examples + 1);
    const auto size = static_cast<float>(std::exp(4 * stream_.normal()));
    const std::size_t features = GetParam().features;
    for (std::size_t i = 0; i < features; ++i) with.inputs[place * features + i] *= size;
    const std::size_t cut = stream_.next() % (examples + 2);  // between two partitions

    std::vector<double> change(job_.gradient.size());
    const auto add = [&](const Batch& batch, double sign) {
      const std::vector<float> sum = clipped(batch, clip);
      for (std::size_t i = 0; i < sum.size(); ++i) change[i] += sign * static_cast<double>(sum[i]);
    };
    add(part(with, 0, cut), 1);
    add(part(with, cut, examples + 1 - cut), 1);
    Batch without = part(with, 0, examples + 1);
    for (std::size_t e = place; e < examples; ++e) {
      const Batch next = part(with, e + 1, 1);
      std::ranges::copy(next.inputs.span(),
                        without.inputs.span().begin() + static_cast<std::ptrdiff_t>(e * features));
      std::ranges::copy(
          next.targets.span(),
          without.targets.span().begin() + static_cast<std::ptrdiff_t>(e * GetParam().targets));
    }
    const std::size_t cut_without = cut > place ? cut - 1 : cut;
    add(part(without, 0, cut_without), -1);
    add(part(without, cut_without, examples - cut_without), -1);
    EXPECT_LE(length(change), clip.norm * (1 + 1e-6)) << "pair " << pair;
    largest = std::max(largest, length(change) / clip.norm);
  }
  EXPECT_GT(largest, 0.99);  // so the bound is tight: the test would see a looser one
}

// The same for a user: of m examples, often all alike, which is the worst that they can do. They
// stand in one partition, among the examples of others.
TEST_P(ClippedGradient, OneUserMoreChangesTheSumByNoMoreThanTheBound) {
  double largest = 0;
  for (int pair = 0; pair < 300; ++pair) {
    const std::size_t most = 1 + stream_.next() % 16;
    const Clip clip{pair % 2 == 0 ? ClipKind::flat : ClipKind::automatic,
                    std::exp(2 * stream_.normal()), 0.01, most};
    const std::size_t others = stream_.next() % 24, own = 1 + stream_.next() % most;
    Batch all = random_batch(others + own);
    const std::size_t features = GetParam().features, targets = GetParam().targets;
    const auto size = static_cast<float>(std::exp(4 * stream_.normal()));
    for (std::size_t e = others; e < others + own; ++e) {
      const std::size_t from = pair % 3 == 0 ? e : others;  // else all are the first one
      for (std::size_t i = 0; i < features; ++i) {
        all.inputs[e * features + i] =
            e == others ? size * all.inputs[e * features + i] : all.inputs[from * features + i];
      }
      for (std::size_t i = 0; i < targets; ++i) {
        all.targets[e * targets + i] = all.targets[from * targets + i];
      }
    }
    const std::vector<float> with = clipped(all, clip);
    const std::vector<float> without = clipped(part(all, 0, others), clip);
    const double change = distance(with, without);
    EXPECT_LE(change, clip.norm * (1 + 1e-6)) << "pair " << pair;
    largest = std::max(largest, change / clip.norm);
  }
  EXPECT_GT(largest, 0.99);  // so the bound is tight
}

TEST_P(ClippedGradient, AnExampleThatIsNotFiniteAddsNothingAndIsCounted) {
  const Clip clip{ClipKind::flat, 1, 0};
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(), 3e38F}) {
    Batch batch = random_batch(8);
    const std::vector<double> all = plain_way(batch, clip);
    std::vector<double> one = plain_way(part(batch, 5, 1), clip);
    for (std::size_t i = 0; i < GetParam().features; ++i) {
      batch.inputs[5 * GetParam().features + i] = i % 2 == 0 ? bad : -bad;
    }
    const std::vector<float> found = clipped(batch, clip);
    EXPECT_THAT(found, Each(testing::Truly([](float x) { return std::isfinite(x); })));
    if (last_.left_out == 0) continue;  // behind a tanh the inputs are finite after all
    EXPECT_EQ(last_.left_out, 1U);
    std::vector<double> expected = all;
    for (std::size_t i = 0; i < all.size(); ++i) expected[i] -= one[i];
    EXPECT_LE(distance(found, expected), 1e-5 * (1 + length(expected)));
  }
}

TEST_P(ClippedGradient, OfNoExamplesIsZero) {
  EXPECT_THAT(clipped(part(random_batch(1), 0, 0), {}), Each(0.0F));
  EXPECT_EQ(last_.examples, 0U);
}

struct BoundJob : JobModel {
  BoundJob(const Net& net, const Clip& clip, std::size_t most)
      : JobModel(net.text, {net.features, net.targets}) {
    model.add_bound(clip);
    model.reserve_clipping(most);
    parameters.resize(model.layout().size());
    gradient.resize(model.layout().size());
  }
  std::vector<float> clipped(const Batch& batch, const Clip& clip) {
    std::ranges::fill(gradient, std::numeric_limits<float>::quiet_NaN());
    model.clipped_gradient(parameters, batch, {}, clip, gradient);
    return gradient;
  }
};

class AdaptiveGradient : public ClippedGradient {
 protected:
  static Clip adaptive(double norm) {
    return {.kind = ClipKind::adaptive, .norm = norm, .quantile = 0.7, .count_share = 0.1};
  }
};
INSTANTIATE_TEST_SUITE_P(EveryNet, AdaptiveGradient, testing::ValuesIn(nets()),
                         [](const auto& net) { return net.param.name; });

INSTANTIATE_TEST_SUITE_P(EveryNet, ClippedGradient, testing::ValuesIn(nets()),
                         [](const auto& net) { return net.param.name; });

// The gradient and the count together: whoever comes or goes changes the whole vector by no more
// than the norm, and one of the largest gradient by no less.
TEST_P(AdaptiveGradient, OneExampleMoreChangesTheWholeVectorByNoMoreThanTheNorm) {
  double largest = 0;
  for (int pair = 0; pair < 1000; ++pair) {
    Clip clip = adaptive(std::exp(2 * stream_.normal()));
    clip.count_share = std::pow(10, -4 * stream_.uniform());
    if (clip.count_share > 0.5) clip.count_share = 0.5;
    BoundJob job(GetParam(), clip, kMost);
    job.parameters = random_values(job.parameters.size(), 0.3, stream_);
    const std::size_t examples = 1 + stream_.next() % 24;
    Batch with = random_batch(examples + 1);
    const auto size = static_cast<float>(std::exp(4 * stream_.normal()));
    const std::size_t features = GetParam().features;
    for (std::size_t i = 0; i < features; ++i) with.inputs[examples * features + i] *= size;
    const std::vector<float> sum = job.clipped(with, clip);
    const double change = distance(sum, job.clipped(part(with, 0, examples), clip));
    EXPECT_LE(change, clip.norm * (1 + 1e-6)) << "pair " << pair;
    largest = std::max(largest, change / clip.norm);
  }
  EXPECT_GT(largest, 0.999);  // so the bound is tight
}

// Of a gradient of norm n, clipped to the bound B that the parameters say and scaled to C / B, all
// but for a; and of the last coordinate the halves, in fp64.
TEST_P(AdaptiveGradient, IsTheSumOfGradientsThatWereClippedToTheBoundAndTheCount) {
  for (const float log_bound : {-2.0F, 0.0F, 1.5F}) {
    const Clip clip = adaptive(0.5);
    BoundJob job(GetParam(), clip, kMost);
    job.parameters = random_values(job.parameters.size(), 0.3, stream_);
    job.parameters.back() = log_bound;
    const Batch batch = random_batch(kMost);
    const double bound = clip.norm * std::exp(static_cast<double>(log_bound));
    const double unit = job.model.layout().groups().back().own.towards / (clip.quantile - 0.5);
    const double a = std::sqrt(1 - unit * unit / 4 / (clip.norm * clip.norm));
    std::vector<double> expected(job.gradient.size());
    for (std::size_t e = 0; e < batch.examples; ++e) {
      job.model.gradient(job.parameters, part(batch, e, 1), {}, job.gradient);
      EXPECT_EQ(job.gradient.back(), 0);
      double squares = 0;
      for (const float g : job.gradient) squares += static_cast<double>(g) * g;
      const double n = std::sqrt(squares);
      for (std::size_t i = 0; i + 1 < expected.size(); ++i) {
        expected[i] += a * clip.norm / bound * std::min(1.0, bound / n) * job.gradient[i];
      }
      expected.back() += n <= bound ? unit / 2 : -unit / 2;
    }
    const std::vector<float> found = job.clipped(batch, clip);
    EXPECT_LE(distance(found, expected), 1e-6 * length(expected)) << log_bound;
    EXPECT_NEAR(found.back(), expected.back(), 1e-6 * unit);
  }
}

TEST_P(AdaptiveGradient, WhoIsNotFiniteDoesNotCountAndNobodyCountsNothing) {
  const Clip clip = adaptive(1);
  BoundJob job(GetParam(), clip, kMost);
  job.parameters = random_values(job.parameters.size(), 0.3, stream_);
  EXPECT_THAT(job.clipped(part(random_batch(1), 0, 0), clip), Each(0.0F));
  Batch batch = random_batch(1);
  for (std::size_t i = 0; i < GetParam().features; ++i) {
    batch.inputs[i] = std::numeric_limits<float>::quiet_NaN();
  }
  std::vector<float> gradient = job.clipped(batch, clip);  // moves the bound to neither side
  EXPECT_FLOAT_EQ(gradient.back(), 0.2F * clip.count_unit());
  gradient.pop_back();
  EXPECT_THAT(gradient, Each(0.0F));
}

class Progress : public PassObserver {
 public:
  void before_forward(std::size_t begin, std::size_t end) override {
    log.push_back(fmt::format("read {}..{}", begin, end));
  }
  void after_backward(std::size_t begin) override { log.push_back(fmt::format("done {}", begin)); }
  std::vector<std::string> log;
};

TEST(ClippedGradientProgress, ReadsLayerByLayerAndIsDoneFromTheLastLayerOn) {
  JobModel job(
      "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 2 }, { kind = \"relu\" }, { kind = "
      "\"dense\", units = 1 }]\n",
      {3, 1});
  job.model.reserve_clipping(1);
  Progress progress, of_empty;
  const Batch batch = job.batch(std::vector<float>{1, 2, 3}, std::vector<float>{1});
  job.model.clipped_gradient(job.parameters, batch, {}, {}, job.gradient, &progress);
  EXPECT_THAT(progress.log, ElementsAre("read 0..8", "read 8..11", "done 8", "done 0"));
  const Batch empty = make_batch(0, job.model.schema());
  job.model.clipped_gradient(job.parameters, empty, {}, {}, job.gradient, &of_empty);
  EXPECT_THAT(of_empty.log, ElementsAre("read 0..11", "done 0"));
}

TEST(ClippedGradientProgress, ReadsTheBoundBehindTheLayersAndCountsBeforeAnythingIsDone) {
  const Clip clip{.kind = ClipKind::adaptive};
  BoundJob job({"", "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 1 }]\n", 3, 1, 0}, clip,
               1);
  Progress progress;
  const Batch batch = job.batch(std::vector<float>{1, 2, 3}, std::vector<float>{1});
  job.model.clipped_gradient(job.parameters, batch, {}, clip, job.gradient, &progress);
  EXPECT_THAT(progress.log, ElementsAre("read 0..4", "read 4..5", "done 0"));
}

TEST(ClippedGradientRefusal, DropoutTellsExamplesApartByTheirPlace) {
  const JobModel job(
      "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 2 }, { kind = \"dropout\", rate = 0.5 "
      "}, { kind = \"dense\", units = 1 }]\n",
      {3, 1});
  EXPECT_EQ(job.model.layer_without_example_rule(), 1U);
}

}  // namespace
}  // namespace sheaf::worker
