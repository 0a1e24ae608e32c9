// From scores of canaries to lower bounds of epsilon. The claim is a number of steps of the sampled
// Gaussian mechanism; what is asked is how much noise, all else as claimed, they cannot have had.
// The epsilon of that noise is a lower bound of the true one for all mechanisms of this family.
// A pure function.
#pragma once

#include <cstdint>
#include <vector>

#include "common/privacy/accounting/steps.h"

namespace sheaf::privacy {

// One for each canary; the better the auditor, the higher are the scores of those that were in.
struct CanaryScore {
  double score = 0;
  bool in = false;
};

struct AuditBounds {
  double lower = 0;          // epsilon is at least that if canaries do not influence each other
  double lower_one_run = 0;  // and that whatever they do
  double upper = 0;          // what the accountant says of the claim
};

// Both lower bounds are wrong with a chance of at most 1 - confidence each: thresholds are a fixed
// few, over which that chance is shared. Takes some seconds.
AuditBounds audit_bounds(std::vector<CanaryScore> scores, const GaussianSteps& claim, double delta,
                         Adjacency adjacency, double confidence);

// The auditor's best score: the logarithm of how much likelier `seen` is with the canary than
// without it (replace-one: than with its opposite), in a step of which it sees, in units of the
// clipping norm, the canary's own coordinate. The steps of a run add up.
double canary_score(double seen, double sampling_rate, double noise,
                    Adjacency adjacency = Adjacency::add_remove);

}  // namespace sheaf::privacy
