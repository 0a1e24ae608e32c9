// The command line as plain data: what was asked for, or why it makes no sense. Reads no file and
// does nothing; a pure function. The only door to the command-line library.
#pragma once

#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "common/base/ids.h"
#include "launcher/config/privacy_arguments.h"

namespace sheaf::launcher {

// A job file with its key=value overrides, still unread.
struct JobArguments {
  std::filesystem::path file;
  std::vector<std::string> overrides;
};

// Of a job that goes on: from the checkpoint of that step, or from the newest that is whole.
struct Resume {
  std::optional<Step> step;
};

struct TrainCommand {
  JobArguments job;
  bool dry_run = false;                         // check and print the plan, start nothing
  bool print_launch = false;                    // print the mpirun line alone, start nothing
  std::optional<Resume> resume;                 // the job file is that of the run directory then
  std::optional<std::filesystem::path> attach;  // to the running job of that directory: the same
};

struct RankCommand {
  JobArguments job;
  // A process that joins a running job without MPI: both are given, or neither.
  std::optional<std::filesystem::path> join;  // the control file of the job
  std::optional<ProcessId> process;           // who it is to be
};

struct CheckCommand {
  JobArguments job;
};

struct ListCommand {
  std::optional<std::string> family;
};

struct BenchCommand {
  std::string name;  // one of kBenchmarks
  JobArguments job;
  bool json = false;
  std::uint32_t minutes = 4;  // of recovery, with a loss each; even
};

// `bench exchange`.
struct ExchangeCommand {
  std::string transport = "both";   // tcp, shm or both
  std::string encryption = "none";  // of tcp
  std::string wait = "auto";        // block: never look before sleeping
  std::size_t mib = 64;
  std::size_t chunk_kib = 0;  // 0 = automatic
  std::uint32_t workers = 1;
  std::uint32_t servers = 1;
  std::uint32_t lanes = 1;
  int repeat = 5;
  bool json = false;
};

// `bench codec`.
struct CodecCommand {
  std::string kind;                  // a compressor; empty: all that a table has
  std::vector<std::string> options;  // of it, "key=value"
  int repeat = 5;
  bool json = false;
};

// `bench allreduce`: what mpirun starts for the floor of `bench exchange`.
struct AllreduceCommand {
  std::size_t floats = 0;
  int repeat = 1;
};

struct DoctorCommand {
  std::optional<JobArguments> job;  // without one: this host alone
  bool json = false;
};

struct VerifyCommand {
  std::filesystem::path run;  // a run directory
  bool json = false;
};

struct StatusCommand {
  std::filesystem::path run;
  bool json = false;
};

struct ScaleCommand {
  std::filesystem::path run;
  std::uint32_t workers = 0;
};

// `audit`.
struct AuditCommand {
  JobArguments job;
  std::uint32_t canaries = 50'000;
  bool json = false;
};

struct SlurmCommand {
  JobArguments job;
};

// What `doctor` starts on each host; no person does, so help does not know it.
struct ProbeCommand {};
struct KeeperCommand {};

struct VersionCommand {};

// Help: text for stdout, exit 0.
struct HelpCommand {
  std::string text;
};

// One line for stderr, exit 2.
struct UsageFault {
  std::string line;
};

using Command =
    std::variant<TrainCommand, RankCommand, CheckCommand, ListCommand, BenchCommand,
                 ExchangeCommand, CodecCommand, AllreduceCommand, DoctorCommand, VerifyCommand,
                 StatusCommand, ScaleCommand, SlurmCommand, PrivacyCommand, AuditCommand,
                 ProbeCommand, KeeperCommand, VersionCommand, HelpCommand, UsageFault>;

// `arguments` without the name of the program.
Command parse_command_line(std::span<const std::string> arguments);

}  // namespace sheaf::launcher
