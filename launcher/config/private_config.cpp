// What a job file says of privacy, and what private training cannot have beside it.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/privacy/accounting/accountant.h"
#include "common/privacy/correlated/planned_steps.h"
#include "common/privacy/ledger/spent.h"
#include "launcher/config/run_config.h"
#include "worker/data/batch_plan.h"
#include "worker/data/partition.h"
#include "worker/data/split.h"

namespace sheaf::launcher {

using config::Section;
using privacy::Adjacency;

void RunConfig::read_privacy() {
  if (privacy_.kind.empty() || !make_mechanism()->clip()) return;
  const Section section = this->section("privacy");
  privacy_.on = true;
  if (section.has("noise")) privacy_.noise = section.real("noise", std::nullopt, {0.01, 1e6});
  if (section.has("epsilon")) {
    privacy_.epsilon = section.real("epsilon", std::nullopt, {config::kAboveZero, 1e4});
  }
  if (!privacy_.noise && !privacy_.epsilon) {
    section.fault("noise", "neither noise nor epsilon",
                  "one of them: the noise, or the epsilon that all steps together may cost",
                  "epsilon = 3.0");
  }
  privacy_.delta = section.real("delta", std::nullopt, {config::kAboveZero, config::kBelowOne});
  static constexpr std::array<std::string_view, 2> kAdjacencies = {"add-remove", "replace-one"};
  privacy_.adjacency = section.word("adjacency", kAdjacencies, kAdjacencies[0]) == kAdjacencies[0]
                           ? Adjacency::add_remove
                           : Adjacency::replace_one;
  privacy_.by_user = section.word("unit", privacy::kJobUnits, privacy::kJobUnits[0]) ==
                     to_string(privacy::Unit::user);
  privacy_.secret_folder = section.text("secret_dir", "");
}

void RunConfig::check_privacy() const {
  const Section privacy = section("privacy"), data = section("data");
  const auto refuse = [](const Section& where, const char* key, std::string found,
                         std::string expected, std::string attempt = {}) {
    if (where.sound(key))
      where.fault(key, std::move(found), std::move(expected), std::move(attempt));
  };
  if (gate_ != "bsp") {
    refuse(section("consistency"), "kind", fmt::format("\"{}\"", gate_),
           "\"bsp\" with privacy: what a step of another model releases is not accounted for",
           "\"bsp\"");
  }
  const auto mechanism = make_mechanism();
  const std::string sampling =
      fmt::format("\"{}\"", worker::kSamplings[static_cast<std::size_t>(data_.sampling)]);
  const bool cyclic = data_.sampling == worker::Sampling::cyclic;
  if (mechanism->bands() != 0 && !cyclic) {
    refuse(data, "sampling", sampling,
           "\"cyclic\" with privacy.kind = \"correlated\": what steps together say of an example "
           "depends on how many are between two that have it",
           "\"cyclic\"");
  } else if (mechanism->bands() == 0 && cyclic) {
    refuse(data, "sampling", sampling,
           fmt::format(
               "\"poisson\" or \"shuffle\" with privacy.kind = \"{}\": a fixed order is of use "
               "where steps share noise",
               privacy_.kind),
           "privacy.kind = \"correlated\"");
  } else if (data_.sampling != worker::Sampling::poisson && !privacy_.by_user &&
             privacy_.adjacency == Adjacency::add_remove) {
    refuse(privacy, "adjacency", "\"add-remove\" with data.sampling = " + sampling,
           cyclic ? "\"replace-one\", since one example more would move all others"
                  : "\"replace-one\", since one example more would move all others; or Poisson "
                    "sampling, which hides who takes part and needs far less noise",
           cyclic ? "\"replace-one\"" : "data.sampling = \"poisson\"");
  }
  if (mechanism->bands() != 0 && privacy_.by_user) {
    refuse(
        privacy, "unit", "\"user\"",
        "\"example\" with privacy.kind = \"correlated\": a user is in several steps of an epoch, "
        "for which its noise is not made",
        "\"example\"");
  }
  const bool shuffles = data_.sampling == worker::Sampling::shuffle && !privacy_.by_user;
  if (shuffles && mechanism->perturbs_at_worker()) {
    refuse(data, "sampling", "\"shuffle\" with privacy.where = \"local\"",
           "\"poisson\": a partition that has used up its epoch would release nothing, and show it",
           "\"poisson\"");
  }
  for (const Codec& push : possible_pushes()) {
    if (mechanism->perturbs_at_server() && !push.is_lossless()) {
      refuse(push.section, "kind", fmt::format("\"{}\"", push.kind),
             "\"none\" with privacy.where = \"central\": what is compressed before the noise is "
             "not bounded by privacy.clip any more",
             "privacy.where = \"local\"");
    }
    if (mechanism->perturbs_at_worker() && push.feedback) {
      const bool own = push.momentum;
      refuse(push.section, own ? "kind" : "feedback",
             fmt::format("\"{}\"", own ? push.kind : push.feedback_word()),
             "no feedback with privacy.where = \"local\": what a push released is known by its "
             "noise alone",
             own ? "\"topk\"" : "\"none\"");
    }
  }
  const auto clip = mechanism->clip();
  if (clip && clip->adapts()) {
    const auto refuse_lossy = [&](const Codec& codec) {
      if (codec.is_lossless()) return;
      refuse(
          codec.section, "kind", fmt::format("\"{}\"", codec.kind),
          "\"none\" with privacy.clipping = \"adaptive\": the bound is part of what is sent, and "
          "would be rounded with it",
          "\"none\"");
    };
    std::ranges::for_each(possible_pushes(), refuse_lossy);
    std::ranges::for_each(possible_pulls(), refuse_lossy);
    if (privacy_.by_user && clip->quantile != 0.5) {
      refuse(privacy, "quantile", fmt::format("{}", clip->quantile),
             "0.5 with privacy.unit = \"user\": a user who has fewer examples than others says "
             "nothing for the rest, which half and half leaves where it is, and others do not",
             "0.5");
    }
  }
  const Section optimizer = section("optimizer");
  if (optimizer_.clip_norm) {
    refuse(optimizer, "clip_norm", fmt::format("{}", *optimizer_.clip_norm),
           "no such norm with privacy: it would be read before the noise is added");
  }
  if (optimizer_.non_finite != optimization::NonFinite::abort) {
    refuse(optimizer, "non_finite", "another word",
           "\"abort\" with privacy: an example that is not finite counts nothing already, and "
           "nobody looks at sums without noise",
           "\"abort\"");
  }
  if (data_.normalise == worker::Normalisation::standard) {
    refuse(data, "normalise", "\"standard\"",
           "\"none\" or \"unit\" with privacy: mean and deviation are measured on the examples, "
           "without noise",
           "\"unit\"");
  }
  if (recovery_.snapshot == "shm") {
    refuse(section("recovery"), "snapshot", "\"shm\"",
           "\"none\" with privacy: who adopts a shard cannot say what of a step was released",
           "\"none\"");
  }
  if (recovery_.replicas != 1) {
    refuse(section("recovery"), "replicas", fmt::format("{}", recovery_.replicas),
           "1 with privacy: who goes on from a replica cannot say what of a step was released",
           "1");
  }
  if (network_.encryption == "none") {
    refuse(section("network"), "encryption", "\"none\"",
           "\"auto\" or \"tls\" with privacy: secrets, and sums without noise, go over connections",
           "\"auto\"");
  }
}

privacy::LedgerTerms RunConfig::privacy_terms() const {
  const auto source = make_source();
  const worker::Split split(worker::dealt_out(*source, privacy_.by_user),
                            {data_.validation, data_.test}, run_.partitions, run_.seed);
  const worker::BatchPlan plan(split.size(worker::Part::train), step_examples(), run_.partitions,
                               run_.seed, data_.sampling);
  const auto mechanism = make_mechanism();
  const bool poisson = data_.sampling == worker::Sampling::poisson;
  const bool cyclic = data_.sampling == worker::Sampling::cyclic;
  privacy::LedgerTerms terms;
  terms.where =
      mechanism->perturbs_at_worker() ? privacy::NoisePlace::local : privacy::NoisePlace::central;
  terms.sampling = poisson  ? privacy::Sampling::poisson
                   : cyclic ? privacy::Sampling::cyclic
                            : privacy::Sampling::shuffle;
  terms.bands = mechanism->bands();
  terms.sampling_rate =
      std::min(1.0, static_cast<double>(data_.batch) / static_cast<double>(plan.examples()));
  terms.steps_per_epoch = poisson ? 0 : plan.steps_per_epoch();
  terms.clip = mechanism->clip()->norm;
  terms.delta = privacy_.delta;
  terms.adjacency = privacy_.adjacency;
  if (privacy_.by_user) {
    terms.unit = privacy::Unit::user;
    terms.users = plan.examples();
    terms.examples_per_user = mechanism->clip()->examples;
  } else {
    terms.examples = plan.examples();
  }
  terms.partitions = run_.partitions;
  if (privacy_.noise) {
    terms.noise = *privacy_.noise;
  } else {
    Step steps = plan.steps_per_epoch() * run_.epochs;
    if (run_.steps) steps = std::min(steps, *run_.steps);
    steps = std::max<Step>(steps, 1);
    const auto noise = [&](const auto& all) {
      return privacy::noise_for(*privacy_.epsilon, all, terms.delta, terms.adjacency,
                                privacy::Method::tight);
    };
    if (terms.bands != 0) {
      terms.noise = noise(privacy::PlannedSteps{terms.bands, steps, terms.steps_per_epoch});
    } else if (poisson) {
      terms.noise = noise(privacy::GaussianSteps{terms.sampling_rate, 1, steps});
    } else {
      terms.noise = noise(privacy::GaussianSteps{1, 1, std::max<Step>(run_.epochs, 1)});
    }
  }
  check_terms(terms);
  return terms;
}

void RunConfig::check_private_data(const worker::Schema& schema) const {
  const Section privacy = section("privacy");
  if (const auto layer = make_model(schema)->layer_without_example_rule()) {
    privacy.fault("kind", fmt::format("\"{}\" with layer {} of the model", privacy_.kind, *layer),
                  "layers whose gradients can be clipped example by example");
    return;
  }
  try {
    const privacy::LedgerTerms terms = privacy_terms();
    if (!privacy_.epsilon) return;
    privacy::Ledger ledger;
    privacy::LedgerTerms begun = terms;
    ledger.begin(begun);
    if (privacy::steps_within(ledger, *privacy_.epsilon, 1) == 0) {
      privacy.fault("epsilon", fmt::format("{}", *privacy_.epsilon),
                    fmt::format("more than one step costs with noise {}", terms.noise));
    }
  } catch (const Error& error) {
    if (error.fault() != Fault::config) throw;
    privacy.fault("delta", fmt::format("what cannot be accounted for: {}", error.message()),
                  "a budget that the data can keep");
  }
}

}  // namespace sheaf::launcher
