#include "launcher/audit/canary_run.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "common/base/error.h"
#include "common/math/blas.h"
#include "common/params/chunk_map.h"
#include "common/privacy/correlated/prefix_factor.h"
#include "common/privacy/ledger/spent.h"
#include "common/privacy/noise/secret_words.h"
#include "launcher/rank/role_threads.h"
#include "worker/audit/canaries.h"
#include "worker/data/batch_plan.h"
#include "worker/data/split.h"

namespace sheaf::launcher {
namespace {

using privacy::Adjacency;
using worker::Canary;

// Of a canary's gradient, in units of the clipping norm, and of 1: far above all weights.
constexpr double kLength = 1 << 20;
// That fit into memory.
constexpr std::uint64_t kMostExamples = 1 << 20;

void require_auditable(const RunConfig& config) {
  if (!config.privacy().on) {
    fail(Fault::config,
         "privacy.kind: found \"{}\", expected \"gaussian\" or \"correlated\": an audit holds the "
         "noise of a private job against what it is accounted as",
         config.privacy().kind);
  }
  if (config.make_mechanism()->clip()->adapts()) {
    fail(
        Fault::config,
        "privacy.clipping: found \"adaptive\", expected \"flat\" or \"automatic\": canaries are "
        "longer than any bound, which would follow them; try privacy.clipping=flat, which releases "
        "as much");
  }
}

// Where users are protected a canary is a user, with twice as many examples as a step may have: one
// that does not hold back would contribute twice what is accounted for.
std::uint64_t examples_of_each(const privacy::LedgerTerms& terms, std::size_t canaries) {
  if (terms.unit != privacy::Unit::user) return 1;
  const std::uint64_t examples = 2 * terms.examples_per_user;
  if (canaries * examples > kMostExamples) {
    fail(Fault::config,
         "--canaries: found {}, expected at most {}: each is a user with {} examples, twice "
         "privacy.examples_per_user",
         canaries, kMostExamples / examples, examples);
  }
  return examples;
}

// Of the job without an audit, up to where its budget ends.
Step steps_of(const RunConfig& config, const worker::BatchPlan& plan,
              const privacy::LedgerTerms& terms) {
  Step steps = plan.steps_per_epoch() * config.run().epochs;
  if (config.run().steps) steps = std::min(steps, *config.run().steps);
  if (!config.privacy().epsilon || steps == 0) return steps;
  privacy::Ledger ledger;
  ledger.begin(terms);
  return std::min(steps, privacy::steps_within(ledger, *config.privacy().epsilon, steps));
}

// What a ledger with these steps comes to: all accounts have the same.
privacy::GaussianSteps claim_of(const privacy::LedgerTerms& terms, Step steps) {
  privacy::Ledger ledger;
  ledger.begin(terms);
  for (Step step = 0; step < steps; ++step) ledger.open({step, 0});
  const std::vector<privacy::GaussianSteps> history = ledger.history(0);
  check(history.size() == 1, "all steps are alike");
  return history.front();
}

// So many canaries in a step on average as the job has examples, in proportion.
std::uint64_t batch_of(const worker::BatchPlan& plan, const privacy::LedgerTerms& terms,
                       std::size_t canaries) {
  const double rate = plan.sampling() == worker::Sampling::poisson
                          ? terms.sampling_rate
                          : 1 / static_cast<double>(plan.steps_per_epoch());
  const auto batch = static_cast<std::uint64_t>(std::ceil(rate * static_cast<double>(canaries)));
  return std::clamp<std::uint64_t>(batch, plan.partitions(), canaries);
}

std::vector<Canary> toss(std::size_t canaries, Adjacency adjacency, const wire::JobKey& coins) {
  privacy::SecretWords words(
      privacy::NoiseSecret(coins.bytes()).key({privacy::NoisePurpose::sampling}, {}), 0);
  const Canary otherwise = adjacency == Adjacency::replace_one ? Canary::minus : Canary::none;
  std::vector<Canary> all(canaries);
  for (Canary& canary : all) canary = words.next() % 2 == 0 ? Canary::plus : otherwise;
  return all;
}

// Looks at releases and keeps the score of each canary. Thread-safe, since each score is told by
// the releases of one chunk (and partition), which come one after the other.
class Watch {
 public:
  Watch(const privacy::LedgerTerms& terms, const privacy::GaussianSteps& claim,
        const worker::Split& split, const worker::BatchPlan& plan, Step steps,
        const std::vector<Canary>& canaries, params::ChunkMap chunks)
      : local_(terms.where == privacy::NoisePlace::local),
        accounts_(local_ ? terms.partitions : 1),
        clip_(terms.clip),
        claim_(claim),
        adjacency_(terms.adjacency),
        steps_per_epoch_(plan.steps_per_epoch()),
        steps_(steps),
        noise_(terms.noise),
        chunks_(std::move(chunks)) {
    for (std::size_t i = 0; i < canaries.size(); ++i) {
      scores_.push_back({0, canaries[i] == Canary::plus});
      partitions_.push_back(split.place(i).partition);
    }
    if (plan.sampling() != worker::Sampling::poisson) find_steps(split, plan, steps);
    if (terms.bands != 0) weigh(privacy::PrefixFactor(terms.bands));
  }

