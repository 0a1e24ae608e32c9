#include "launcher/config/command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "launcher/commands/check.h"
#include "launcher/commands/list.h"
#include "tests/launcher/config/job_text.h"

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

Command parse(std::vector<std::string> arguments) { return parse_command_line(arguments); }

std::string fault_of(std::vector<std::string> arguments) {
  const Command command = parse(std::move(arguments));
  const auto* fault = std::get_if<UsageFault>(&command);
  return fault ? fault->line : "no fault";
}

std::string help_of(std::vector<std::string> arguments) {
  const Command command = parse(std::move(arguments));
  const auto* help = std::get_if<HelpCommand>(&command);
  return help ? help->text : "no help";
}

TEST(CommandLineTest, TrainTakesAJobAndOverrides) {
  const auto train =
      std::get<TrainCommand>(parse({"train", "job.toml", "run.workers=4", "run.dir=/x"}));
  EXPECT_EQ(train.job.file, "job.toml");
  EXPECT_THAT(train.job.overrides, ElementsAre("run.workers=4", "run.dir=/x"));
  EXPECT_FALSE(train.dry_run);
  EXPECT_FALSE(train.print_launch);
}

TEST(CommandLineTest, OptionsStandAnywhere) {
  EXPECT_TRUE(std::get<TrainCommand>(parse({"train", "--dry-run", "job.toml"})).dry_run);
  const auto train =
      std::get<TrainCommand>(parse({"train", "job.toml", "a.b=[1, 2]", "--print-launch", "c=-1"}));
  EXPECT_TRUE(train.print_launch);
  EXPECT_THAT(train.job.overrides, ElementsAre("a.b=[1, 2]", "c=-1"));
}

TEST(CommandLineTest, StatusAndScaleAreAboutARunDirectory) {
  const auto status = std::get<StatusCommand>(parse({"status", "runs/a", "--json"}));
  EXPECT_EQ(status.run, "runs/a");
  EXPECT_TRUE(status.json);
  const auto scale = std::get<ScaleCommand>(parse({"scale", "runs/a", "--workers", "4"}));
  EXPECT_EQ(scale.run, "runs/a");
  EXPECT_EQ(scale.workers, 4);
  EXPECT_THAT(fault_of({"status"}), StartsWith("sheaf status: found no run directory"));
  EXPECT_EQ(fault_of({"scale", "runs/a"}), "sheaf scale: found no --workers, expected --workers N");
  EXPECT_THAT(fault_of({"scale", "runs/a", "--workers", "0"}), HasSubstr("--workers"));
}

TEST(CommandLineTest, RankStartsUnderMpiOrJoins) {
  const auto plain = std::get<RankCommand>(parse({"rank", "job.toml"}));
  EXPECT_FALSE(plain.join);
  EXPECT_FALSE(plain.process);
  const auto joins = std::get<RankCommand>(
      parse({"rank", "job.toml", "--join", "r/control.json", "--process", "worker:1"}));
  EXPECT_EQ(joins.join, "r/control.json");
  EXPECT_EQ(joins.process, (ProcessId{Role::worker, 1}));
  EXPECT_EQ(
      std::get<RankCommand>(parse({"rank", "j", "--join", "c", "--process", "server:12"})).process,
      (ProcessId{Role::server, 12}));
}

TEST(CommandLineTest, TheOtherCommands) {
  EXPECT_EQ(std::get<CheckCommand>(parse({"check", "job.toml"})).job.file, "job.toml");
  EXPECT_EQ(std::get<ListCommand>(parse({"list"})).family, std::nullopt);
  EXPECT_EQ(std::get<ListCommand>(parse({"list", "layer"})).family, "layer");
  const auto bench = std::get<BenchCommand>(parse({"bench", "step", "job.toml", "a=1", "--json"}));
  EXPECT_EQ(bench.name, "step");
  EXPECT_EQ(bench.job.file, "job.toml");
  EXPECT_THAT(bench.job.overrides, ElementsAre("a=1"));
  EXPECT_TRUE(bench.json);
  EXPECT_EQ(std::get<BenchCommand>(parse({"bench", "scaling", "job.toml"})).name, "scaling");
  const auto codec = std::get<CodecCommand>(parse({"bench", "codec", "topk", "values=8"}));
  EXPECT_EQ(codec.kind, "topk");
  EXPECT_THAT(codec.options, ElementsAre("values=8"));
  EXPECT_TRUE(std::get<CodecCommand>(parse({"bench", "codec", "--json"})).kind.empty());
  // A worker and a server in turn: an even number.
  const auto recovery = parse({"bench", "recovery", "job.toml", "--minutes", "5"});
  EXPECT_EQ(std::get<BenchCommand>(recovery).minutes, 6U);
  EXPECT_TRUE(std::holds_alternative<VersionCommand>(parse({"--version"})));
  EXPECT_TRUE(std::holds_alternative<ProbeCommand>(parse({"probe"})));
}

