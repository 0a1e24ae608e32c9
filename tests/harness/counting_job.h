// A job whose parameters count its steps: every example is the same, and its target is so far away
// that the gradient of the absolute error is always the input. At rate 1 each step adds the input,
// small whole numbers, to the weights: exact in any order, so that a step that is lost or counted
// twice shows, whatever the consistency model.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "tests/harness/job.h"

namespace sheaf::harness {

// Saves often, and has no end of its own.
struct CountingJob : Job {
  static constexpr unsigned kPartitions = 4;
  static constexpr unsigned kInputs = 1500;  // several chunks of 1 KiB
  // The text of [consistency] without its name. Inputs behind the first `active` are 0: their
  // weights never change.
  explicit CountingJob(const std::string& consistency, unsigned active = kInputs);
};

// How many times the input was added to every weight; nothing if they differ, or it is no whole
// number.
std::optional<std::uint64_t> count_of(const Job& job, unsigned active = CountingJob::kInputs);

}  // namespace sheaf::harness