  void saw(std::span<const float> released, const privacy::NoiseKey& key) {
    ++releases_;
    const params::Chunk& chunk = chunks_[key.chunk];
    const std::size_t end = std::min(chunk.offset + chunk.size, scores_.size());
    for (std::size_t i = chunk.offset; i < end; ++i) {
      if (local_ && partitions_[i] != key.partition) continue;
      if (weights_.empty() && !may_be_in(i, key.step)) continue;
      const double seen = static_cast<double>(released[i - chunk.offset]) / clip_;
      scores_[i].score +=
          weights_.empty()
              ? privacy::canary_score(seen, claim_.sampling_rate, claim_.noise, adjacency_)
              : 2 * weights_[shuffled_[i] * steps_ + key.step] * seen / (noise_ * noise_);
    }
  }

  std::vector<privacy::CanaryScore> scores(Step steps) const {
    const std::uint64_t expected = steps * chunks_.size() * accounts_;
    if (releases_ != expected) {
      fail(Fault::internal, "the audit saw {} releases, expected {}", releases_.load(), expected);
    }
    return scores_;
  }

 private:
  bool may_be_in(std::size_t canary, Step step) const {
    if (shuffled_.empty()) return true;
    const std::uint64_t epoch = step / steps_per_epoch_;
    return shuffled_[epoch * scores_.size() + canary] == step % steps_per_epoch_;
  }
  void find_steps(const worker::Split& split, const worker::BatchPlan& plan, Step steps) {
    const std::uint64_t epochs = (steps + steps_per_epoch_ - 1) / steps_per_epoch_;
    shuffled_.assign(epochs * scores_.size(), steps_per_epoch_);  // in none
    std::vector<std::uint64_t> places;
    for (Step step = 0; step < steps; ++step) {
      const std::size_t first = step / steps_per_epoch_ * scores_.size();
      for (std::uint32_t p = 0; p < plan.partitions(); ++p) {
        plan.indices(step, p, places);
        for (const std::uint64_t place : places) {
          const std::uint64_t row = split.row({worker::Part::train, p, place});
          if (row < scores_.size()) shuffled_[first + row] = step % steps_per_epoch_;
        }
      }
    }
  }

  // Where steps share noise, what is released is y = x + D z, and C y has white noise. A canary
  // that is in step `first` of each epoch adds h to it, a sum of columns of C, or takes it away:
  // the logarithm of the likelihood ratio is 2 <h, C y> / noise^2. So y_t counts with weight (C^T
  // h)_t, and D^T times these weights is h.
  void weigh(const privacy::PrefixFactor& factor) {
    std::vector<double> h = factor.column(steps_);
    for (Step t = steps_per_epoch_; t < steps_; ++t) h[t] += h[t - steps_per_epoch_];
    weights_.resize(steps_per_epoch_ * steps_);
    for (Step first = 0; first < steps_per_epoch_; ++first) {
      const std::span<double> of_step = std::span(weights_).subspan(first * steps_, steps_);
      for (Step t = steps_; t-- > 0;) {
        double weight = t < first ? 0 : h[t - first];
        for (std::size_t k = 1; k < factor.bands() && t + k < steps_; ++k) {
          weight -= factor.inverse()[k] * of_step[t + k];
        }
        of_step[t] = weight;
      }
    }
  }

  const bool local_;
  const std::uint64_t accounts_;
  const double clip_;
  const privacy::GaussianSteps claim_;
  const Adjacency adjacency_;
  const Step steps_per_epoch_, steps_;
  const double noise_;
  const params::ChunkMap chunks_;
  std::vector<privacy::CanaryScore> scores_;
  std::vector<std::uint32_t> partitions_;  // of canaries
  std::vector<Step> shuffled_;             // by epoch and canary: in which of its steps
  std::vector<double> weights_;            // by step of an epoch, and step; if steps share noise
  std::atomic<std::uint64_t> releases_ = 0;
};

// The job's own mechanism; shows what it releases to the watch.
class Watched final : public privacy::Mechanism {
 public:
  Watched(std::unique_ptr<privacy::Mechanism> mechanism, Watch& watch)
      : mechanism_(std::move(mechanism)), watch_(watch) {}
  std::optional<privacy::Clip> clip() const override { return mechanism_->clip(); }
  bool perturbs_at_worker() const override { return mechanism_->perturbs_at_worker(); }
  bool perturbs_at_server() const override { return mechanism_->perturbs_at_server(); }
  wire::Digest perturb(std::span<float> values, const privacy::NoiseKey& key) const override {
    const wire::Digest digest = mechanism_->perturb(values, key);
    watch_.saw(values, key);
    return digest;
  }

