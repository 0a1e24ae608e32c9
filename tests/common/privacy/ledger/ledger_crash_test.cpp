// A job that crashes at every operation of its disk, and goes on from an older step, again and
// again: what the ledger says is never less than what was released, step by step, and in all at
// most one release more for each crash (where noise is local: of each partition).
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <map>
#include <optional>
#include <set>

#include "common/base/random.h"
#include "common/privacy/ledger/ledger_file.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/checkpoint/watched_disk.h"
#include "tests/common/privacy/ledger/row_model.h"
#include "tests/common/privacy/ledger/sample_terms.h"

namespace sheaf::privacy {
namespace {

const std::filesystem::path kLedger = "/run/ledger.jsonl";
constexpr Step kJobSteps = 12;
constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();

struct MachineCrash {};

class CrashingJob {
 public:
  CrashingJob(std::uint32_t partitions, std::uint64_t seed)
      : terms_(sample_terms(partitions == 1 ? NoisePlace::central : NoisePlace::local, partitions)),
        random_(seed, Purpose::test) {
    disk_.spares_synced_bytes = true;
  }

  // Goes on from a step that it has taken before, until the operation of that number, before which
  // the machine crashes, or to the end. Returns the operations that were made.
  std::size_t live(std::size_t crash_before, std::uint64_t crash_seed) {
    std::size_t operations = 0;
    checkpoint::WatchedDisk watched(disk_, [&](const checkpoint::Operation& operation) {
      if (operation.changes && operations++ == crash_before) throw MachineCrash{};
    });
    try {
      train(watched);
    } catch (const MachineCrash&) {
      ++crashes_;
      disk_.crash(crash_seed);
    }
    return operations;
  }

  void expect_right(const std::string& when) {
    std::string text;
    std::uint64_t of_reading = 0;
    if (const auto entries = disk_.list("/run"); !entries.empty()) {
      const auto& bytes = disk_.bytes(kLedger);
      text.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    }
    const RowModel model(text);
    std::optional<LedgerReading> reading;
    if (!text.empty()) reading = read_ledger(disk_, kLedger);
    for (std::uint32_t p = 0; p < terms_.partitions; ++p) {
      std::uint64_t released = 0;
      for (Step step = 0; step < kJobSteps; ++step) {
        const std::uint64_t truth = released_[{p, step}].size();
        EXPECT_GE(model.releases(p, step), truth) << when << ", step " << step;
        released += truth;
      }
      if (reading && reading->ledger.begun()) of_reading = reading->ledger.releases(p);
      EXPECT_GE(of_reading, model.releases(p)) << when << ": a torn line may add to what is whole";
      EXPECT_LE(of_reading, released + crashes_) << when;
      if (reading && !reading->cut) {
        EXPECT_EQ(of_reading, model.releases(p)) << when;
      }
    }
  }
  std::uint64_t crashes() const { return crashes_; }

 private:
  void train(checkpoint::Disk& disk) {
    LedgerFile file(disk, kLedger, terms_);
    std::vector<DoneRow> done;
    for (Step step = random_.next() % (taken_ + 1); step < kJobSteps; ++step) {
      // Replays are mostly the same; sometimes, of other float bits, say, they are not.
      const std::uint64_t value = random_.next() % 4 == 0 ? ++different_ : step;
      std::vector<OpenRow> open;
      std::vector<DoneRow> released;
      for (std::uint32_t p = 0; p < terms_.partitions; ++p) {
        released.push_back({step, p, sample_digest(value + 1000 * p)});
        if (!file.ledger().has(released.back())) open.push_back({step, p});
      }
      if (!open.empty()) {
        file.commit(done, open);
        done.clear();
      }
      for (const DoneRow& row : released) {
        released_[{row.partition, step}].insert(value);
        const bool opened = std::ranges::any_of(
            open, [&](const OpenRow& o) { return o.partition == row.partition; });
        if (opened) done.push_back(row);
      }
      taken_ = std::max(taken_, step);
    }
    file.commit(done, {});
  }

  checkpoint::VirtualDisk disk_;
  LedgerTerms terms_;
  Stream random_;
  std::map<std::pair<std::uint32_t, Step>, std::set<std::uint64_t>> released_;
  std::uint64_t crashes_ = 0;
  std::uint64_t different_ = 1'000'000;
  Step taken_ = 0;
};

TEST(LedgerCrashTest, AtEveryOperationTheLedgerHasWhatWasReleasedAndAtMostOneReleaseMore) {
  std::size_t points = 0;
  for (const std::uint32_t partitions : {1U, 3U}) {
    for (std::uint64_t seed = 0; seed < 20; ++seed) {
      CrashingJob whole(partitions, seed);
      const std::size_t operations = whole.live(kNever, 0);
      whole.expect_right("no crash");
      for (std::size_t at = 0; at < operations; ++at, ++points) {
        CrashingJob job(partitions, seed);
        job.live(at, seed);
        job.expect_right(fmt::format("{} partitions, crash {} of seed {}", partitions, at, seed));
        job.live(kNever, 0);
        job.expect_right(
            fmt::format("{} partitions, after crash {} of seed {}", partitions, at, seed));
      }
    }
  }
  EXPECT_GE(points, 1000U);
  std::cout << fmt::format("{} crash points\n", points);
}

TEST(LedgerCrashTest, JobsThatCrashAgainAndAgain) {
  std::uint64_t crashes = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    CrashingJob job(seed % 3 == 0 ? 2 : 1, 1000 + seed);
    Stream chance(seed, Purpose::test);
    for (int life = 0; life < 12; ++life) {
      job.live(chance.next() % 20, chance.next());
      job.expect_right(fmt::format("life {} of seed {}", life, seed));
    }
    job.live(kNever, 0);
    job.expect_right(fmt::format("the end of seed {}", seed));
    crashes += job.crashes();
  }
  EXPECT_GT(crashes, 2000U);
}

}  // namespace
}  // namespace sheaf::privacy
