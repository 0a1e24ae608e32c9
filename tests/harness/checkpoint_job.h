// A job that saves often, and what it comes to when nobody interrupts it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/harness/job.h"

namespace sheaf::harness {

inline constexpr Limit kRun(30'000);

// Without an end of its own: tests give it one.
struct SmallJob : Job {
  SmallJob();
};

// Everything that is the same for the same bits.
std::string outcome_of(const nlohmann::json& result);
// That of a job of so many steps that nobody interrupts.
std::string reference(std::uint64_t steps);
// The model of such a job.
std::string reference_model(std::uint64_t steps);

// Steps of which there is a manifest, newest first.
std::vector<std::uint64_t> checkpoints_of(const Job& job);
// Whether the job has one within kRun, and knows it: it was read back after its manifest was there.
// Losses are counted since the newest that is known.
bool has_saved(const Job& job, Running& running);
// Whether there is a newer one within kRun.
bool saves_another(const Job& job, Running& running);
// Of the last row of metrics; 0 if there is none.
std::uint64_t newest_step(const Running& running);

}  // namespace sheaf::harness
