// Which steps of a private job may be released, and what has been: between the ranks, which say
// what they have released, and the ledger. A step is opened, on the disk, when the one before it
// has been released whole; then it is granted. So a step waits for the disk once, while parameters
// come and gradients are computed, and a crash costs one release at most.
//
// A plain state machine but for its file. Belongs to the coordinator's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <utility>

#include "common/base/ids.h"
#include "common/privacy/ledger/ledger_file.h"
#include "common/privacy/ledger/spent.h"
#include "common/wire/messages.h"

namespace sheaf::launcher {

class Releases {
 public:
  struct Options {
    std::filesystem::path ledger;
    privacy::LedgerTerms terms;
    std::optional<double> epsilon;  // never passed
    std::uint32_t chunks = 1;       // of the model: a release is of all
    Step first = 0;                 // that the job goes on from
    Step last = 0;                  // that it ends before
  };
  // Opens the first step. Where it throws the ledger is as it was, unless it could not be written.
  // Throws Fault::privacy if the budget does not reach, or the ledger lacks
  // steps that the job has taken; Fault::data if the ledger is damaged or cannot be written.
  Releases(checkpoint::Disk& disk, const Options& options);

  // Steps below it may be released.
  Step granted() const { return granted_; }
  // The job ends before it: `last`, or where the budget does.
  Step end() const { return end_; }
  // The job ends there, or with the step that is open.
  void end_at(Step step) { end_ = std::clamp(step, granted_, end_); }
  // True if a further step may be released now. Throws as the constructor does.
  bool on_released(ProcessId process, const wire::Released& released);

  const privacy::Ledger& ledger() const { return file_.ledger(); }
  bool was_torn() const { return file_.was_torn(); }

 private:
  struct Part {
    std::uint32_t chunks = 0;
    wire::Digest digest{};
  };
  bool affordable(Step step);
  std::vector<privacy::OpenRow> rows(Step step) const;

  Options options_;
  privacy::LedgerFile file_;
  std::optional<privacy::Budget> budget_;
  Step granted_ = 0;
  Step end_ = 0;
  // Of the step that is open: for each account, what has been released, by who says so.
  std::map<std::uint32_t, std::map<std::pair<ProcessId, std::uint32_t>, Part>> parts_;
};

}  // namespace sheaf::launcher