 private:
  std::unique_ptr<privacy::Mechanism> mechanism_;
  Watch& watch_;
};

// A worker of the job, for whom nobody keeps records.
class Trainee final : public cluster::Coordination, public RoleThreads::WorkerBody {
 public:
  Trainee(const RunConfig& config, RoleThreads& job) : config_(config), job_(job) {}

  void work(WorkerRole& role, worker::PushPull* exchange) override {
    worker::Worker worker(role.parts(*exchange, *this, job_.shutdown()),
                          {.seed = config_.run().seed,
                           .steps = role.steps(),
                           .prefetch = config_.data().prefetch,
                           .evaluate = false});
    worker.run();
  }
  std::vector<double> sum(std::string_view, const Values&) override {
    fail(Fault::internal, "an audit sums nothing over its workers");
  }
  void submit(std::string_view, const Values&) override {}
  void collect(std::string_view, const Values&) override {}
  void report_loss(const wire::StepLoss&, const wire::Traffic&) override {}
  bool may_begin(Step) override { return true; }
  void send_model(std::size_t, std::span<const float>) override {}

 private:
  const RunConfig& config_;
  RoleThreads& job_;
};

}  // namespace

CanaryRun run_with_canaries(const RunConfig& config, std::size_t canaries,
                            const AuditSecrets& secrets) {
  require_auditable(config);
  CanaryRun run;
  run.terms = config.privacy_terms();
  const RunSection& of = config.run();
  const worker::Sampling sampling = config.data().sampling;
  const worker::BatchPlan plan_of_job(run.terms.units(), config.data().batch, of.partitions,
                                      of.seed, sampling);
  run.steps = steps_of(config, plan_of_job, run.terms);
  if (run.steps == 0) fail(Fault::config, "run.epochs: the job has no step to audit");
  const std::vector<Canary> in = toss(canaries, run.terms.adjacency, secrets.coins);
  const auto length = static_cast<float>(kLength * std::max(1.0, run.terms.clip));
  const std::uint64_t examples = examples_of_each(run.terms, canaries);
  const std::uint64_t batch = batch_of(plan_of_job, run.terms, canaries);
  const worker::Split split(canaries, {}, of.partitions, of.seed);
  const worker::BatchPlan plan(canaries, batch, of.partitions, of.seed, sampling);
  RoleChanges changes;
  changes.source = [&] { return worker::canary_source(in, length, examples); };
  changes.model = [&] { return worker::canary_model(canaries); };
  changes.batch = batch;
  changes.sampled_from = run.terms.units();
  changes.steps = run.steps;
  if (sampling != worker::Sampling::poisson) {  // the same epochs, whatever the steps of one
    const Step whole = plan_of_job.steps_per_epoch();
    changes.steps = (run.steps + whole - 1) / whole * plan.steps_per_epoch();
  }
  privacy::LedgerTerms accounted = run.terms;
  if (run.terms.bands != 0) accounted.steps_per_epoch = plan.steps_per_epoch();
  run.claim = claim_of(accounted, run.terms.bands != 0 ? changes.steps : run.steps);
  changes.noise = run.terms.noise;
  changes.sampling_secret = secrets.sampling;
  changes.noise_secret = secrets.noise;

  const auto model = worker::canary_model(canaries);
  Watch watch(run.terms, run.claim, split, plan, changes.steps, in,
              params::ChunkMap(model->layout(), config.network().chunk_bytes));
  changes.mechanism = [&](std::unique_ptr<privacy::Mechanism> mechanism) {
    return std::make_unique<Watched>(std::move(mechanism), watch);
  };

  math::set_blas_threads(static_cast<int>(config.run().blas_threads));
  RoleThreads job(config, &changes);
  std::vector<std::unique_ptr<Trainee>> workers;
  std::vector<RoleThreads::WorkerBody*> bodies;
  for (std::uint32_t id = 0; id < config.run().workers; ++id) {
    bodies.push_back(workers.emplace_back(std::make_unique<Trainee>(config, job)).get());
  }
  job.run(bodies);
  run.scores = watch.scores(changes.steps);
  return run;
}

}  // namespace sheaf::launcher
