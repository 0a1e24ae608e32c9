// What a private job may not have beside it: each is refused by one fault that names the key. The
// lines follow from the reasons in docs/privacy.md.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <ostream>
#include <string>
#include <vector>

#include "common/privacy/accounting/accountant.h"
#include "launcher/config/run_config.h"
#include "tests/launcher/config/job_text.h"

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string private_job() {
  return job_with(9, "batch = 64\nsampling = \"poisson\"") +
         "[privacy]\nkind = \"gaussian\"\nnoise = 1.5\ndelta = 1e-4\n";
}

CheckResult check_with(const std::vector<std::string>& overrides) {
  return RunConfig::from_text(private_job(), "job.toml", overrides).check();
}

TEST(PrivateConfig, IsSoundWithNoiseAtEitherPlace) {
  EXPECT_THAT(check_with({}).faults, IsEmpty());
  EXPECT_THAT(check_with({"privacy.where=local"}).faults, IsEmpty());
  EXPECT_THAT(check_with({"privacy.clipping=automatic", "privacy.gamma=0.1"}).faults, IsEmpty());
  EXPECT_THAT(
      check_with({"data.sampling=shuffle", "privacy.adjacency=replace-one", "privacy.noise=50"})
          .faults,
      IsEmpty());
}

// The least noise is what the accountant finds for the rate and steps of the job: of 64 of
// 1000 examples 15 an epoch are whole.
TEST(PrivateConfig, WithoutNoiseThereIsAsMuchAsTheBudgetNeeds) {
  const std::vector<std::string> epochs = {"run.epochs=3"};
  RunConfig config =
      RunConfig::from_text(job_with(9, "batch = 64\nsampling = \"poisson\"") +
                               "[privacy]\nkind = \"gaussian\"\nepsilon = 2.0\ndelta = 1e-4\n",
                           "job.toml", epochs);
  ASSERT_THAT(config.check().faults, IsEmpty());
  const privacy::LedgerTerms terms = config.privacy_terms();
  EXPECT_DOUBLE_EQ(terms.sampling_rate, 0.064);
  const privacy::GaussianSteps all{terms.sampling_rate, terms.noise, 45};
  const privacy::Epsilon cost =
      privacy::epsilon_of({&all, 1}, 1e-4, privacy::Adjacency::add_remove, privacy::Method::tight);
  EXPECT_LE(cost.value + cost.error, 2.0);
  EXPECT_GT(cost.value, 2.0 - 1e-3);
}

// Epsilon 2 for three epochs, each of them one step that hides who takes part by noise alone. With
// replace-one three such steps are two normal variables at distance mu = 2 sqrt(3) / noise, and
// delta is that of Balle and Wang, "Improving the Gaussian mechanism", ICML 2018, theorem 8.
TEST(PrivateConfig, ShuffledBatchesCostAWholeStepInEachEpoch) {
  const std::vector<std::string> epochs = {"run.epochs=3"};
  RunConfig config = RunConfig::from_text(
      job_with(9, "batch = 64\nsampling = \"shuffle\"") +
          "[privacy]\nkind = \"gaussian\"\nadjacency = \"replace-one\"\nepsilon = 2.0\n"
          "delta = 1e-4\n",
      "job.toml", epochs);
  ASSERT_THAT(config.check().faults, IsEmpty());
  const privacy::LedgerTerms terms = config.privacy_terms();
  EXPECT_EQ(to_string(terms.sampling), "shuffle");
  EXPECT_EQ(terms.steps_per_epoch, 16U);  // two partitions of 500, 32 a step
  const double mu = 2 * std::sqrt(3.0) / terms.noise;
  const auto normal = [](double x) { return std::erfc(-x / std::sqrt(2.0)) / 2; };
  EXPECT_NEAR(normal(mu / 2 - 2 / mu) - std::exp(2.0) * normal(-mu / 2 - 2 / mu), 1e-4, 1e-9);
}

std::string correlated_job(const std::string& privacy) {
  return job_with(9, "batch = 64\nsampling = \"cyclic\"") +
         "[privacy]\nkind = \"correlated\"\nadjacency = \"replace-one\"\ndelta = 1e-4\n" + privacy;
}

TEST(PrivateConfig, IsSoundWithNoiseThatStepsShare) {
  const std::vector<std::string> none;
  for (const std::string keys : {"noise = 50\n", "noise = 50\nbands = 8\n", "epsilon = 4.0\n"}) {
    EXPECT_THAT(RunConfig::from_text(correlated_job(keys), "job.toml", none).check().faults,
                IsEmpty());
  }
}

