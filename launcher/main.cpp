// The program: one command, one exit code.
#include <fmt/format.h>

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "common/base/error.h"
#include "common/config/section.h"
#include "launcher/audit/audit.h"
#include "launcher/bench/bench_codec.h"
#include "launcher/bench/bench_consistency.h"
#include "launcher/bench/bench_exchange.h"
#include "launcher/bench/bench_recovery.h"
#include "launcher/bench/bench_scaling.h"
#include "launcher/bench/bench_step.h"
#include "launcher/commands/check.h"
#include "launcher/commands/list.h"
#include "launcher/commands/privacy.h"
#include "launcher/commands/slurm.h"
#include "launcher/commands/status.h"
#include "launcher/commands/verify.h"
#include "launcher/compression/choose.h"
#include "launcher/config/command_line.h"
#include "launcher/doctor/doctor.h"
#include "launcher/doctor/probe.h"
#include "launcher/rank/keeper_process.h"
#include "launcher/rank/mpi_session.h"
#include "launcher/rank/rank_main.h"
#include "launcher/supervision/supervisor.h"
#include "launcher/system/build_identity.h"

namespace {

using namespace sheaf;
using namespace sheaf::launcher;

int run(const TrainCommand& command) {
  return train(with_compressors(
      command, [](std::string_view text) { std::cerr << "sheaf: " << text << std::endl; }));
}
int run(const RankCommand& command) { return rank_main(command); }
int run(const CheckCommand& command) { return check_job(command, std::cout, std::cerr); }
int run(const ListCommand& command) { return list_modes(command, std::cout, std::cerr); }
int run(const BenchCommand& command) {
  if (command.name == "consistency") return bench_consistency(command, std::cout, std::cerr);
  if (command.name == "recovery") return bench_recovery(command, std::cout, std::cerr);
  if (command.name == "scaling") return bench_scaling(command, std::cout, std::cerr);
  return bench_step(command, std::cout);
}
int run(const ExchangeCommand& command) { return bench_exchange(command, std::cout); }
int run(const CodecCommand& command) { return bench_codec(command, std::cout); }
int run(const AllreduceCommand& command) {
  MpiSession mpi;
  const double milliseconds = mpi.allreduce_ms(command.floats, command.repeat);
  if (mpi.rank() == 0) std::cout << milliseconds << "\n";
  return 0;
}
int run(const DoctorCommand& command) { return doctor(command, std::cout); }
int run(const VerifyCommand& command) { return verify_run(command, std::cout, std::cerr); }
int run(const StatusCommand& command) { return show_status(command, std::cout); }
int run(const ScaleCommand& command) { return scale_job(command, std::cout); }
int run(const SlurmCommand& command) { return write_slurm(command, std::cout); }
int run(const PrivacyCommand& command) { return show_privacy(command, std::cout); }
int run(const AuditCommand& command) { return audit_job(command, std::cout, std::cerr); }
int run(const ProbeCommand&) { return probe(std::cin, std::cout); }
int run(const KeeperCommand&) { return keep(std::cin); }
int run(const VersionCommand&) {
  std::cout << fmt::format("sheaf {}\nMPI: {}\nnumerics: {}\n", build_text(), MpiSession::library(),
                           numerics_text());
  return 0;
}
int run(const HelpCommand& help) {
  std::cout << help.text;
  return 0;
}
int run(const UsageFault& fault) {
  std::cerr << fault.line << "\n";
  return static_cast<int>(Fault::config);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a peer that closes is an error code, not a signal
  try {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    return std::visit([](const auto& command) { return run(command); },
                      parse_command_line(arguments));
  } catch (const config::Faults& faults) {
    std::cerr << faults.message() << std::endl;
    return static_cast<int>(faults.fault());
  } catch (...) {
    const auto [fault, text] = describe(std::current_exception());
    std::cerr << "sheaf: " << text << std::endl;
    return static_cast<int>(fault);
  }
}
