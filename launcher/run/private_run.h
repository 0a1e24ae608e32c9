// What a supervisor needs to run a job with privacy: how its steps are accounted for, its budget,
// and its secrets. The secrets are found again by a name that the run directory keeps.
#pragma once

#include <filesystem>
#include <optional>

#include "common/privacy/ledger/terms.h"
#include "common/privacy/secrets.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {

struct PrivateRun {
  privacy::LedgerTerms terms;
  std::optional<double> epsilon;  // the budget
  std::filesystem::path ledger;
  std::filesystem::path secret_folder;
  bool is_copy = false;  // of a run that has gone on elsewhere: its secrets are new
  privacy::RunSecrets secrets;
};

// Opens the secrets of the run, or makes them; no core dump of this process from here on. Nothing
// without privacy. The run directory is there. Throws Fault::data if its ledger is damaged.
std::optional<PrivateRun> open_private_run(const RunConfig& config);

}  // namespace sheaf::launcher
