// What `sheaf doctor` has seen of the hosts of a job, and what it makes of that. Plain data and
// pure functions: no process, no socket, no clock.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/doctor/probe_messages.h"

namespace sheaf::launcher {

// Where links are slower, a step of all but the smallest models waits for the network; a link of
// 1 Gbit/s moves about 118 MB/s, one of 200 Mbit/s about 23.
inline constexpr double kSlowLink = 20e6;                 // bytes per second
inline constexpr double kClockSkew = 1.0;                 // seconds
inline constexpr std::uint64_t kSmallDisk = 100'000'000;  // bytes beside the model

// Why a host has told nothing.
struct Silence {
  bool late = false;        // no answer within the deadline; else the command ended
  std::optional<int> code;  // its exit code, if it exited
  std::string text;         // what it said, or what was wrong with what it said
};

struct ExaminedHost {
  std::string name;     // as the hostfile has it
  bool starts = false;  // `sheaf train` runs here: the coordinator, the run directory
  bool has_ranks = true;
  std::uint32_t ranks = 0;    // that mpirun will put here, as far as is known
  std::uint32_t servers = 0;  // of those
  std::uint64_t memory = 0;   // bytes that they will need
  std::string command = {};   // that was to reach it
  std::optional<Silence> silence = {};
  HostFacts facts = {};
  double clock_offset = 0;                  // seconds ahead of ours
  double clock_error = 0;                   // by which that may be wrong
  std::optional<ProbeAnswer> job = {};      // nothing: was not asked
  std::optional<ProbeAnswer> listens = {};  // nothing: was not asked
};

// A connection from one host to another, by index.
struct ExaminedLink {
  std::size_t from = 0;
  std::size_t to = 0;
  std::string problem = {};  // on a port of network.ports; empty: it was reached
  std::string beside = {};   // on another port of the same address
};

// Both directions at once.
struct ExaminedTransfer {
  std::size_t a = 0;
  std::size_t b = 0;
  double a_to_b = 0;  // bytes per second
  double b_to_a = 0;
  std::string problem = {};
};

struct ExaminedDisk {
  std::string run_directory;
  std::string problem = {};  // why a job cannot write there; empty: it can
  std::uint64_t free = 0;    // bytes
};

struct Examination {
  std::vector<ExaminedHost> hosts;
  std::vector<ExaminedLink> links = {};
  std::vector<ExaminedTransfer> transfers = {};
  std::string program = {};         // the path of this one
  std::string mpirun = {};          // path and version
  std::string mpirun_problem = {};  // why there is none
  std::string interface = "auto";   // network.interface
  std::string ports = "0";          // network.ports
  bool deterministic = false;       // run.deterministic
  std::uint64_t model_bytes = 0;
  std::optional<ExaminedDisk> disk = {};
  std::vector<std::string> notes = {};  // what could not be examined, and why
};

enum class Level { ok, warning, fault };

struct Finding {
  Level level = Level::ok;
  std::string check;  // reach, program, …
  std::string where;  // "h2", "h1 -> h2"; empty: everywhere
  std::string found;
  std::string advice;  // empty if it is ok
  int code = 0;        // of a fault: the exit code that a job would end with
};

// In the order in which they should be mended. One of Level::ok for each check without another.
std::vector<Finding> judge(const Examination& examination);

// 0 without a fault, else the lowest code: what is wrong in the job file comes first.
int exit_code(const std::vector<Finding>& findings);

// A table, a line each; and an object with "findings" and "exit".
std::string findings_text(const std::vector<Finding>& findings);
std::string findings_json(const std::vector<Finding>& findings);

}  // namespace sheaf::launcher
