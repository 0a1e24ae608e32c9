#include "launcher/run/privacy_statement.h"

#include <cmath>

namespace sheaf::launcher {

PrivacyStatement statement_of(const privacy::Ledger& ledger, const privacy::Clip& clip) {
  PrivacyStatement statement;
  statement.clip = clip;
  statement.terms = ledger.terms();
  statement.spent = privacy::spent(ledger, privacy::Method::tight);
  if (statement.terms.bands != 0 && statement.spent.steps != 0) {
    statement.sensitivity = std::sqrt(ledger.squared_sensitivity());
  }
  const double epsilon = statement.spent.epsilon.value;
  statement.vs_model = epsilon;
  statement.keys = {"supervisor: both", "workers: sampling and local noise",
                    "servers: central noise"};
  statement.not_protected = {"whoever holds a secret of the run", "the same user on the same host",
                             "workers, which read the examples"};
  if (statement.terms.where == privacy::NoisePlace::local) {
    statement.vs_server = statement.vs_link = epsilon;
  } else {
    statement.not_protected.push_back("servers, which see sums before the noise");
    statement.not_protected.push_back("who breaks the encryption between hosts");
  }
  return statement;
}

}  // namespace sheaf::launcher
