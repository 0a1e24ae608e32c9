// Ways to start a job do not show in its model: under `sheaf train`, by hand under mpirun, and
// without MPI (tests/process goes through all numbers of processes).
#include <gtest/gtest.h>

#include "tests/harness/job.h"
#include "tests/harness/places.h"

namespace sheaf::harness {
namespace {

void make_small(Job& job) { job.tables["run"] += "partitions = 8\nsteps = 60\n"; }

std::string model_of(const Job& job, const Command& command) {
  Running running(job, command);
  EXPECT_EQ(running.wait(Limit(30'000)), 0) << running.errors();
  const nlohmann::json result = running.result();
  return result.is_object() ? result["model_sha256"].get<std::string>() : "no result";
}

std::string trained(unsigned servers, unsigned workers, bool mpirun) {
  Job job;
  job.mpirun = mpirun;
  job.set_size(servers, workers);
  make_small(job);
  return model_of(job, job.train());
}

TEST(SameBits, ForEveryWayToStart) {
  const std::string model = trained(2, 2, false);
  EXPECT_EQ(trained(2, 2, true), model);
  EXPECT_EQ(trained(1, 3, true), model);

  Job job;
  job.mpirun = true;
  make_small(job);
  Command by_hand = job.command({});
  by_hand.argv = {"/usr/bin/env",
                  "mpirun",
                  "-n",
                  "4",
                  "--oversubscribe",
                  "--allow-run-as-root",
                  "--mca",
                  "btl",
                  "self,tcp",
                  "--mca",
                  "btl_tcp_if_include",
                  "lo",
                  test_program(),
                  "rank",
                  job.write_job(),
                  "run.dir=" + job.run().string()};
  EXPECT_EQ(model_of(job, by_hand), model);
}

}  // namespace
}  // namespace sheaf::harness
