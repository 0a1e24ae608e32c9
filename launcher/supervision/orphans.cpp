#include "launcher/supervision/orphans.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <string>

#include "common/base/error.h"
#include "launcher/run/run_json.h"
#include "launcher/system/host.h"
#include "launcher/system/process_identity.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& file) {
  std::ifstream stream(file);
  return {std::istreambuf_iterator<char>(stream), {}};
}

wire::ProcessInfo info_of(const ProcessRow& row) {
  wire::ProcessInfo info;
  info.process = row.process;
  info.incarnation = static_cast<std::uint32_t>(row.incarnation);
  // Whoever was to take a place and has not come will not: then it is the one before that is lost.
  const ProcessRow::Lost last =
      row.pid != 0 ? ProcessRow::Lost{row.pid, row.started, row.host} : row.follows;
  info.pid = static_cast<std::uint32_t>(last.pid);
  info.started = last.started;
  info.host = last.host;
  if (info.host == host_name()) info.host_id = host_identity();
  info.address = row.address;
  info.ports = row.ports;
  return info;
}

// One that has not registered has nothing to come back with.
bool will_not_return(const ProcessRow& row) {
  const ProcessIdentity identity{static_cast<pid_t>(row.pid), row.started};
  return row.pid == 0 || (row.host == host_name() && identify(identity.pid) != identity);
}

}  // namespace

void require_running(const fs::path& run) {
  if (!fs::exists(run / "control.json") || !fs::exists(run / "config.toml")) {
    fail(Fault::config,
         "{}: found no job, expected the run directory of one whose sheaf train was killed; start "
         "one with sheaf train JOB.toml",
         run.string());
  }
  if (fs::exists(run / "result.json")) {
    fail(Fault::config,
         "{}: found a job that has ended, expected one at work; sheaf train --resume {} goes on "
         "from its newest checkpoint",
         run.string(), run.string());
  }
}

Orphans find_orphans(const fs::path& run) {
  const fs::path file = run / "control.json";
  const ControlFile control = parse_control(read(file), file.string());
  Orphans orphans;
  orphans.key = wire::JobKey::from_hex(control.key_hex);
  orphans.mpirun = {static_cast<pid_t>(control.launcher_pid), control.launcher_started};
  for (const ProcessRow& row : parse_processes(read(run / "processes.json"))) {
    orphans.members.push_back(info_of(row));
    const wire::ProcessInfo& member = orphans.members.back();
    orphans.incarnation = std::max(orphans.incarnation, member.incarnation);
    if (will_not_return(row)) orphans.gone.insert(row.process);
  }
  if (orphans.gone.size() == orphans.members.size()) {
    fail(Fault::config,
         "{}: found no process of the job that still runs, expected one whose sheaf train was "
         "killed; sheaf train --resume {} goes on from its newest checkpoint",
         run.string(), run.string());
  }
  return orphans;
}

}  // namespace sheaf::launcher
