#include "launcher/run/run_directory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "common/base/error.h"
#include "launcher/run/run_json.h"
#include "tests/harness/full_disk.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::launcher {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr ProcessId kWorker1{Role::worker, 1};
const WallTime kNow{std::chrono::milliseconds(1700000000250)};

// A run directory, and the warnings that it gave.
struct OpenRun {
  explicit OpenRun(const std::filesystem::path& path)
      : directory(path, [this](std::string_view text) { warnings.emplace_back(text); }) {}
  std::vector<std::string> warnings;
  RunDirectory directory;
};

std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename());
  }
  return names;
}

std::set<std::string> keys_of(const json& object) {
  std::set<std::string> keys;
  for (const auto& [key, value] : object.items()) keys.insert(key);
  return keys;
}

Error refusal_of(const std::filesystem::path& path) {
  try {
    const RunDirectory directory(path, {});
  } catch (const Error& error) {
    return error;
  }
  return {Fault::internal, "accepted", std::source_location::current()};
}

metrics::Evaluation two_class_evaluation() {
  metrics::Evaluation evaluation;
  evaluation.examples = 4;
  evaluation.loss = 0.25;
  evaluation.classification =
      metrics::ClassificationFigures{.accuracy = 0.75,
                                     .macro_precision = 0.8,
                                     .macro_recall = 0.7,
                                     .macro_f1 = 0.6,
                                     .roc_auc = 0.9,
                                     .classes = {{0.5, 1, 0.625, 1, 2}, {1, 0.5, 0.75, 3, 2}},
                                     .confusion = {1, 0, 1, 2}};
  return evaluation;
}

TEST(RunDirectory, NewDirectoryHasItsFolders) {
  const TemporaryFolder folder;
  const OpenRun run(folder / "runs/a");
  EXPECT_THAT(names_in(folder / "runs/a"), UnorderedElementsAre("logs", "checkpoints"));
  EXPECT_THAT(names_in(run.directory.checkpoints()), IsEmpty());
}

TEST(RunDirectory, EmptyDirectoryIsTaken) {
  const TemporaryFolder folder;
  EXPECT_EQ(OpenRun(folder.path()).directory.path(), folder.path());
}

TEST(RunDirectory, DirectoryThatIsNotEmptyIsRefused) {
  const TemporaryFolder folder;
  std::ofstream(folder / "something");
  const Error error = refusal_of(folder.path());
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_THAT(error.message(), AllOf(HasSubstr(folder.path().string()), HasSubstr("not empty")));
  EXPECT_THAT(names_in(folder.path()), ElementsAre("something")) << "nothing was touched";
}

TEST(RunDirectory, FileInItsPlaceIsRefused) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file");
  for (const char* path : {"file", "file/run"}) {
    const Error error = refusal_of(folder / path);
    EXPECT_EQ(error.fault(), Fault::config);
    EXPECT_THAT(error.message(),
                AllOf(HasSubstr((folder / path).string()), HasSubstr("Not a directory")));
  }
}

TEST(RunDirectory, UnwritablePlaceIsRefusedWithItsReason) {
  // /proc refuses new folders to everybody, root included.
  const Error error = refusal_of("/proc/sheaf-run");
  EXPECT_EQ(error.fault(), Fault::config);
  EXPECT_THAT(error.message(),
              AllOf(HasSubstr("/proc/sheaf-run"), HasSubstr("No such file or directory")));
}

TEST(RunDirectory, MissingPermissionIsRefusedWithItsReason) {
  if (::geteuid() == 0) GTEST_SKIP() << "root may write anywhere";
  const TemporaryFolder folder;
  ::chmod(folder.path().c_str(), 0500);
  EXPECT_THAT(refusal_of(folder / "run").message(), HasSubstr("Permission denied"));
}

TEST(RunDirectory, ConfigIsKeptAsGiven) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  run.directory.write_config("[run]\nname = \"demo\"\n");
  EXPECT_EQ(contents_of(folder / "config.toml"), "[run]\nname = \"demo\"\n");
}

