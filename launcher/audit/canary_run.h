// One training run of a private job on canaries (worker/audit/canaries.h), and what its releases
// tell of them. Workers and servers are the job's own, as threads, with its sampling, clipping,
// partitions, sums, noise and optimizer; canaries and their model stand in for its data and model,
// and each release is looked at.
#pragma once

#include <cstddef>
#include <vector>

#include "common/privacy/accounting/steps.h"
#include "common/privacy/audit/audit.h"
#include "common/privacy/ledger/terms.h"
#include "common/wire/handshake.h"
#include "launcher/config/run_config.h"

namespace sheaf::launcher {

// Random unless they are given. The run has the same bits for the same secrets.
struct AuditSecrets {
  wire::JobKey sampling, noise;
  wire::JobKey coins;  // which canaries are in
};

struct CanaryRun {
  std::vector<privacy::CanaryScore> scores;
  // Of the job as its file has it: what all its steps are accounted as. Where steps share noise,
  // and what they come to depends on how many an epoch has: with the epochs of the canaries.
  privacy::LedgerTerms terms;
  privacy::GaussianSteps claim;
  Step steps = 0;
};

// Trains as the job would, without evaluations. Whether a canary is in says a fair coin; else there
// is nobody in its place, or, where the job protects against the exchange of an example, the canary
// with its gradient turned round. Its score is that of who knows the job file, all examples but
// that one, and each release: with Poisson sampling not who is in a sample, but without
// sampling in which step the canary would be, as the seed of the run says that.
// REQUIRES: the config is sound. Throws Fault::config unless it is of a job that this audits,
// Fault::internal if a release was not seen, and what ended the job, if it failed.
CanaryRun run_with_canaries(const RunConfig& config, std::size_t canaries,
                            const AuditSecrets& secrets = {});

}  // namespace sheaf::launcher
