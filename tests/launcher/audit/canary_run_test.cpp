// Audits of small jobs. Secrets are fixed, so what passes always passes; honest noise of other
// secrets would be above the accountant's epsilon with a chance of 0.001 for each bound.
#include "launcher/audit/canary_run.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/privacy/accounting/accountant.h"

namespace sheaf::launcher {
namespace {

// 1000 examples, 100 in a step on average, 50 steps; canaries on two servers.
std::string job(const std::string& data, const std::string& privacy) {
  return "[run]\nname = \"audited\"\nworkers = 2\nservers = 2\npartitions = 3\nepochs = 5\nseed = "
         "5\n"
         "[data]\nkind = \"synthetic_linear\"\nexamples = 1000\nslope = 3.0\nbatch = 100\n" +
         data +
         "\n[model]\nloss = \"mse\"\nlayers = [{ kind = \"dense\", units = 8, activation = "
         "\"tanh\" "
         "}, { kind = \"dense\", units = 1 }]\n"
         "[optimizer]\nkind = \"momentum\"\nrate = 0.01\nmomentum = 0.9\n"
         "[network]\nchunk_kib = 16\n[privacy]\nkind = \"gaussian\"\ndelta = 1e-4\n" +
         privacy;
}

wire::JobKey key(unsigned char first) {
  wire::Digest digest{};
  digest[0] = std::byte{first};
  return wire::JobKey(digest);
}

CanaryRun audited(const std::string& text, std::size_t canaries, unsigned char secret = 1,
                  const std::vector<std::string>& overrides = {}) {
  RunConfig config = RunConfig::from_text(text, "job.toml", overrides);
  config.require_sound();
  return run_with_canaries(config, canaries,
                           {key(secret), key(static_cast<unsigned char>(secret + 1)),
                            key(static_cast<unsigned char>(secret + 2))});
}

privacy::AuditBounds bounds_of(const CanaryRun& run) {
  return privacy::audit_bounds(run.scores, run.claim, run.terms.delta, run.terms.adjacency, 0.999);
}

void expect_honest(const CanaryRun& run, double least_share) {
  const privacy::AuditBounds bounds = bounds_of(run);
  EXPECT_LE(bounds.lower, bounds.upper);
  EXPECT_LE(bounds.lower_one_run, bounds.upper);
  EXPECT_GE(bounds.lower, least_share * bounds.upper);
}

constexpr char kPoisson[] = "sampling = \"poisson\"\n";

TEST(CanaryRunTest, WhatServersReleaseIsNoLessPrivateThanAccountedFor) {
  const CanaryRun run = audited(job(kPoisson, "epsilon = 4.0\nwhere = \"central\"\n"), 20'000);
  EXPECT_EQ(run.scores.size(), 20'000U);
  EXPECT_EQ(run.steps, 50U);
  EXPECT_EQ(run.claim.count, 50U);
  EXPECT_DOUBLE_EQ(run.claim.sampling_rate, 0.1);
  expect_honest(run, 0.5);
}

TEST(CanaryRunTest, NorIsWhatPartitionsRelease) {
  expect_honest(
      audited(job(kPoisson, "epsilon = 4.0\nwhere = \"local\"\nclipping = \"automatic\"\n"),
              20'000),
      0.5);
}

// In each epoch a canary is in one step, of which the auditor knows which one it is: two normal
// variables at distance 2, as the accountant has it.
TEST(CanaryRunTest, NorAreShuffledBatches) {
  const CanaryRun run = audited(
      job("sampling = \"shuffle\"\n", "epsilon = 4.0\nadjacency = \"replace-one\"\nclip = 0.3\n"),
      20'000);
  EXPECT_EQ(run.claim.count, 5U);
  EXPECT_EQ(run.claim.sampling_rate, 1);
  expect_honest(run, 0.65);
}

// Noise that steps share: C times all releases has white noise, and the canary's part in it is
// known.
TEST(CanaryRunTest, NorAreStepsThatShareNoise) {
  for (const std::string bands : {"1", "4"}) {
    const CanaryRun run = audited(
        job("sampling = \"cyclic\"\n", "epsilon = 4.0\nadjacency = \"replace-one\"\nclip = 0.3\n"),
        20'000, 1, {"privacy.kind=correlated", "privacy.bands=" + bands});
    EXPECT_EQ(run.claim.count, 1U);
    EXPECT_EQ(run.claim.sampling_rate, 1);
    expect_honest(run, 0.6);
  }
}

// 1000 users, of whom 2 examples take part, and canaries with 4. Had they an m-th of the norm
// together, or all 4 an influence, the lower bound would be far below, or above the upper one.
TEST(CanaryRunTest, NorIsWhatUsersContribute) {
  const CanaryRun run = audited(job(std::string(kPoisson) + "users = 1000\n",
                                    "epsilon = 4.0\nunit = \"user\"\nexamples_per_user = 2\n"),
                                20'000);
  EXPECT_EQ(run.scores.size(), 20'000U);
  EXPECT_EQ(run.steps, 50U);
  EXPECT_DOUBLE_EQ(run.claim.sampling_rate, 0.1);
  expect_honest(run, 0.5);
}

TEST(CanaryRunTest, MoreExamplesOfUsersThanFitAreRefused) {
  EXPECT_THAT(
      [] {
        audited(job(std::string(kPoisson) + "users = 1000\n",
                    "noise = 1.0\nunit = \"user\"\nexamples_per_user = 100\n"),
                20'000);
      },
      testing::ThrowsMessage<Error>(testing::HasSubstr("--canaries: found 20000, expected at most "
                                                       "5242: each is a user with 200 examples")));
}

// With next to no noise every step tells who was in it: a canary that is in the data was in none
// of 10 samples with probability 0.9^10 = 0.349, and scores as one that is not in the data.
TEST(CanaryRunTest, WithoutNoiseItSeesWhoWasInASample) {
  for (const std::string where : {"central", "local"}) {
    const CanaryRun run = audited(job(kPoisson, "noise = 0.02\nwhere = \"" + where + "\"\n"), 5'000,
                                  1, {"run.epochs=1"});
    const double never = 10 * std::log1p(-0.1);
    double in = 0, seen = 0;
    for (const privacy::CanaryScore& score : run.scores) {
      if (!score.in) {
        EXPECT_NEAR(score.score, never, 1e-6);
        continue;
      }
      ++in;
      seen += score.score > never + 1 ? 1 : 0;
    }
    const double expected = in * (1 - std::pow(0.9, 10));
    EXPECT_NEAR(in, 2500, 4.9 * std::sqrt(1250));
    EXPECT_NEAR(seen, expected, 4.9 * std::sqrt(expected * std::pow(0.9, 10))) << where;
  }
}

TEST(CanaryRunTest, TheSameSecretsGiveTheSameScores) {
  const auto scores = [](unsigned char secret) {
    std::vector<double> all;
    for (const auto& s : audited(job(kPoisson, "noise = 1.0\n"), 5'000, secret).scores)
      all.push_back(s.score);
    return all;
  };
  const std::vector<double> first = scores(1);
  EXPECT_EQ(scores(1), first);
  EXPECT_NE(scores(11), first);
}

TEST(CanaryRunTest, TheStepsAreThoseThatTheBudgetAllows) {
  const CanaryRun run = audited(job(kPoisson, "epsilon = 4.0\nnoise = 1.0\n"), 5'000);
  EXPECT_LT(run.steps, 50U);
  EXPECT_EQ(run.claim.count, run.steps);
  privacy::GaussianSteps steps = run.claim;
  const auto epsilon = [&] {
    return privacy::epsilon_of({&steps, 1}, 1e-4, privacy::Adjacency::add_remove,
                               privacy::Method::tight)
        .value;
  };
  EXPECT_LE(epsilon(), 4.0);
  ++steps.count;
  EXPECT_GT(epsilon(), 4.0);
}

TEST(CanaryRunTest, AJobWithoutPrivacyIsRefused) {
  std::string text = job(kPoisson, "");
  text.erase(text.find("[privacy]"));
  RunConfig config = RunConfig::from_text(text, "job.toml");
  config.require_sound();
  EXPECT_THROW(run_with_canaries(config, 5'000), Error);
}

}  // namespace
}  // namespace sheaf::launcher