TEST(RunDirectory, ControlFileIsForItsOwnerAlone) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  const std::vector<std::byte> key = {std::byte{0x00}, std::byte{0xff}, std::byte{0x1a}};
  const mode_t before = ::umask(0);
  run.directory.write_control({"demo-1", "127.0.0.1", 20001, "ab12", "auto", key, 812, 4711});
  ::umask(before);
  EXPECT_EQ(json::parse(contents_of(folder / "control.json")),
            (json{{"job", "demo-1"},
                  {"address", "127.0.0.1"},
                  {"port", 20001},
                  {"config_sha256", "ab12"},
                  {"encryption", "auto"},
                  {"key", "00ff1a"},
                  {"launcher", {{"pid", 812}, {"started", 4711}}}}));
  struct stat status{};
  ASSERT_EQ(::stat((folder / "control.json").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777U, 0600U);
}

TEST(RunDirectory, ProcessesHaveOneRowEachOfTheNewestIncarnation) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  const ProcessRow server{{Role::server, 0},    10, 99, "h1", 1, "10.0.0.1", {20000, 20001},
                          ProcessState::running};
  ProcessRow worker{kWorker1, 11, 100, "h2", 2, "", {}, ProcessState::starting};
  run.directory.update_processes(std::vector{worker, server});
  worker.state = ProcessState::dead;
  worker.incarnation = 1;  // late news of a predecessor
  run.directory.update_processes(std::span(&worker, 1));
  const json expected = {{"processes",
                          {{{"role", "server"},
                            {"id", 0},
                            {"pid", 10},
                            {"started", 99},
                            {"host", "h1"},
                            {"incarnation", 1},
                            {"address", "10.0.0.1"},
                            {"ports", {20000, 20001}},
                            {"state", "running"}},
                           {{"role", "worker"},
                            {"id", 1},
                            {"pid", 11},
                            {"started", 100},
                            {"host", "h2"},
                            {"incarnation", 2},
                            {"address", ""},
                            {"ports", json::array()},
                            {"state", "starting"}}}}};
  EXPECT_EQ(json::parse(contents_of(folder / "processes.json")), expected);
  EXPECT_FALSE(std::filesystem::exists(folder / "processes.json.tmp"));
}

// Another supervisor reads them, and has nothing new to say of a process before that comes back.
TEST(RunDirectory, WhoTakesOverKnowsTheProcessesAndTheRows) {
  const TemporaryFolder folder;
  const ProcessRow worker{kWorker1, 11, 100, "h2", 2, "10.0.0.2", {7}, ProcessState::running};
  MetricRow row;
  row.rate = 0.1;
  {
    OpenRun run(folder.path());
    run.directory.update_processes(std::span(&worker, 1));
    for (const std::uint64_t step : {20U, 40U}) {
      row.step = step;
      run.directory.append_metrics(row, {});
    }
    row.split = "validation";
    row.rate.reset();
    run.directory.append_metrics(row, {});
    row.step = 60;
    row.split = "train";  // an evaluation of the whole part: its rows have no rate
    run.directory.append_metrics(row, {});
  }
  const std::string before = contents_of(folder / "processes.json");
  const auto known = parse_processes(before);
  ASSERT_EQ(known.size(), 1);
  EXPECT_EQ(known[0].process, kWorker1);
  EXPECT_EQ(known[0].pid, 11);
  EXPECT_EQ(known[0].started, 100);
  EXPECT_EQ(known[0].host, "h2");
  EXPECT_EQ(known[0].incarnation, 2);
  EXPECT_EQ(known[0].address, "10.0.0.2");
  EXPECT_EQ(known[0].ports, std::vector<std::uint16_t>{7});
  EXPECT_EQ(parse_processes("no JSON").size(), 0);

  RunDirectory attached(folder.path(), {}, Beginning::attached);
  const KnownMetrics metrics = attached.known_metrics();
  EXPECT_EQ(metrics.trained, 40);
  EXPECT_EQ(metrics.evaluated,
            (std::set<std::pair<std::string, std::uint64_t>>{{"validation", 40}, {"train", 60}}));
  const ProcessRow absent{kWorker1, 0, 0, "", 2, "", {}, ProcessState::starting};
  attached.update_processes(std::span(&absent, 1));
  EXPECT_EQ(contents_of(folder / "processes.json"), before);
}

