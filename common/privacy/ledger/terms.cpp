#include "common/privacy/ledger/terms.h"

#include <cmath>

#include "common/base/error.h"

namespace sheaf::privacy {
namespace {

void require_positive(double value, std::string_view name) {
  if (!(value > 0 && std::isfinite(value))) {
    fail(Fault::config, "{}: found {}, expected a number above 0", name, value);
  }
}

}  // namespace

void check_terms(const LedgerTerms& terms) {
  const GaussianSteps step{terms.sampling_rate, terms.noise, 1};
  check_history({&step, 1});
  require_positive(terms.clip, "clip");
  const std::string_view units = terms.unit == Unit::user ? "users" : "examples";
  if (terms.units() == 0 || terms.partitions == 0) {
    fail(Fault::config, "found {} {} in {} partitions, expected at least one of both",
         terms.units(), units, terms.partitions);
  }
  check_delta(terms.delta);
  if (terms.delta * static_cast<double>(terms.units()) >= 1) {
    fail(Fault::config,
         "delta: found {}, expected less than 1 / {} {}: with that, one of them may be shown "
         "to everybody",
         terms.delta, terms.units(), units);
  }
  if (terms.unit == Unit::user &&
      (terms.sampling != Sampling::poisson || terms.examples_per_user == 0)) {
    fail(Fault::config,
         "unit: found user with {} sampling and {} examples of each in a step, expected poisson "
         "and at least one",
         to_string(terms.sampling), terms.examples_per_user);
  }
  if (terms.unit == Unit::column && terms.sampling_rate != 1) {
    fail(Fault::config, "sampling rate: found {}, expected 1: every batch holds every column",
         terms.sampling_rate);
  }
  if (terms.sampling != Sampling::poisson &&
      (terms.adjacency != Adjacency::replace_one || terms.steps_per_epoch == 0)) {
    fail(Fault::config,
         "adjacency: found {} with {} steps in an epoch, expected replace-one and at least one: "
         "where examples are not sampled, one more moves all others",
         to_string(terms.adjacency), terms.steps_per_epoch);
  }
  if ((terms.bands != 0) != (terms.sampling == Sampling::cyclic) ||
      (terms.bands != 0 && (terms.where != NoisePlace::central || terms.unit != Unit::example))) {
    fail(Fault::config,
         "bands: found {} with {} batches and {} noise, expected 0, or at least 1 with cyclic "
         "batches, central noise and examples as units",
         terms.bands, to_string(terms.sampling), to_string(terms.where));
  }
}

std::string_view to_string(NoisePlace where) {
  return where == NoisePlace::central ? "central" : "local";
}

std::string_view mechanism_of(const LedgerTerms& terms) {
  return terms.bands == 0 ? "gaussian" : "correlated";
}

std::string_view to_string(Sampling sampling) {
  switch (sampling) {
    case Sampling::poisson: return "poisson";
    case Sampling::shuffle: return "shuffle";
    case Sampling::cyclic: return "cyclic";
  }
  return "";
}

std::string_view to_string(Unit unit) {
  switch (unit) {
    case Unit::example: return "example";
    case Unit::column: return "column";
    case Unit::user: return "user";
  }
  return "";
}

std::string_view to_string(Adjacency adjacency) {
  return adjacency == Adjacency::add_remove ? "add-remove" : "replace-one";
}

}  // namespace sheaf::privacy