TEST(CommandLineTest, DoctorTakesAJobOrNone) {
  EXPECT_FALSE(std::get<DoctorCommand>(parse({"doctor"})).job);
  EXPECT_TRUE(std::get<DoctorCommand>(parse({"doctor", "--json"})).json);
  const auto doctor = std::get<DoctorCommand>(parse({"doctor", "job.toml", "a=1"}));
  ASSERT_TRUE(doctor.job);
  EXPECT_EQ(doctor.job->file, "job.toml");
  EXPECT_THAT(doctor.job->overrides, ElementsAre("a=1"));
  EXPECT_FALSE(doctor.json);
  EXPECT_EQ(fault_of({"doctor", "a=1"}),
            "sheaf doctor: found no job file, expected JOB.toml [key=value …], try sheaf doctor "
            "configs/quickstart.toml");
}

TEST(CommandLineTest, AuditTakesAJobAndEnoughCanaries) {
  const auto audit = std::get<AuditCommand>(parse({"audit", "job.toml", "a=1", "--json"}));
  EXPECT_EQ(audit.job.file, "job.toml");
  EXPECT_THAT(audit.job.overrides, ElementsAre("a=1"));
  EXPECT_EQ(audit.canaries, 50'000U);
  EXPECT_TRUE(audit.json);
  EXPECT_EQ(std::get<AuditCommand>(parse({"audit", "--canaries", "5000", "job.toml"})).canaries,
            5'000U);
  EXPECT_THAT(fault_of({"audit", "--canaries", "4999", "job.toml"}), HasSubstr("--canaries"));
  EXPECT_EQ(fault_of({"audit"}),
            "sheaf audit: found no job file, expected JOB.toml [key=value …], try sheaf audit "
            "configs/modes/mechanism_gaussian.toml");
}

TEST(CommandLineTest, VerifyTakesARunDirectory) {
  const auto verify = std::get<VerifyCommand>(parse({"verify", "runs/a"}));
  EXPECT_EQ(verify.run, "runs/a");
  EXPECT_FALSE(verify.json);
  EXPECT_TRUE(std::get<VerifyCommand>(parse({"verify", "--json", "runs/a"})).json);
  EXPECT_EQ(
      fault_of({"verify"}),
      "sheaf verify: found no run directory, expected RUN, a directory that sheaf train made");
  EXPECT_EQ(fault_of({"verify", "runs/a", "runs/b"}),
            "sheaf verify: found \"runs/b\", expected nothing more");
}

TEST(CommandLineTest, HelpShowsExamplesBeforeOptions) {
  for (const std::string command : {"train", "rank", "check", "list", "bench", "doctor", "status",
                                    "scale", "slurm", "verify", "privacy", "audit", "help"}) {
    const std::string help = help_of({command, "--help"});
    EXPECT_EQ(help, help_of({"help", command}));
    EXPECT_LT(help.find("Examples:"), help.find("Usage: sheaf " + command)) << help;
    EXPECT_LT(help.find("Usage:"), help.find("Options:")) << help;
    EXPECT_THAT(help_of({"--help"}), HasSubstr("\n  " + command + " "));
  }
  EXPECT_EQ(help_of({"--help"}), help_of({"help"}));
  EXPECT_THAT(help_of({"rank", "--help"}), testing::Not(HasSubstr("--join")));
}

TEST(CommandLineTest, HelpListsEveryExitCode) {
  const std::string help = help_of({"help", "exit-codes"});
  for (const int code : {0, 1, 2, 3, 4, 5, 6, 7, 8, 75, 130}) {
    EXPECT_THAT(help, HasSubstr("\n  " + std::to_string(code) + " ")) << code;
  }
}

TEST(CommandLineTest, MistakesAreOneLineWithARemedy) {
  const std::string commands =
      "a command: train, rank, check, list, bench, doctor, status, scale, slurm, verify, privacy, "
      "audit, help";
  EXPECT_EQ(fault_of({}), "sheaf: found no command, expected " + commands + ", try sheaf --help");
  EXPECT_EQ(fault_of({"trian", "job.toml"}),
            "sheaf: found \"trian\", expected " + commands + ", try train");
  EXPECT_EQ(fault_of({"xyz"}), "sheaf: found \"xyz\", expected " + commands);
  EXPECT_EQ(fault_of({"--verison"}),
            "sheaf: found \"--verison\", expected one of --help, --version, try --version");
  EXPECT_EQ(fault_of({"train", "job.toml", "--dryrun"}),
            "sheaf train: found \"--dryrun\", expected one of --help, --dry-run, --print-launch, "
            "--resume, --resume-step, --attach, try --dry-run");
  EXPECT_EQ(fault_of({"train"}),
            "sheaf train: found no job file, expected JOB.toml [key=value …], try sheaf train "
            "configs/quickstart.toml");
  EXPECT_EQ(fault_of({"check", "run.workers=4"}),
            "sheaf check: found no job file, expected JOB.toml [key=value …], try sheaf check "
            "configs/quickstart.toml");
  EXPECT_EQ(fault_of({"bench", "stp", "job.toml"}),
            "sheaf bench: found \"stp\", expected one of step, exchange, codec, scaling, recovery, "
            "consistency, try step");
  EXPECT_EQ(fault_of({"bench"}),
            "sheaf bench: found no name, expected one of step, exchange, codec, scaling, recovery, "
            "consistency");
  EXPECT_EQ(fault_of({"bench", "codec", "values=8", "topk"}),
            "sheaf bench codec: found \"values=8\", expected KIND, then key=value …, try sheaf "
            "bench codec topk ratio=0.001");
  EXPECT_EQ(fault_of({"list", "layer", "loss"}),
            "sheaf list: found \"loss\", expected nothing more");
  EXPECT_EQ(
      fault_of({"help", "exitcodes"}),
      "sheaf help: found \"exitcodes\", expected one of train, rank, check, list, bench, "
      "doctor, status, scale, slurm, verify, privacy, audit, help, exit-codes, try exit-codes");
  EXPECT_EQ(fault_of({"rank", "job.toml", "--process", "worker:1"}),
            "sheaf rank: found --process alone, expected both --join CONTROL_FILE and --process "
            "ROLE:ID");
  for (const char* process : {"worker", "worker:", "worker:x", "coordinator:1", "worker:1 "}) {
    EXPECT_EQ(fault_of({"rank", "job.toml", "--join", "c", "--process", process}),
              "sheaf rank: found --process \"" + std::string(process) +
                  "\", expected a role and a number, try worker:1");
  }
}

TEST(CommandLineTest, AJobThatIsTakenOverIsAsItIs) {
  const auto train = std::get<TrainCommand>(parse({"train", "--attach", "runs/a"}));
  EXPECT_EQ(train.attach, "runs/a");
  EXPECT_FALSE(train.resume);
  EXPECT_EQ(train.job.file, "runs/a/config.toml");
  EXPECT_THAT(train.job.overrides, ElementsAre("run.dir=runs/a"));
  EXPECT_THAT(fault_of({"train", "--attach", "runs/a", "run.epochs=9"}),
              HasSubstr("found \"run.epochs=9\" with --attach, expected nothing more"));
  EXPECT_THAT(fault_of({"train", "--attach", "runs/a", "--resume", "runs/a"}),
              HasSubstr("another option with --attach"));
  EXPECT_THAT(fault_of({"train", "--attach", "runs/a", "--dry-run"}),
              HasSubstr("another option with --attach"));
}

TEST(CommandLineTest, AJobThatGoesOnHasItsRunDirectoryForAJobFile) {
  const std::vector<std::string> words = {"train",         "--resume", "runs/a",
                                          "--resume-step", "40",       "run.epochs=9"};
  const auto train = std::get<TrainCommand>(parse_command_line(words));
  EXPECT_EQ(train.job.file, "runs/a/config.toml");
  EXPECT_THAT(train.job.overrides, ElementsAre("run.epochs=9", "run.dir=runs/a"));
  ASSERT_TRUE(train.resume);
  EXPECT_EQ(train.resume->step, 40);
  EXPECT_THAT(fault_of({"train", "--resume"}), StartsWith("sheaf train: "));
  EXPECT_THAT(fault_of({"train", "job.toml", "--resume-step", "4"}), HasSubstr("--resume RUN"));
  EXPECT_THAT(fault_of({"train", "--resume", "runs/a", "job.toml"}), HasSubstr("overrides only"));
}

TEST(ListTest, EveryLineIsFamilyNameAndDescription) {
  std::ostringstream out, err;
  EXPECT_EQ(list_modes({}, out, err), 0);
  EXPECT_THAT(err.str(), IsEmpty());
  std::istringstream lines(out.str());
  int count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    EXPECT_EQ(std::count(line.begin(), line.end(), '\t'), 2) << line;
    EXPECT_THAT(family_names(), testing::Contains(line.substr(0, line.find('\t'))));
  }
  EXPECT_GT(count, 10);
  EXPECT_THAT(out.str(), HasSubstr("optimizer\tadam\t"));
}

TEST(ListTest, OneFamilyOrASuggestion) {
  std::ostringstream out, err;
  EXPECT_EQ(list_modes({"consistency"}, out, err), 0);
  EXPECT_THAT(out.str(), StartsWith("consistency\tasp\t"));
  EXPECT_EQ(list_modes({"optimiser"}, out, err), 2);
  EXPECT_EQ(err.str(),
            "sheaf list: found \"optimiser\", expected one of data, transform, layer, loss, "
            "privacy, compression, consistency, optimizer, try optimizer\n");
}

class CheckTest : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(file_); }
  int check(const std::string& text, std::vector<std::string> overrides = {}) {
    std::ofstream(file_) << text;
    out_.str("");
    err_.str("");
    return check_job({{file_, std::move(overrides)}}, out_, err_);
  }
  const std::filesystem::path file_ = std::filesystem::temp_directory_path() /
                                      ("sheaf_check_test_" + std::to_string(::getpid()) + ".toml");
  std::ostringstream out_, err_;
};

