// One rank of a job, from its seat to its exit code: registers with the coordinator, builds a
// server or a worker from the config, runs it, and reports. No MPI here; how a rank got its seat is
// the business of rank_main.
#pragma once

#include <cstdint>
#include <string>

#include "common/net/handshake_io.h"
#include "launcher/run_config.h"

namespace sheaf::launcher {

// The environment variables in which `sheaf train` names its coordinator ("ADDRESS:PORT"), the job
// key (hexadecimal) and their incarnation to the ranks it starts.
inline constexpr const char* kCoordinatorVariable = "SHEAF_COORDINATOR";
inline constexpr const char* kKeyVariable = "SHEAF_JOB_KEY";
inline constexpr const char* kIncarnationVariable = "SHEAF_INCARNATION";

// What rendezvous gives: who I am, where the coordinator is, and the key of the job.
struct Seat {
  ProcessId process;
  std::uint32_t incarnation = 0;
  net::Endpoint coordinator;
  wire::JobKey key;
};

// The identity that a process of this job proves in every handshake.
wire::Identity make_identity(const RunConfig& config, ProcessId process, std::uint32_t incarnation);

// What it brings to a handshake: its identity, the key, and which connections it encrypts.
net::Credentials make_credentials(const RunConfig& config, const wire::JobKey& key,
                                  ProcessId process, std::uint32_t incarnation);

// "worker 1" → rank among servers and workers.
std::uint32_t rank_of(const RunConfig& config, ProcessId process);

// Runs to the end of the job. Returns the exit code; says why on stderr if it is not 0.
int run_rank(const RunConfig& config, const Seat& seat);

}  // namespace sheaf::launcher
