#include "launcher/run/releases.h"

#include "common/base/error.h"
#include "common/wire/bytes.h"

namespace sheaf::launcher {

using privacy::DoneRow;
using privacy::OpenRow;

Releases::Releases(checkpoint::Disk& disk, const Options& options)
    : options_(options), file_(disk, options.ledger, options.terms) {
  const privacy::Ledger& ledger = file_.ledger();
  for (std::uint32_t account = 0; account < ledger.accounts(); ++account) {
    if (ledger.next(account) < options_.first && ledger.steps(account) < options_.first) {
      fail(Fault::privacy,
           "{}: has {} steps, but the job goes on from step {}: what those before it have cost is "
           "not known. Bring the file back from a copy, or begin a new job",
           options_.ledger.string(), ledger.steps(account), options_.first);
    }
  }
  granted_ = end_ = options_.first;
  if (options_.first >= options_.last) {
    file_.commit({}, {});
    return;
  }
  if (options_.epsilon) budget_.emplace(*options_.epsilon, options_.last - options_.first);
  if (!affordable(options_.first)) {
    const privacy::Spent spent = privacy::spent(ledger, privacy::Method::tight);
    fail(Fault::privacy,
         "the privacy budget is spent: epsilon is {:.4f} at delta {}, and another step would pass "
         "privacy.epsilon = {}",
         spent.epsilon.value, options_.terms.delta, *options_.epsilon);
  }
  file_.commit({}, rows(options_.first));
  granted_ = options_.first + 1;
  end_ = granted_ < options_.last && affordable(granted_) ? options_.last : granted_;
}

std::vector<OpenRow> Releases::rows(Step step) const {
  std::vector<OpenRow> all;
  for (std::uint32_t account = 0; account < file_.ledger().accounts(); ++account) {
    all.push_back({step, account});
  }
  return all;
}

bool Releases::affordable(Step step) {
  return !budget_ || budget_->take(file_.ledger(), rows(step));
}

bool Releases::on_released(ProcessId process, const wire::Released& released) {
  const privacy::Ledger& ledger = file_.ledger();
  if (released.partition >= ledger.accounts() || released.chunks > options_.chunks ||
      released.digest.size() * sizeof(std::uint64_t) != wire::Digest{}.size()) {
    fail(Fault::network, "{} has released {} chunks of partition {}, which cannot be",
         to_string(process), released.chunks, released.partition);
  }
  const bool open = ledger.last_open(released.partition) == released.step;
  if (!open || released.step + 1 != granted_) return false;  // it is done
  Part part{released.chunks, {}};
  for (std::size_t i = 0; i < released.digest.size(); ++i) {
    wire::put<std::uint64_t>(part.digest, 8 * i, released.digest[i]);
  }
  // Where partitions add noise, another worker may release the same again.
  const bool central = options_.terms.where == privacy::NoisePlace::central;
  parts_[released.partition][{central ? process : ProcessId{}, released.lane}] = part;

  std::vector<DoneRow> done;
  for (const auto& [account, parts] : parts_) {
    std::uint32_t chunks = 0;
    DoneRow row{released.step, account, {}};
    for (const auto& [who, of_part] : parts) {
      chunks += of_part.chunks;
      for (std::size_t i = 0; i < row.digest.size(); ++i) row.digest[i] ^= of_part.digest[i];
    }
    if (chunks < options_.chunks) return false;
    done.push_back(row);
  }
  if (done.size() < ledger.accounts()) return false;
  parts_.clear();
  if (granted_ >= end_) {
    file_.commit(done, {});
    return false;
  }
  file_.commit(done, rows(granted_));
  ++granted_;
  if (granted_ < end_ && !affordable(granted_)) end_ = granted_;
  return true;
}

}  // namespace sheaf::launcher
