#include "launcher/supervision/mpirun_command.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "common/base/error.h"
#include "launcher/system/child.h"
#include "tests/harness/temporary_folder.h"
#include "tests/launcher/system/fifo.h"

namespace sheaf::launcher {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

// What the two Debian releases print.
constexpr std::string_view kVersion4 =
    "mpirun (Open MPI) 4.1.4\n\nReport bugs to http://www.open-mpi.org/community/help/\n";
constexpr std::string_view kVersion5 =
    "mpirun (Open MPI) 5.0.7\n\nReport bugs to https://www.open-mpi.org/community/help/\n";

const char* no_environment(const char*) { return nullptr; }

MpirunRequest four_ranks() {
  return {.mpirun = "/usr/bin/mpirun",
          .open_mpi_major = 4,
          .ranks = 4,
          .root = false,
          .placement = {.one_host = true, .slots = 4},
          .program = "/opt/bin/sheaf",
          .job_file = "/home/me/job.toml"};
}

std::string line(const MpirunRequest& request) { return shell_line(mpirun_command(request).argv); }

template <typename Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::config);
    return error.message();
  }
  return "nothing was thrown";
}

TEST(MpirunCommand, OneHost) {
  EXPECT_EQ(line(four_ranks()),
            "/usr/bin/mpirun -n 4 --bind-to none --enable-recovery --mca pml ob1 "
            "--mca btl self,tcp --mca btl_tcp_if_include lo /opt/bin/sheaf rank /home/me/job.toml");
}

TEST(MpirunCommand, RootAndFewCoresAndEverythingFromTheConfig) {
  MpirunRequest request = four_ranks();
  request.root = true;
  request.placement = {.one_host = false, .slots = 3};
  request.hostfile = "hosts";
  request.interface = "10.0.0.0/24";
  request.mpirun_args = {"--map-by", "node"};
  request.forwarded = {"SHEAF_KEY"};
  request.overrides = {"run.epochs=2", "run.name=my job"};
  EXPECT_EQ(line(request),
            "/usr/bin/mpirun -n 4 --hostfile hosts --allow-run-as-root --oversubscribe "
            "--bind-to none --enable-recovery --mca pml ob1 --mca btl self,tcp "
            "--mca btl_tcp_if_include 10.0.0.0/24 -x SHEAF_KEY --map-by node "
            "/opt/bin/sheaf rank /home/me/job.toml run.epochs=2 'run.name=my job'");
}

TEST(MpirunCommand, EachAddedFlagStandsInTheLineWithItsReason) {
  MpirunRequest request = four_ranks();
  request.placement.slots = 2;
  const MpirunCommand command = mpirun_command(request);
  const std::string text = shell_line(command.argv);
  for (const MpirunFlag& flag : command.added) {
    EXPECT_THAT(text, HasSubstr(" " + shell_line(flag.words) + " "));
    EXPECT_FALSE(flag.why.empty());
  }
  EXPECT_THAT(command.added,
              Contains(testing::Field(&MpirunFlag::why, "4 ranks share 2 cores or slots")));
}

TEST(MpirunCommand, WhereTheSlotsAreUnknownMpirunDecides) {
  MpirunRequest request = four_ranks();
  request.placement = {.one_host = false, .slots = std::nullopt};
  EXPECT_THAT(line(request), Not(HasSubstr("--oversubscribe")));
}

TEST(MpirunCommand, RanksGoToTheHostsInTurnUnlessTheUserMapsThem) {
  MpirunRequest request = four_ranks();
  request.placement = {.one_host = false, .slots = 4};
  EXPECT_THAT(line(request), HasSubstr(" --map-by node "));
  for (const std::vector<std::string>& own : {std::vector<std::string>{"-bynode"},
                                              {"--map-by", "slot"},
                                              {"--npernode", "2"},
                                              {"-N", "2"},
                                              {"--mca", "rmaps_base_mapping_policy", "slot"}}) {
    request.mpirun_args = own;
    EXPECT_THAT(line(request), Not(HasSubstr("--map-by node"))) << own[0];
  }
  request.mpirun_args = {};
  request.placement.one_host = true;
  EXPECT_THAT(line(request), Not(HasSubstr("--map-by")));
}

TEST(MpirunCommand, TheUsersOwnFlagReplacesOurs) {
  MpirunRequest request = four_ranks();
  request.mpirun_args = {"-bind-to", "core", "--mca", "btl", "self,sm"};
  const std::string text = line(request);
  EXPECT_THAT(text, Not(HasSubstr("--bind-to none")));
  EXPECT_THAT(text, Not(HasSubstr("self,tcp")));
  EXPECT_THAT(text, HasSubstr("--mca pml ob1"));
  EXPECT_THAT(text, HasSubstr("-bind-to core --mca btl self,sm"));
}

TEST(MpirunCommand, OpenMpi5OnSeveralHostsJudgesReachabilityByAddress) {
  MpirunRequest request = four_ranks();
  request.placement = {.one_host = false, .slots = 4};
  EXPECT_THAT(line(request), Not(HasSubstr("opal_reachable")));
  request.open_mpi_major = 5;
  EXPECT_THAT(line(request), HasSubstr("--mca opal_reachable weighted"));
}

