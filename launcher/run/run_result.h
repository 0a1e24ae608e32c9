// What a job came to: the content of result.json, and what the closing report prints. Plain data.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/metrics/evaluation.h"
#include "common/wire/messages.h"
#include "launcher/run/privacy_statement.h"

namespace sheaf::launcher {

// Why a job failed. `rank` is the rank at fault, not the one that reports.
struct RunError {
  std::optional<std::uint32_t> rank;  // MPI rank: servers first; empty = the launcher itself
  std::string process;                // "worker 1"; empty = the launcher itself
  std::string host;                   // may be empty
  std::string phase;                  // "waiting for parameters of step 120"
  std::string text;                   // who, expected, found, what to do
};

struct Traffic : wire::Traffic {  // of all workers
  double seconds =
      0;  // in which a worker had an exchange under way, over all steps; of the slowest
};

struct FaultCounts {
  std::uint64_t restarts = 0;      // of all ranks
  std::uint64_t replacements = 0;  // of one worker while the others went on
  std::uint64_t duplicates_dropped = 0;
  std::uint64_t rolled_back_steps = 0;
  double recovery_seconds = 0;  // from the notice of each loss to the first step after it
  std::uint64_t failed_checkpoints = 0;
  std::uint64_t dropped_rows = 0;  // of metrics and logs, for lack of space
  // Not finite: steps that were left out, and partitions that were left out of a step.
  std::uint64_t skipped_steps = 0;
  std::uint64_t rejected_pushes = 0;
  std::uint64_t dropped_pushes = 0;  // that steps went without, since they were late
  // Partitions that have lost what their pushes had left out.
  std::set<std::uint32_t> lost_residuals = {};
  std::uint64_t stood_in = 0;  // times that a worker has computed a late one's part of a step
};

// How long lanes copied chunks for a checkpoint in one go at most, each and every checkpoint since
// the last start.
struct LanePause {
  double p50 = 0;  // seconds
  double p99 = 0;
  std::size_t count = 0;
};

// Of all checkpoints since the last start.
struct CheckpointBytes {
  std::uint64_t held = 0;
  std::uint64_t written = 0;  // the rest lies in files of older ones
  CheckpointBytes& operator+=(const CheckpointBytes& other) {
    held += other.held;
    written += other.written;
    return *this;
  }
};

struct RunResult {
  std::string job;
  int exit = 0;
  std::uint64_t seed = 0;
  std::string config_sha256;
  std::string build;
  std::uint32_t servers = 0;
  std::uint32_t workers = 0;
  std::uint32_t partitions = 0;
  std::uint64_t parameters = 0;
  std::uint64_t steps = 0;   // optimizer steps of the final model
  std::uint64_t epochs = 0;  // completed
  double seconds = 0;        // first gradient to last applied step
  double cpu_seconds = 0;
  std::uint64_t peak_rss_bytes = 0;
  // The final model on each whole part; empty if it was not evaluated.
  std::optional<metrics::Evaluation> train;
  std::optional<metrics::Evaluation> validation;
  std::optional<metrics::Evaluation> test;
  double examples_per_s = 0;
  Traffic traffic;
  std::string model_sha256;  // empty = no model was written
  bool bit_exact = false;
  std::string transport;
  bool encrypted = false;                   // all connections, or at least those between hosts
  std::optional<PrivacyStatement> privacy;  // empty = privacy is off
  std::optional<std::uint64_t> checkpoint;  // step of the newest one
  CheckpointBytes checkpoint_bytes;
  std::optional<LanePause> lane_pause;
  std::optional<wire::Survives>
      survives;  // what acknowledged steps do; nothing: no server ended well
  FaultCounts faults;
  std::optional<RunError> error;  // empty = it ended as asked
};

}  // namespace sheaf::launcher