TEST_F(CheckTest, ASoundJobIsOk) {
  EXPECT_EQ(check(job_with()), 0);
  EXPECT_EQ(out_.str(), file_.string() + ": ok\n");
  EXPECT_THAT(err_.str(), IsEmpty());
}

TEST_F(CheckTest, FaultsAreLinesOnStderr) {
  EXPECT_EQ(check(job_with(3, "workers = 0"), {"run.servers=0"}), 2);
  EXPECT_THAT(out_.str(), IsEmpty());
  EXPECT_EQ(err_.str(),
            file_.string() +
                ":3:1: run.workers: found 0, expected an integer from 1 to 4096, try 1\n"
                "override: run.servers: found 0, expected an integer from 1 to 4096, try 1\n");
}

TEST_F(CheckTest, DataAtFaultIsThree) {
  const std::vector<std::string> npy = {
      "data={ kind = \"npy\", inputs = \"/nowhere.npy\", targets = \"/nowhere.npy\", batch = 64 }"};
  EXPECT_EQ(check(job_with(), npy), 3);
  EXPECT_THAT(err_.str(), HasSubstr("/nowhere.npy"));
}

TEST_F(CheckTest, WhatWasNotAskedForIsNotMissed) {
  EXPECT_EQ(check(job_with(), {"recovery.restarts=0"}), 0);
  EXPECT_EQ(err_.str(), "");
}

TEST_F(CheckTest, NotesDoNotFail) {
  EXPECT_EQ(check(job_with(), {"recovery.snapshot=shm", "recovery.restarts=0"}), 0);
  EXPECT_THAT(err_.str(), StartsWith("note: recovery.snapshot is without effect, since "
                                     "recovery.restarts is 0"));
}

TEST_F(CheckTest, AMissingFileIsTwo) {
  EXPECT_EQ(check_job({{"/nowhere/job.toml", {}}}, out_, err_), 2);
  EXPECT_EQ(err_.str(), "cannot read /nowhere/job.toml: No such file or directory\n");
}

}  // namespace
}  // namespace sheaf::launcher
