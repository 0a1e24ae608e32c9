// What `sheaf privacy` was asked, from the texts of its options. A pure function.
#pragma once

#include <optional>
#include <string>
#include <variant>

#include "common/privacy/accounting/steps.h"
#include "common/privacy/correlated/planned_steps.h"

namespace sheaf::launcher {

struct PrivacyCommand {
  std::string run;               // whose ledger is to be read; empty: calculate from the rest
  privacy::GaussianSteps steps;  // without its noise where an epsilon was given
  // Instead of a sampling rate: steps that share noise, as many as `steps` has.
  std::optional<privacy::PlannedSteps> shared;
  std::optional<double> epsilon;  // to calibrate the noise for
  double delta = 0;
  privacy::Adjacency adjacency = privacy::Adjacency::add_remove;
  std::string unit = "example";
  bool rdp = false;
  bool json = false;
};

// As they were typed; empty where they were not.
struct PrivacyTexts {
  std::string from;
  std::string sampling_rate, noise, epsilon, steps, delta;
  std::string bands, steps_between;
  std::string adjacency;
  std::string unit = "example";
  bool rdp = false;
  bool json = false;
};

// What was found and what was expected.
struct PrivacyFault {
  std::string found, expected;
};

std::variant<PrivacyCommand, PrivacyFault> privacy_command(const PrivacyTexts& texts);

}  // namespace sheaf::launcher
