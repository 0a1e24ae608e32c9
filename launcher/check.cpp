#include "launcher/check.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include "common/base/error.h"
#include "launcher/run_config.h"

namespace sheaf::launcher {

int check_job(const CheckCommand& command, std::ostream& out, std::ostream& err) {
  try {
    RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
    for (const std::string& note : config.require_sound()) fmt::print(err, "note: {}\n", note);
  } catch (const Error& error) {
    if (error.fault() != Fault::config && error.fault() != Fault::data) throw;
    fmt::print(err, "{}\n", error.message());
    return static_cast<int>(error.fault());
  }
  fmt::print(out, "{}: ok\n", command.job.file.string());
  return 0;
}

}  // namespace sheaf::launcher