// With one band the noise of steps is independent, and each epoch costs a step without sampling,
// as where batches are shuffled.
TEST(PrivateConfig, OneBandNeedsTheNoiseOfShuffledBatches) {
  const std::vector<std::string> epochs = {"run.epochs=3"};
  RunConfig one =
      RunConfig::from_text(correlated_job("bands = 1\nepsilon = 4.0\n"), "job.toml", epochs);
  RunConfig shuffled = RunConfig::from_text(job_with(9, "batch = 64\nsampling = \"shuffle\"") +
                                                "[privacy]\nkind = \"gaussian\"\nadjacency = "
                                                "\"replace-one\"\ndelta = 1e-4\nepsilon = 4.0\n",
                                            "job.toml", epochs);
  EXPECT_NEAR(one.privacy_terms().noise, shuffled.privacy_terms().noise, 5e-6);
}

// The count is part of what the noise hides: the same noise for the same budget.
TEST(PrivateConfig, ABoundThatAdaptsCostsWhatAFlatOneDoes) {
  const std::string job = job_with(9, "batch = 64\nsampling = \"poisson\"") +
                          "[privacy]\nkind = \"gaussian\"\nepsilon = 2.0\ndelta = 1e-4\n";
  const std::vector<std::string> none, more = {"privacy.clipping=adaptive"};
  RunConfig flat = RunConfig::from_text(job, "job.toml", none);
  RunConfig adaptive = RunConfig::from_text(job, "job.toml", more);
  EXPECT_THAT(adaptive.check().faults, IsEmpty());
  EXPECT_EQ(adaptive.privacy_terms(), flat.privacy_terms());
  const auto with = adaptive.make_model({1, 1}), without = flat.make_model({1, 1});
  EXPECT_EQ(with->layout().tensors().back().name, "privacy.log_bound");
  EXPECT_EQ(with->layout().size(), without->layout().size() + 1);
}

struct Refusal {
  std::vector<std::string> overrides;
  std::string key;
};

void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.overrides.front(); }

const std::vector<Refusal> kRefusals = {
    {{"consistency.kind=ssp"}, "consistency.kind: found \"ssp\""},
    {{"consistency.kind=asp"}, "consistency.kind: found \"asp\""},
    {{"consistency.kind=speculate"}, "consistency.kind: found \"speculate\""},
    {{"data.sampling=shuffle"}, "privacy.adjacency: found \"add-remove\""},
    {{"data.sampling=shuffle", "privacy.adjacency=replace-one", "privacy.where=local"},
     "data.sampling: found \"shuffle\""},
    {{"compression.push={kind=\"int8\"}"}, "compression.push.kind: found \"int8\""},
    {{"privacy.where=local", "compression.push={kind=\"topk\", feedback=\"ef\"}"},
     "compression.push.feedback: found \"ef\""},
    {{"privacy.where=local", "compression.push={kind=\"topk\", feedback=\"ef21\"}"},
     "compression.push.feedback: found \"ef21\""},
    {{"optimizer.clip_norm=1.0"}, "optimizer.clip_norm: found 1"},
    {{"optimizer.non_finite=skip"}, "optimizer.non_finite: found"},
    {{"data.normalise=standard"}, "data.normalise: found \"standard\""},
    {{"recovery.snapshot=shm"}, "recovery.snapshot: found \"shm\""},
    {{"recovery.replicas=2"}, "recovery.replicas: found 2"},
    {{"network.encryption=none"}, "network.encryption: found \"none\""},
    {{"data.sampling=cyclic"}, "data.sampling: found \"cyclic\""},
    {{"privacy.kind=correlated"}, "data.sampling: found \"poisson\""},
    {{"privacy.kind=correlated", "data.sampling=shuffle"}, "data.sampling: found \"shuffle\""},
    {{"privacy.kind=correlated", "data.sampling=cyclic"},
     "privacy.adjacency: found \"add-remove\""},
    {{"privacy.kind=correlated", "data.sampling=cyclic", "privacy.adjacency=replace-one",
      "privacy.noise=50", "privacy.where=local"},
     "privacy.where"},
    {{"privacy.kind=correlated", "data.sampling=cyclic", "privacy.adjacency=replace-one",
      "privacy.noise=50", "privacy.bands=0"},
     "privacy.bands: found 0"},
    {{"privacy.kind=correlated", "data.sampling=cyclic", "privacy.adjacency=replace-one",
      "privacy.noise=50", "privacy.unit=user", "data.users=10"},
     "privacy.unit: found \"user\""},
    {{"privacy.kind=correlated", "data.sampling=cyclic", "privacy.adjacency=replace-one",
      "privacy.noise=50", "consistency.kind=ssp"},
     "consistency.kind: found \"ssp\""},
    {{"privacy.delta=0.5"}, "privacy.delta: found"},
    {{"privacy.epsilon=0.01"}, "privacy.epsilon: found 0.01"},
    {{"privacy.clip=0"}, "privacy.clip: found 0"},
    {{"privacy.quantile=0.5"}, "privacy.quantile"},
    {{"privacy.clipping=adaptive", "privacy.quantile=1"}, "privacy.quantile: found 1"},
    {{"privacy.clipping=adaptive", "privacy.quantile=0.9", "privacy.unit=user", "data.users=200",
      "privacy.examples_per_user=2"},
     "privacy.quantile: found 0.9"},
    {{"privacy.clipping=adaptive", "compression.pull={kind=\"bf16\"}"},
     "compression.pull.kind: found \"bf16\""},
    {{"privacy.clipping=adaptive", "privacy.where=local", "compression.push={kind=\"int8\"}"},
     "compression.push.kind: found \"int8\""},
};

