// The seat of a process in a job: who it is, whom it reports to, and what it proves in a handshake.
#pragma once

#include <cstdint>

#include "common/net/handshake_io.h"
#include "launcher/config/run_config.h"

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
  bool supervised = true;  // by sheaf train, whose death others may survive
};

// The identity that a process of this job proves in every handshake.
wire::Identity make_identity(const RunConfig& config, ProcessId process, std::uint32_t incarnation);

// What it brings to a handshake: its identity, the key, and which connections it encrypts.
net::Credentials make_credentials(const RunConfig& config, const wire::JobKey& key,
                                  ProcessId process, std::uint32_t incarnation);

}  // namespace sheaf::launcher
