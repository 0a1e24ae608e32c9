// Whole jobs that lose processes, connections and disks, seed by seed: the real membership,
// snapshots and checkpoints. And that the simulation can fail: what is broken on purpose is found.
// SHEAF_SIMULATION_SEEDS sets how many seeds each test tries (default 15).
#include <gmock/gmock.h>

#include <algorithm>
#include <cstdlib>

#include "tests/simulation/random_job.h"

namespace sheaf::simulation {
namespace {

std::uint64_t some_seeds() {
  const char* text = std::getenv("SHEAF_SIMULATION_SEEDS");
  return text == nullptr ? 15 : std::strtoull(text, nullptr, 10);
}

// Ends as a serial loop says, and its last checkpoint, too.
Outcome expect_no_violation(const Options& options) {
  Outcome outcome;
  EXPECT_EQ(violation(options, outcome), "") << "seed " << options.seed;
  return outcome;
}

TEST(LossesTest, AJobThatLosesNothingEndsWithItsCheckpoint) {
  Options options;
  options.coordinated = true;
  options.servers = 2;
  options.lanes = 2;
  const Outcome outcome = expect_no_violation(options);
  EXPECT_EQ(outcome.parameters.size(), 2U);
  EXPECT_EQ(outcome.updates, options.steps);
  EXPECT_EQ(outcome.kills + outcome.restarts, 0U);
}

TEST(LossesTest, NothingIsLostOrCountedTwiceWhateverIsKilled) {
  Outcome seen;
  for (std::uint64_t seed = 1; seed <= 20 * some_seeds(); ++seed) {
    const Outcome outcome = expect_no_violation(random_coordinated_job(seed));
    seen.kills += outcome.kills;
    seen.stops += outcome.stops;
    seen.adoptions += outcome.adoptions;
    seen.taken_over += outcome.taken_over;
    seen.made_whole += outcome.made_whole;
    seen.pairs_lost += outcome.pairs_lost;
    seen.restarts += outcome.restarts;
    seen.crashes += outcome.crashes;
    seen.kept_bytes += outcome.kept_bytes;
    seen.turned_away += outcome.turned_away;
    seen.books += outcome.books;
    seen.stood_in += outcome.stood_in;
    seen.passed += outcome.passed;
  }
  // The runs were as rough as they claim to be.
  EXPECT_GT(seen.kills, 0U);
  EXPECT_GT(seen.stops, 0U);
  EXPECT_GT(seen.adoptions, 0U);
  EXPECT_GT(seen.taken_over, 0U);
  EXPECT_GT(seen.made_whole, 0U);
  EXPECT_GT(seen.pairs_lost, 0U);
  EXPECT_GT(seen.restarts, 0U);
  EXPECT_GT(seen.crashes, 0U);
  EXPECT_GT(seen.kept_bytes, 0U);
  EXPECT_GT(seen.turned_away, 0U);
  EXPECT_GT(seen.books, 0U);
  EXPECT_GT(seen.stood_in, 0U);
  EXPECT_GT(seen.passed, 0U);
}

TEST(LossesTest, ASeedGivesTheSameRunAgain) {
  for (std::uint64_t seed = 1; seed <= some_seeds(); ++seed) {
    Outcome one, two;
    EXPECT_EQ(violation(random_coordinated_job(seed), one), "");
    EXPECT_EQ(violation(random_coordinated_job(seed), two), "");
    EXPECT_EQ(one.course, two.course) << "seed " << seed;
  }
}

// ---- the simulation can fail --------------------------------------------------------------------

struct Broken {
  const char* name;
  Mutant mutant;
  // What a job needs so that the rule matters to it at all.
  void (*needs)(Options&);
};

// Nothing else is kept of a server.
void keep_replicas(Options& o) {
  o.servers = std::max(o.servers, 2U);
  o.replicas = true;
  o.snapshot = false;
}

const Broken kBroken[] = {
    {"EarlyAcknowledgement", Mutant::early_acknowledgement, [](Options& o) { o.snapshot = true; }},
    {"LostCoverage", Mutant::lost_coverage,
     [](Options& o) {
       o.gate = "asp";
       o.gate_keys = "";
       o.snapshot = true;
     }},
    {"TornCommit", Mutant::torn_commit, [](Options& o) { o.snapshot = true; }},
    {"TwoServers", Mutant::two_servers, [](Options& o) { o.snapshot = true; }},
    {"NoFence", Mutant::no_fence, [](Options& o) { o.one_host = false; }},
    {"LateFence", Mutant::late_fence, [](Options& o) { o.one_host = false; }},
    {"LateStart", Mutant::late_start, [](Options&) {}},
    {"LooseBound", Mutant::loose_bound,
     [](Options& o) {
       o.gate = "ssp";
       o.gate_keys = "staleness = 1";
       o.slow = 20;
     }},
    {"TightWindow", Mutant::tight_window,
     [](Options& o) {
       o.snapshot = true;
       o.window = 1;
     }},
    {"DeafReconnect", Mutant::deaf_reconnect, [](Options& o) { o.loss = 0; }},
    {"SilentScalars", Mutant::silent_scalars,
     [](Options& o) {
       o.snapshot = true;
       o.clip_norm = 40;
     }},
    {"UnsyncedFiles", Mutant::unsynced_files, [](Options& o) { o.power_failures = true; }},
    {"UnsyncedFolders", Mutant::unsynced_folders, [](Options& o) { o.power_failures = true; }},
    {"ForgottenResiduals", Mutant::forgotten_residuals,
     [](Options& o) {
       o.lossy_push = false;
       o.feedback = true;
       o.one_host = true;
     }},
    {"DoubledResiduals", Mutant::doubled_residuals,
     [](Options& o) {
       o.lossy_push = false;
       o.feedback = true;
       o.one_host = false;
     }},
    {"EarlyReplica", Mutant::early_replica, &keep_replicas},
    {"StaleReplica", Mutant::stale_replica, &keep_replicas},
    {"HollowReplica", Mutant::hollow_replica, &keep_replicas},
    {"UnfencedReplica", Mutant::unfenced_replica,
     [](Options& o) {
       keep_replicas(o);
       o.one_host = false;
     }},
    {"EarlyService", Mutant::early_service, &keep_replicas},
    {"MuteGate", Mutant::mute_gate,
     [](Options& o) {
       o.gate = "speculate";
       o.feedback = false;
       o.slow = 20;
       o.workers = std::min(o.partitions, 4U);
     }},
};

class MutantTest : public testing::TestWithParam<Broken> {};

TEST_P(MutantTest, IsFound) {
  const Broken& broken = GetParam();
  std::string found;
  std::uint64_t seed = 0;
  while (found.empty() && seed < 500) {
    Options options = random_coordinated_job(++seed);
    options.gate = "bsp";
    options.gate_keys = "";
    options.losses = 12;
    broken.needs(options);
    if (options.feedback && !options.one_host) options.replicas = options.snapshot = false;
    if (options.gate == "speculate") options.replicas = false;
    if (options.gate == "asp" || options.gate == "ssp") {
      options.exhausted = false;
      options.clip_norm = 0;
      options.skip = false;
    }
    Options sound = options;
    options.mutant = broken.mutant;
    Outcome outcome;
    found = violation(options, outcome);
    if (!found.empty()) expect_no_violation(sound);  // it is the mutant that does it
  }
  EXPECT_NE(found, "");
  RecordProperty("seed", static_cast<int>(seed));
}

INSTANTIATE_TEST_SUITE_P(Simulation, MutantTest, testing::ValuesIn(kBroken),
                         [](const auto& broken) { return std::string(broken.param.name); });

}  // namespace
}  // namespace sheaf::simulation