class RefusedBesidePrivacy : public testing::TestWithParam<Refusal> {};
INSTANTIATE_TEST_SUITE_P(Table, RefusedBesidePrivacy, testing::ValuesIn(kRefusals));

TEST_P(RefusedBesidePrivacy, IsOneFaultThatNamesTheKey) {
  const CheckResult result = check_with(GetParam().overrides);
  EXPECT_THAT(result.faults, ElementsAre(HasSubstr(GetParam().key)));
  EXPECT_EQ(result.kind, Fault::config);
}

// 1000 examples of 200 users, of whom the training part has 160.
std::string job_of_users() {
  return job_with(9, "batch = 64\nsampling = \"poisson\"\nusers = 200\nvalidation = 0.2") +
         "[privacy]\nkind = \"gaussian\"\nunit = \"user\"\nexamples_per_user = 3\nnoise = 1.5\n"
         "delta = 1e-4\n";
}

TEST(PrivateConfig, OfUsersIsAboutUsers) {
  for (const std::vector<std::string>& more :
       {std::vector<std::string>{}, {"privacy.where=local"}, {"privacy.adjacency=replace-one"}}) {
    RunConfig config = RunConfig::from_text(job_of_users(), "job.toml", more);
    EXPECT_THAT(config.check().faults, IsEmpty());
    const privacy::LedgerTerms terms = config.privacy_terms();
    EXPECT_EQ(terms.unit, privacy::Unit::user);
    EXPECT_EQ(terms.users, 160U);
    EXPECT_EQ(terms.examples, 0U);
    EXPECT_EQ(terms.examples_per_user, 3U);
    EXPECT_DOUBLE_EQ(terms.sampling_rate, 64.0 / 160);
    EXPECT_EQ(terms.clip, 1);
  }
}

TEST(PrivateConfig, WhatUsersCannotHaveIsOneFault) {
  const std::vector<Refusal> refusals = {
      {{"data.sampling=shuffle"}, "data.sampling: found \"shuffle\" with privacy.unit"},
      {{"data.batch=161"},
       "data.batch: found 161, expected with sampling = \"poisson\" at most the "
       "160 users"},
      {{"privacy.examples_per_user=0"}, "privacy.examples_per_user: found 0"},
      {{"privacy.delta=0.01"}, "less than 1 / 160 users"},
      {{"privacy.unit=column"}, "privacy.unit: found \"column\""},
  };
  for (const Refusal& refusal : refusals) {
    SCOPED_TRACE(refusal.overrides.front());
    const CheckResult result =
        RunConfig::from_text(job_of_users(), "job.toml", refusal.overrides).check();
    EXPECT_THAT(result.faults, testing::Contains(HasSubstr(refusal.key)));
    EXPECT_EQ(result.kind, Fault::config);
  }
  const std::vector<std::string> users = {"data.users=200"},
                                 unit = {"privacy.unit=user", "privacy.examples_per_user=2"};
  EXPECT_THAT(RunConfig::from_text(private_job(), "job.toml", users).check().faults,
              ElementsAre(HasSubstr("data.users: found \"200\" without privacy.unit")));
  EXPECT_THAT(RunConfig::from_text(job_with(), "job.toml", users).check().faults,
              ElementsAre(HasSubstr("data.users: found \"200\" without privacy.unit")));
  EXPECT_THAT(RunConfig::from_text(private_job(), "job.toml", unit).check().faults,
              ElementsAre(HasSubstr("privacy.unit: found \"user\" with data.kind")));
  std::string without = job_of_users();
  without.replace(without.find("examples_per_user = 3\n"), 22, "");
  EXPECT_THAT(RunConfig::from_text(without, "job.toml", {}).check().faults,
              ElementsAre(HasSubstr("privacy.examples_per_user: found nothing")));
}

TEST(PrivateConfig, NeedsANoiseOrABudget) {
  const CheckResult result =
      RunConfig::from_text(job_with(9, "batch = 64\nsampling = \"poisson\"") +
                               "[privacy]\nkind = \"gaussian\"\ndelta = 1e-4\n",
                           "job.toml", {})
          .check();
  EXPECT_THAT(result.faults, ElementsAre(HasSubstr("privacy.noise: found neither noise nor")));
}

}  // namespace
}  // namespace sheaf::launcher