// Until the successor is there somebody may have to know whom it follows; also a record that begins
// without knowing keeps it.
TEST(RunDirectory, AnAwaitedProcessIsKnownWithTheOneThatItFollows) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  const auto update = [&](const ProcessRow& row) {
    run.directory.update_processes(std::span(&row, 1));
    return parse_processes(contents_of(folder / "processes.json")).at(0);
  };
  ProcessRow awaited{kWorker1, 0, 0, "", 2, "", {}, ProcessState::starting, {11, 100, "h2"}};
  const ProcessRow known = update(awaited);
  EXPECT_EQ(known.pid, 0);
  EXPECT_EQ(known.follows.pid, 11);
  EXPECT_EQ(known.follows.started, 100);
  EXPECT_EQ(known.follows.host, "h2");
  awaited.follows = {};
  EXPECT_EQ(update(awaited).follows.pid, 11);
  const ProcessRow there{kWorker1, 12, 101, "h2", 2, "", {}, ProcessState::running};
  EXPECT_EQ(update(there).pid, 12);
  EXPECT_EQ(update(there).follows.pid, 0);
}

TEST(RunDirectory, ReadersNeverSeeAPartOfAReplacedFile) {
  // A reader that opened the old file still reads all of it: replaced means renamed over, not
  // rewritten in place.
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  const ProcessRow row{kWorker1, 11, 100, "h2", 1, "", {}, ProcessState::starting};
  run.directory.update_processes(std::span(&row, 1));
  const std::string before = contents_of(folder / "processes.json");
  std::ifstream reader(folder / "processes.json");
  const ProcessRow other{{Role::server, 0}, 10, 99, "h1", 1, "", {}, ProcessState::running};
  run.directory.update_processes(std::span(&other, 1));
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(reader), {}), before);
  EXPECT_NE(contents_of(folder / "processes.json"), before);
}

TEST(RunDirectory, MetricsAreOneObjectALineWithStableKeys) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  MetricRow row;
  row.step = 20;
  row.epoch = 1;
  row.loss = 0.1;
  row.rate = 1e-3;
  row.examples_per_s = 1234.5;
  row.push_bytes = 10;
  row.pull_bytes = 20;
  run.directory.append_metrics(row, kNow);
  EXPECT_THAT(lines_of(folder / "metrics.jsonl"),
              ElementsAre(R"({"time":1700000000.25,"step":20,"epoch":1,"split":"train","loss":0.1,)"
                          R"("rate":0.001,"examples_per_s":1234.5,"push_bytes":10,)"
                          R"("pull_bytes":20,"epsilon":null})"));
  row.split = "validation";
  row.loss = std::numeric_limits<double>::quiet_NaN();
  row.metrics = {{"accuracy", 0.5}};
  run.directory.append_metrics(row, kNow);
  const auto lines = lines_of(folder / "metrics.jsonl");
  ASSERT_THAT(lines, SizeIs(2));
  const json second = json::parse(lines[1]);
  EXPECT_TRUE(second.at("loss").is_null());
  EXPECT_EQ(second.at("accuracy"), 0.5);
}

TEST(RunDirectory, LossKeepsItsBitsInTheFile) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  MetricRow row;
  row.loss = 0.1 + 0.2;  // 0.30000000000000004
  run.directory.append_metrics(row, kNow);
  EXPECT_EQ(json::parse(contents_of(folder / "metrics.jsonl")).at("loss").get<double>(), 0.1 + 0.2);
}

TEST(RunDirectory, LogsGrowLineByLine) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  run.directory.append_log(kWorker1, "first");
  run.directory.append_log({Role::coordinator, 0}, "other");
  run.directory.append_log(kWorker1, "second\n");
  EXPECT_THAT(lines_of(folder / "logs/worker-1.log"), ElementsAre("first", "second"));
  EXPECT_THAT(lines_of(folder / "logs/coordinator-0.log"), ElementsAre("other"));
}

