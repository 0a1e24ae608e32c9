// What a job that has lost ranks has used: theirs is in it, as far as they had reported it.
#include "launcher/run/job_record.h"

#include <gtest/gtest.h>

#include "tests/harness/temporary_folder.h"
#include "tests/launcher/config/job_text.h"

namespace sheaf::launcher {
namespace {

constexpr ProcessId kServer{Role::server, 0};
constexpr ProcessId kFirstWorker{Role::worker, 0}, kSecondWorker{Role::worker, 1};

RunConfig small_job(const std::filesystem::path& run) {
  const std::string directory = "run.dir=" + run.string();
  RunConfig config = RunConfig::from_text(job_with(), "job.toml", std::span(&directory, 1));
  config.require_sound();
  return config;
}

class JobRecordTest : public testing::Test {
 protected:
  JobRecordTest() {
    wire::Registration worker;
    worker.layout.add("w", {1}, {});
    worker.steps = worker.steps_per_epoch = 16;
    record_.on_start(worker, true, now_);
  }
  // So far, by one process.
  void report(ProcessId process, double cpu_seconds, const wire::Traffic& traffic) {
    record_.on_cpu_time(process, cpu_seconds);
    if (process.role == Role::worker) record_.on_losses(process, {{}, traffic}, now_);
  }
  void finish(ProcessId process, double cpu_seconds, const wire::Traffic& traffic) {
    wire::Finished report;
    report.cpu_seconds = cpu_seconds;
    report.traffic = traffic;
    record_.on_finished(process, report);
  }

  TemporaryFolder folder_;
  TimePoint now_{std::chrono::seconds(1000)};
  RunConfig config_ = small_job(folder_ / "run");
  JobRecord record_{config_, {{}, [](std::string_view) {}}};
};

TEST_F(JobRecordTest, WhatTheLostHadReportedIsInTheSums) {
  report(kServer, 1, {});
  report(kFirstWorker, 2, {10, 20, 30, 40});
  report(kSecondWorker, 4, {100, 200, 300, 400});
  report(kSecondWorker, 8, {101, 202, 303, 404});
  record_.on_lost(kSecondWorker, now_);
  record_.on_lost(kServer, now_);
  report(kSecondWorker, 0.5, {1000, 2000, 3000, 4000});  // that of the next one
  finish(kServer, 16, {});
  finish(kFirstWorker, 32, {11, 22, 33, 44});
  finish(kSecondWorker, 64, {5000, 6000, 7000, 8000});
  const RunResult& result = record_.close({}, 0);
  EXPECT_DOUBLE_EQ(result.cpu_seconds, 1 + 8 + 16 + 32 + 64);
  EXPECT_EQ(result.traffic.push_bytes, 101U + 11 + 5000);
  EXPECT_EQ(result.traffic.pull_bytes, 202U + 22 + 6000);
  EXPECT_EQ(result.traffic.push_bytes_raw, 303U + 33 + 7000);
  EXPECT_EQ(result.traffic.pull_bytes_raw, 404U + 44 + 8000);
}

// A worker that another one has taken on runs in the process of that one.
TEST_F(JobRecordTest, OneProcessOfTwoWorkersCountsOnce) {
  report(kFirstWorker, 2, {10, 20, 30, 40});
  report(kSecondWorker, 4, {1, 2, 3, 4});
  record_.on_lost(kSecondWorker, now_);
  report(kSecondWorker, 0, {5, 6, 7, 8});
  record_.on_lost(kFirstWorker, now_);
  record_.on_lost(kSecondWorker, now_);
  finish(kFirstWorker, 8, {100, 100, 100, 100});
  finish(kSecondWorker, 16, {1000, 1000, 1000, 1000});
  const RunResult& result = record_.close({}, 0);
  EXPECT_DOUBLE_EQ(result.cpu_seconds, 2 + 4 + 8 + 16);
  EXPECT_EQ(result.traffic.push_bytes, 10U + 1 + 5 + 100 + 1000);
}

// All figures of a result are those since the last start.
TEST_F(JobRecordTest, AStartOfAllRanksCountsAnew) {
  report(kFirstWorker, 2, {10, 20, 30, 40});
  record_.on_lost(kFirstWorker, now_);
  report(kSecondWorker, 4, {1, 2, 3, 4});
  record_.go_back(0, now_);
  finish(kFirstWorker, 8, {100, 200, 300, 400});
  const RunResult& result = record_.close({}, 0);
  EXPECT_DOUBLE_EQ(result.cpu_seconds, 8);
  EXPECT_EQ(result.traffic.pull_bytes, 200U);
}

}  // namespace
}  // namespace sheaf::launcher
