// Terms for tests of the ledger.
#pragma once

#include "common/privacy/ledger/rows.h"

namespace sheaf::privacy {

inline LedgerTerms sample_terms(NoisePlace where = NoisePlace::central,
                                std::uint32_t partitions = 1) {
  LedgerTerms terms;
  terms.where = where;
  terms.partitions = partitions;
  terms.sampling_rate = 0.01;
  terms.noise = 1;
  terms.clip = 1;
  terms.delta = 1e-5;
  terms.examples = 10000;
  terms.sampling_secret = "00112233445566778899aabbccddeeff";
  terms.noise_secret = "ffeeddccbbaa99887766554433221100";
  return terms;
}

// 5 examples at most of each of 1000 users.
inline LedgerTerms terms_of_users() {
  LedgerTerms terms = sample_terms();
  terms.unit = Unit::user;
  terms.examples = 0;
  terms.users = 1000;
  terms.examples_per_user = 5;
  return terms;
}

inline wire::Digest sample_digest(std::uint64_t value) {
  wire::Digest digest{};
  for (std::size_t i = 0; i < 8; ++i) digest[i] = static_cast<std::byte>(value >> (8 * i));
  return digest;
}

}  // namespace sheaf::privacy
