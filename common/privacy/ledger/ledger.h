// What a private job has released so far, as its ledger has it. Before anything of a step leaves,
// the step is opened; when all of it has left, it is done, with the digest of what was released.
//
//   an opened step that is not done      counts as one release: nobody knows
//   done rows of one step, digest, noise count as one release: the same values again tell nothing
//   anything else                        counts as a release of its own
//
// Releases of one step under one sampling secret show the same sample. k of them with noises s_i
// tell as much as one with noise s, 1 / s^2 = sum of 1 / s_i^2 (normal noise: their mean, weighted
// so, is sufficient), so s / sqrt(k) for equal ones; charged as k steps, each with a sample of its
// own, it would be too little. Where the sampling rate has changed in between, the sample of the
// smaller rate can be made of the larger one's, and the larger rate counts.
//
// Where steps share noise (terms.bands) each opened step is a release, whatever its digest, since
// each branch has white noise of its own; all of them together are one release of the Gaussian
// mechanism.
//
// A plain state machine, without files: ledger_file.h keeps it on a disk. Not thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <tuple>
#include <vector>

#include "common/privacy/ledger/rows.h"

namespace sheaf::privacy {

class Ledger {
 public:
  // What the next rows are about: the first row, and again when a job goes on. What is open stays
  // so. Throws Fault::config where the terms make no sense (check_terms), or are not about the same
  // examples in the same partitions and epochs as those before: then examples have no history.
  // Where steps share noise, also if noise, norm, bands or secrets are others, and Fault::privacy
  // if the branch begins behind the steps that were opened.
  void begin(const LedgerTerms& terms);
  // Throws std::invalid_argument if there are no terms yet, or no such partition.
  void open(const OpenRow& row);
  // The same; and if that step and partition was not opened under the terms in force, or as often
  // done as opened.
  void done(const DoneRow& row);
  void apply(const LedgerRow& row);  // any of them

  bool begun() const { return !terms_.empty(); }
  const LedgerTerms& terms() const { return terms_.back(); }  // in force. REQUIRES: begun()
  // Where releases are accounted: 1 where noise is central, else the number of partitions.
  std::uint32_t accounts() const;

  // Whether that very release is there already: then it is free, and needs no row.
  bool has(const DoneRow& release) const;
  // Whether that step was ever opened under the present sampling secret.
  bool knows(Step step, std::uint32_t account) const;
  // The last row about a step of that account, if it is an open one.
  std::optional<Step> last_open(std::uint32_t account) const;
  // One more than the last step that was opened for it; 0 if none was. Where steps share noise, at
  // the beginning of a branch: its first step.
  Step next(std::uint32_t account) const;

  std::uint64_t steps(std::uint32_t account) const;     // that are different
  std::uint64_t releases(std::uint32_t account) const;  // at least steps()

  // Where steps share noise: the branches that lead to the next step; and the square of the most by
  // which all that was released of C x (correlated/prefix_factor.h) changes, in units of the
  // clipping norm, when what one example contributes becomes 0. `extra` as below; `fresh`: with so
  // many further steps. O(steps x bands). REQUIRES: bands in the terms.
  std::span<const NoiseBranch> branches() const { return branches_; }
  double squared_sensitivity(std::optional<Step> extra = {}, std::uint64_t fresh = 0) const;
  // All of it is one release of the Gaussian mechanism.
  GaussianSteps correlated(std::optional<Step> extra, std::uint64_t fresh) const;

  // What one account has released, for an accountant: empty if nothing. `extra`: as if that step
  // had been opened once more.
  std::vector<GaussianSteps> history(std::uint32_t account, std::optional<Step> extra = {}) const;

 private:
  struct Key {
    std::uint32_t account = 0;
    std::uint32_t sampling = 0;  // number of the sampling secret
    Step step = 0;
    auto operator<=>(const Key&) const = default;
  };
  struct Release {
    wire::Digest digest{};
    double precision = 0;  // 1 / noise^2
  };
  struct Releases {
    std::uint32_t terms = 0;    // the number of the last ones it was opened under
    double rate = 0;            // the largest
    std::uint32_t unknown = 0;  // opened, not done
    double unknown_precision = 0;
    std::vector<Release> known;  // one for each digest and noise
    double precision() const;
  };
  struct Account {
    std::optional<Step> last_open;
    Step next = 0;
  };
  static void require_same_noise(const LedgerTerms& before, const LedgerTerms& terms);
  void begin_branch(const NoiseBranch& branch);
  Key key_of(Step step, std::uint32_t account) const;
  void require_account(std::uint32_t account) const;
  double precision() const { return 1 / (terms().noise * terms().noise); }

  std::vector<LedgerTerms> terms_;
  std::vector<NoiseBranch> branches_;
  std::vector<std::string> sampling_secrets_;
  std::uint32_t sampling_ = 0;  // the one in force
  std::map<Key, Releases> releases_;
  std::map<std::uint32_t, Account> accounts_;
  std::multiset<std::pair<Step, std::uint32_t>> open_;  // under the terms in force
};

}  // namespace sheaf::privacy
