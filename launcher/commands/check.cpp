#include "launcher/commands/check.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include "common/base/error.h"
#include "launcher/config/run_config.h"
#include "launcher/supervision/launch_plan.h"

namespace sheaf::launcher {

int check_job(const CheckCommand& command, std::ostream& out, std::ostream& err) {
  try {
    RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
    for (const std::string& note : config.require_sound()) fmt::print(err, "note: {}\n", note);
    if (config.keeps_replicas() && placement_of(config).one_host) {
      fmt::print(err,
                 "note: recovery.replicas: all ranks are on this host: the job survives the loss "
                 "of a server, not that of the host\n");
    }
  } catch (const Error& error) {
    if (error.fault() != Fault::config && error.fault() != Fault::data) throw;
    fmt::print(err, "{}\n", error.message());
    return static_cast<int>(error.fault());
  }
  fmt::print(out, "{}: ok\n", command.job.file.string());
  return 0;
}

}  // namespace sheaf::launcher