// The machine's own mpirun, three processes on any number of cores, /bin/true for the program.
TEST(MpirunCommand, AnInstalledMpirunTakesTheLine) {
  const char* path = std::getenv("PATH");
  MpirunRequest request = four_ranks();
  try {
    request.mpirun = find_mpirun(path ? path : "");
  } catch (const Error&) {
    GTEST_SKIP() << "no mpirun in PATH";
  }
  request.open_mpi_major =
      open_mpi_major(output_of({request.mpirun.string(), "--version"}, kDeadline));
  request.ranks = 3;
  request.root = geteuid() == 0;
  request.placement = find_placement({}, {}, no_environment);
  request.forwarded = {"PATH"};
  request.program = "/bin/true";
  EXPECT_EQ(output_of(mpirun_command(request).argv, kDeadline), "");
}

TEST(FindMpirun, TakesTheFirstExecutableOfThePath) {
  const TemporaryFolder folder;
  for (const char* name : {"plain", "first", "second", "folder"}) {
    std::filesystem::create_directory(folder.path() / name);
  }
  std::ofstream(folder.path() / "plain" / "mpirun") << "no program";
  std::filesystem::create_directory(folder.path() / "folder" / "mpirun");
  for (const char* name : {"first", "second"}) {
    const auto file = folder.path() / name / "mpirun";
    std::ofstream(file) << "#!/bin/sh\n";
    std::filesystem::permissions(file, std::filesystem::perms::owner_all);
  }
  const std::string at = folder.path().string();
  EXPECT_EQ(find_mpirun(":/nowhere:" + at + "/plain:" + at + "/folder:" + at + "/first:" + at +
                        "/second"),
            folder.path() / "first" / "mpirun");
}

TEST(FindMpirun, WithoutOneTheMessageSaysWhatToDo) {
  for (const char* path : {"", ":", "/nowhere", "relative/bin"}) {
    EXPECT_EQ(message_of([&] { find_mpirun(path); }),
              "mpirun was not found in PATH; install openmpi-bin or set PATH");
  }
}

TEST(OpenMpiMajor, IsReadFromTheVersionText) {
  EXPECT_EQ(open_mpi_major(kVersion4), 4);
  EXPECT_EQ(open_mpi_major(kVersion5), 5);
}

TEST(OpenMpiMajor, AnotherMpiIsRefused) {
  for (const char* text : {"HYDRA build details:\n    Version: 4.0.2\n",
                           "mpirun (Open MPI) 3.1.3\n", "mpirun (Open MPI) \n", ""}) {
    EXPECT_THAT(message_of([&] { open_mpi_major(text); }),
                HasSubstr("expected Open MPI 4 or later"));
  }
}

class PlacementTest : public testing::Test {
 protected:
  std::filesystem::path hostfile(const std::string& text) {
    std::ofstream(folder_.path() / "hosts") << text;
    return folder_.path() / "hosts";
  }
  TemporaryFolder folder_;
};

TEST_F(PlacementTest, WithoutHostsItIsThisHostWithItsCores) {
  const Placement placement = find_placement({}, {}, no_environment);
  EXPECT_TRUE(placement.one_host);
  ASSERT_TRUE(placement.slots);
  EXPECT_GE(*placement.slots, 1u);
  EXPECT_LE(*placement.slots, static_cast<std::uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
}

TEST_F(PlacementTest, SlotsOfAHostfileAreAdded) {
  const auto file = hostfile("# two nodes\nn1 slots=4\n\n  n2 max-slots=8 slots=2  # small\n");
  const Placement placement = find_placement(file, {}, no_environment);
  EXPECT_FALSE(placement.one_host);
  EXPECT_EQ(placement.slots, 6u);
}

TEST_F(PlacementTest, AHostWithoutSlotsLeavesThemUnknown) {
  EXPECT_EQ(find_placement(hostfile("n1 slots=4\nn2\n"), {}, no_environment).slots, std::nullopt);
  EXPECT_EQ(find_placement(hostfile("n1 slots=many\n"), {}, no_environment).slots, std::nullopt);
}

TEST_F(PlacementTest, AMissingHostfileIsAnError) {
  EXPECT_THAT(message_of([&] { find_placement(folder_.path() / "none", {}, no_environment); }),
              HasSubstr("launch.hostfile: cannot read"));
}

TEST_F(PlacementTest, HostsAmongTheArgumentsOrFromABatchSystemAreNotThisHostAlone) {
  for (const char* flag : {"-H", "--host", "-host", "--hostfile", "-machinefile"}) {
    const std::vector<std::string> arguments = {flag, "n1"};
    EXPECT_FALSE(find_placement({}, arguments, no_environment).one_host) << flag;
  }
  const auto slurm = [](const char* name) {
    return std::string_view(name) == "SLURM_JOB_ID" ? "7" : nullptr;
  };
  EXPECT_FALSE(find_placement({}, {}, slurm).one_host);
}

// The shell itself is the second implementation: it must read the same words.
TEST(ShellLine, AShellReadsTheSameWords) {
  const std::vector<std::string> words = {
      "plain-word_1.2/x=y", "",  "two words", "it's", "$HOME", "a\"b\\c",
      "new\nline",          "*", "~",         ";",    "'"};
  std::string expected;
  for (const std::string& word : words) expected += word + "|";
  EXPECT_EQ(output_of({"/bin/sh", "-c", "printf '%s|' " + shell_line(words)}, kDeadline), expected);
}

TEST(ShellLine, PlainWordsStayPlain) {
  const std::vector<std::string> words = {"mpirun", "--mca", "btl", "self,tcp", "a=b"};
  EXPECT_EQ(shell_line(words), "mpirun --mca btl self,tcp a=b");
}

}  // namespace
}  // namespace sheaf::launcher
