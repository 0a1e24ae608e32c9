#include "launcher/commands/privacy.h"

#include <fmt/ostream.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/checkpoint/posix_disk.h"
#include "common/privacy/accounting/accountant.h"
#include "common/privacy/ledger/ledger_file.h"
#include "common/privacy/ledger/spent.h"

namespace sheaf::launcher {

namespace {

using Figures = nlohmann::ordered_json;

void show(const Figures& figures, bool json, std::ostream& out) {
  if (json) {
    fmt::print(out, "{}\n", figures.dump());
    return;
  }
  for (const auto& [name, value] : figures.items()) {
    fmt::print(out, "{}\t{}\n", name, value.is_string() ? value.get<std::string>() : value.dump());
  }
}

void add_accountant(const privacy::Epsilon& epsilon, Figures& figures) {
  figures["accountant"] = epsilon.accountant;
  figures["error"] = epsilon.error;
  if (epsilon.order) figures["order"] = *epsilon.order;
}

Figures calculate_shared(const PrivacyCommand& command, privacy::Method method) {
  const privacy::PlannedSteps& steps = *command.shared;
  const double noise = command.epsilon ? privacy::noise_for(*command.epsilon, steps, command.delta,
                                                            command.adjacency, method)
                                       : command.steps.noise;
  const privacy::GaussianSteps one = privacy::as_one(steps, noise);
  const privacy::Epsilon epsilon =
      privacy::epsilon_of({&one, 1}, command.delta, command.adjacency, method);
  Figures figures = {{"epsilon", epsilon.value},
                     {"delta", command.delta},
                     {"noise", noise},
                     {"steps", steps.count},
                     {"adjacency", to_string(command.adjacency)}};
  add_accountant(epsilon, figures);
  figures["unit"] = command.unit;
  figures["mechanism"] = "correlated";
  figures["bands"] = steps.bands;
  figures["steps_between"] = steps.between;
  figures["sensitivity"] = privacy::sensitivity(steps);
  return figures;
}

Figures calculate(const PrivacyCommand& command, privacy::Method method) {
  if (command.shared) return calculate_shared(command, method);
  privacy::GaussianSteps steps = command.steps;
  if (command.epsilon) {
    steps.noise =
        privacy::noise_for(*command.epsilon, steps, command.delta, command.adjacency, method);
  }
  const privacy::Epsilon epsilon =
      privacy::epsilon_of({&steps, 1}, command.delta, command.adjacency, method);
  Figures figures = {{"epsilon", epsilon.value}, {"delta", command.delta},
                     {"noise", steps.noise},     {"sampling_rate", steps.sampling_rate},
                     {"steps", steps.count},     {"adjacency", to_string(command.adjacency)}};
  add_accountant(epsilon, figures);
  figures["unit"] = command.unit;
  return figures;
}

Figures recompute(const std::filesystem::path& run, privacy::Method method) {
  const std::filesystem::path path = run / "ledger.jsonl";
  if (!std::filesystem::exists(path)) {
    fail(Fault::config,
         "--from: found no {}, expected the directory of a run that trained with privacy",
         path.string());
  }
  checkpoint::PosixDisk disk;
  const privacy::LedgerReading reading = privacy::read_ledger(disk, path);
  if (!reading.ledger.begun()) {
    fail(Fault::data, "{}: has no terms: the job ended before it began", path.string());
  }
  const privacy::LedgerTerms& terms = reading.ledger.terms();
  const privacy::Spent spent = privacy::spent(reading.ledger, method);
  Figures figures = {{"epsilon", spent.epsilon.value}, {"delta", terms.delta},
                     {"noise", terms.noise},           {"sampling_rate", terms.sampling_rate},
                     {"steps", spent.steps},           {"adjacency", to_string(terms.adjacency)}};
  add_accountant(spent.epsilon, figures);
  figures["releases"] = spent.releases;
  figures["unit"] = to_string(terms.unit);
  if (terms.unit == privacy::Unit::user) figures["examples_per_user"] = terms.examples_per_user;
  figures["sampling"] = to_string(terms.sampling);
  figures["where"] = to_string(terms.where);
  figures["mechanism"] = privacy::mechanism_of(terms);
  if (terms.bands != 0) {
    figures["bands"] = terms.bands;
    figures["steps_between"] = terms.steps_per_epoch;
    if (spent.steps != 0) figures["sensitivity"] = std::sqrt(reading.ledger.squared_sensitivity());
  }
  if (terms.where == privacy::NoisePlace::local) figures["partition"] = spent.account;
  if (reading.cut) figures["torn"] = true;
  return figures;
}

}  // namespace

int show_privacy(const PrivacyCommand& command, std::ostream& out) {
  const auto method = command.rdp ? privacy::Method::renyi : privacy::Method::tight;
  show(command.run.empty() ? calculate(command, method) : recompute(command.run, method),
       command.json, out);
  return 0;
}

}  // namespace sheaf::launcher