TEST(RunDirectory, FullDeviceDropsRowsWithOneWarning) {
  // Every write to /dev/full fails with ENOSPC.
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  std::filesystem::create_symlink("/dev/full", folder / "metrics.jsonl");
  std::filesystem::create_symlink("/dev/full", folder / "logs/worker-1.log");
  run.directory.append_metrics({}, kNow);
  run.directory.append_metrics({}, kNow);
  run.directory.append_log(kWorker1, "text");
  EXPECT_EQ(run.directory.dropped_rows(), 3U);
  EXPECT_THAT(run.warnings, ElementsAre(AllOf(HasSubstr((folder / "metrics.jsonl").string()),
                                              HasSubstr("No space left on device"),
                                              HasSubstr("the job goes on"))));
}

TEST(RunDirectory, RowThatFitsInPartLeavesNoTornLine) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  run.directory.append_metrics({}, kNow);
  const std::string before = contents_of(folder / "metrics.jsonl");
  {
    const FileSizeLimit limit(before.size() + 10);
    run.directory.append_metrics({}, kNow);
  }
  EXPECT_EQ(run.directory.dropped_rows(), 1U);
  EXPECT_EQ(contents_of(folder / "metrics.jsonl"), before);
  run.directory.append_metrics({}, kNow);
  EXPECT_EQ(contents_of(folder / "metrics.jsonl"), before + before) << "there is room again";
}

TEST(RunDirectory, FullVolumeStopsNoJobButNoResultIsAnError) {
  const TemporaryFolder folder;
  const TinyVolume volume(folder.path(), 128 << 10);
  if (!volume.mounted()) GTEST_SKIP() << "needs the right to mount a tmpfs";
  OpenRun run(folder / "run");
  volume.fill(0);
  const ProcessRow row{kWorker1, 11, 100, "h2", 1, "", {}, ProcessState::running};
  run.directory.append_metrics({}, kNow);
  run.directory.append_log(kWorker1, "text");
  run.directory.update_processes(std::span(&row, 1));
  EXPECT_EQ(run.directory.dropped_rows(), 2U);
  EXPECT_THAT(run.warnings, SizeIs(1));
  try {
    run.directory.write_result({});
    ADD_FAILURE() << "a result was written to a full volume";
  } catch (const Error& error) {
    EXPECT_EQ(error.fault(), Fault::data);
    EXPECT_THAT(error.message(), AllOf(HasSubstr((folder / "run/result.json").string()),
                                       HasSubstr("needs "), HasSubstr(" 0 bytes are free")));
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "run/result.json"));
  EXPECT_FALSE(std::filesystem::exists(folder / "run/result.json.tmp"));
  volume.empty();
  run.directory.write_result({});
  EXPECT_EQ(json::parse(contents_of(folder / "run/result.json")).at("exit"), 0);
}

TEST(RunDirectory, ResultHasEveryKeyOfTheContractEvenWithNothingKnown) {
  const json result = json::parse(result_json({}));
  EXPECT_EQ(keys_of(result),
            (std::set<std::string>{"job",         "exit",           "seed",       "config_sha256",
                                   "build",       "servers",        "workers",    "partitions",
                                   "parameters",  "steps",          "epochs",     "seconds",
                                   "cpu_seconds", "peak_rss_bytes", "train",      "validation",
                                   "test",        "throughput",     "traffic",    "model_sha256",
                                   "bit_exact",   "transport",      "encryption", "faults",
                                   "checkpoint",  "acknowledged"}));
  EXPECT_TRUE(result.at("model_sha256").is_null());
  for (const char* part : {"train", "validation", "test"}) {
    EXPECT_EQ(result.at(part), (json{{"loss", nullptr}}));
  }
  EXPECT_EQ(keys_of(result.at("traffic")),
            (std::set<std::string>{"push_bytes", "pull_bytes", "push_bytes_raw", "pull_bytes_raw",
                                   "seconds"}));
  EXPECT_EQ(keys_of(result.at("faults")),
            (std::set<std::string>{"restarts", "replacements", "duplicates_dropped",
                                   "rolled_back_steps", "recovery_seconds", "failed_checkpoints",
                                   "dropped_rows", "skipped_steps", "rejected_pushes",
                                   "dropped_pushes", "lost_residuals", "stood_in"}));
}

