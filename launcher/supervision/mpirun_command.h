// The mpirun command line of a job, and why each flag of it is there. Pure functions, except the
// few that look at this machine: find_mpirun() and find_placement(). Open MPI 4 and 5.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "launcher/supervision/job_hosts.h"

namespace sheaf::launcher {

// The file called `name` of the first folder of `path` (as in $PATH) that has an executable one.
std::optional<std::filesystem::path> find_program(std::string_view name, std::string_view path);

// find_program("mpirun"); throws Fault::config if there is none.
std::filesystem::path find_mpirun(std::string_view path);

// 4 or 5, from what `mpirun --version` prints. Throws Fault::config for another MPI, whose mpirun
// knows other flags, and for an older Open MPI.
int open_mpi_major(std::string_view version_text);

// Where mpirun will put ranks.
struct Placement {
  bool one_host = true;                // all of them on this host
  std::optional<std::uint32_t> slots;  // how many it takes without --oversubscribe, where known
};

// Whether the user's own arguments say which rank goes to which host; else ranks go to the hosts in
// turn, one at a time, as long as each has slots.
bool maps_ranks(std::span<const std::string> mpirun_args);

// Reads the hostfile (may be empty: none), looks for hosts in `mpirun_args` and for the allocation
// of a batch system in the environment; else it is this host, with a slot for each physical core.
// Throws Fault::config if the hostfile cannot be read.
Placement find_placement(const std::filesystem::path& hostfile,
                         std::span<const std::string> mpirun_args, const Environment& environment);

struct MpirunRequest {
  std::filesystem::path mpirun;
  int open_mpi_major = 4;
  std::uint32_t ranks = 0;
  bool root = false;  // the effective user is root
  Placement placement;
  std::filesystem::path hostfile = {};  // empty: none
  std::string interface = {};           // name or CIDR for MPI's own TCP; empty: let MPI choose
  std::vector<std::string> mpirun_args = {};  // of [launch]; a flag given here replaces ours
  std::vector<std::string> forwarded = {};    // names of environment variables that every rank gets
  std::filesystem::path program;              // this program, the same path on every host
  std::filesystem::path job_file;             // absolute
  std::vector<std::string> overrides = {};    // key=value
};

// A flag that the launcher added by itself.
struct MpirunFlag {
  std::vector<std::string> words;
  std::string why;
};

struct MpirunCommand {
  std::vector<std::string> argv;
  std::vector<MpirunFlag> added;
};

// mpirun … PROGRAM rank JOB_FILE key=value…   REQUIRES: ranks > 0, job_file is absolute.
MpirunCommand mpirun_command(const MpirunRequest& request);

// The words as one line that a POSIX shell reads back as the same words.
std::string shell_line(std::span<const std::string> words);

}  // namespace sheaf::launcher
