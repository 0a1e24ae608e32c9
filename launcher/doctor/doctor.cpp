#include "launcher/doctor/doctor.h"

#include <ostream>

#include "launcher/config/run_config.h"
#include "launcher/doctor/diagnosis.h"
#include "launcher/doctor/examine.h"

namespace sheaf::launcher {
namespace {

Examination examine(const DoctorCommand& command) {
  if (!command.job) return examine_this_host();
  RunConfig config = RunConfig::load(command.job->file, command.job->overrides);
  config.require_sound();
  return examine_hosts(config, *command.job);
}

}  // namespace

int doctor(const DoctorCommand& command, std::ostream& out) {
  const std::vector<Finding> findings = judge(examine(command));
  out << (command.json ? findings_json(findings) : findings_text(findings));
  return exit_code(findings);
}

}  // namespace sheaf::launcher
