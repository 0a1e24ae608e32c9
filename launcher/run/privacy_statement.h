// What a private job promises when it has ended, to whom, and to whom it does not: the privacy of
// result.json. Plain data, from its ledger.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/privacy/clip.h"
#include "common/privacy/ledger/ledger.h"
#include "common/privacy/ledger/spent.h"

namespace sheaf::launcher {

struct PrivacyStatement {
  privacy::LedgerTerms terms;  // in force at the end
  privacy::Spent spent;
  // Where steps share noise (privacy/correlated): of all that was released, in units of the
  // clipping norm. Another example in the place of one changes twice as much.
  double sensitivity = 0;
  privacy::Clip clip = {};  // by which contributions were bounded
  // Where the bound adapts: the one that the model ends with, if that is known.
  std::optional<double> bound = {};
  // Epsilon against who sees these; nothing: noise protects nothing there.
  std::optional<double> vs_model, vs_server, vs_link;
  std::vector<std::string_view> keys;           // who holds a secret
  std::vector<std::string_view> not_protected;  // against whom nothing is promised
};

PrivacyStatement statement_of(const privacy::Ledger& ledger, const privacy::Clip& clip);

}  // namespace sheaf::launcher