// A job that goes on from a step says of it again what it has evaluated there.
TEST(RunDirectory, GoesBackToAStep) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  for (const std::uint64_t step : {20U, 40U, 60U}) {
    MetricRow row;
    row.step = step;
    run.directory.append_metrics(row, {});
    row.split = "validation";
    run.directory.append_metrics(row, {});
  }
  run.directory.go_back_to(40);
  std::ifstream rows(run.directory.path() / "metrics.jsonl");
  std::vector<std::string> left;
  for (std::string line; std::getline(rows, line);) {
    const json row = json::parse(line);
    left.push_back(
        fmt::format("{} {}", row.at("step").get<int>(), row.at("split").get<std::string>()));
  }
  EXPECT_EQ(left, (std::vector<std::string>{"20 train", "20 validation", "40 train"}));
}

TEST(RunDirectory, ResultIsReadBackAsItWasGiven) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  RunResult result;
  result.job = "demo";
  result.exit = 4;
  result.seed = std::numeric_limits<std::uint64_t>::max();
  result.steps = 120;
  result.seconds = 1.5;
  result.examples_per_s = 2000.5;
  result.test = two_class_evaluation();
  result.traffic = {{1, 2, 3, 4}};
  result.model_sha256 = "abc";
  result.bit_exact = true;
  privacy::LedgerTerms terms;
  terms.where = privacy::NoisePlace::local;
  terms.noise = 2;
  terms.delta = 1e-5;
  result.privacy = PrivacyStatement{
      .terms = terms,
      .spent = {.epsilon = {2.5, 1e-9, "contour", {}}, .account = 3, .steps = 100, .releases = 101},
      .vs_model = 2.5,
      .vs_server = {},
      .vs_link = 2.5,
      .keys = {"workers"},
      .not_protected = {"the same user on the same host"}};
  result.error = RunError{3, "worker 1", "h2", "step 120", "gone \xff"};
  run.directory.write_result(result);
  const json read = json::parse(contents_of(folder / "result.json"));
  EXPECT_EQ(read.at("exit"), 4);
  EXPECT_EQ(read.at("seed"), std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(read.at("throughput").at("examples_per_s"), 2000.5);
  EXPECT_EQ(read.at("traffic").at("pull_bytes_raw"), 4);
  EXPECT_EQ(read.at("bit_exact"), true);
  const json& privacy = read.at("privacy");
  EXPECT_EQ(privacy.at("epsilon"), 2.5);
  EXPECT_EQ(privacy.at("delta"), 1e-5);
  EXPECT_EQ(privacy.at("releases"), 101);
  EXPECT_EQ(privacy.at("partition"), 3);
  EXPECT_EQ(privacy.at("epsilon_vs"), (json{{"model", 2.5}, {"server", nullptr}, {"link", 2.5}}));
  EXPECT_EQ(privacy.at("not_protected"), json({"the same user on the same host"}));
  EXPECT_EQ(read.at("error"), (json{{"rank", 3},
                                    {"process", "worker 1"},
                                    {"host", "h2"},
                                    {"phase", "step 120"},
                                    {"text", "gone \xef\xbf\xbd"}}))
      << "bytes that are no UTF-8 are replaced";
  const json& test = read.at("test");
  EXPECT_EQ(test.at("loss"), 0.25);
  EXPECT_EQ(test.at("accuracy"), 0.75);
  EXPECT_EQ(test.at("roc_auc"), 0.9);
  EXPECT_EQ(test.at("examples"), 4);
  EXPECT_EQ(test.at("confusion"), (json{{1, 0}, {1, 2}}));
  EXPECT_EQ(test.at("classes").at(1),
            (json{{"precision", 1.0}, {"recall", 0.5}, {"f1", 0.75}, {"support", 3}}));
}

TEST(RunDirectory, ResultIsWrittenOnce) {
  const TemporaryFolder folder;
  OpenRun run(folder.path());
  run.directory.write_result({});
  EXPECT_THROW(run.directory.write_result({}), Error);
  EXPECT_THAT(names_in(folder.path()), UnorderedElementsAre("logs", "checkpoints", "result.json"));
}

}  // namespace
}  // namespace sheaf::launcher
