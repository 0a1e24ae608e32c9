// Jobs whose ranks share the memory of this host, as processes.
#include <gmock/gmock.h>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

nlohmann::json result_over(const std::string& transport, unsigned workers) {
  Job job;
  job.set_size(2, workers);
  job.tables["run"] += "partitions = 5\nsteps = 30\n";
  job.tables["network"] = "lanes = 2\ntransport = \"" + transport + "\"\n";
  Running running(job);
  EXPECT_EQ(running.wait(patience(Limit(30'000))), 0) << running.errors();
  return running.result();
}

TEST(SharedMemory, IsChosenByItselfAndGivesTheBitsOfTcp) {
  for (const unsigned workers : {1U, 3U}) {
    const auto tcp = result_over("tcp", workers);
    const auto shm = result_over("auto", workers);
    EXPECT_EQ(tcp["transport"], "tcp");
    EXPECT_EQ(shm["transport"], "shm");
    EXPECT_EQ(tcp["model_sha256"], shm["model_sha256"]);
    for (const char* bytes : {"push_bytes", "pull_bytes"}) {  // as it would be on TCP
      EXPECT_EQ(tcp["traffic"][bytes], shm["traffic"][bytes]);
    }
  }
}

// The benchmark's own arithmetic, on an exchange so small that it takes little time.
TEST(SharedMemory, BenchExchangeVerifiesItsSums) {
  for (const char* workers : {"1", "3"}) {
    Job job;
    job.environment["PATH"] = "";  // without mpirun, one floor is missing
    const Command command =
        job.command({"bench", "exchange", "--mib", "1", "--chunk-kib", "16", "--workers", workers,
                     "--servers", "2", "--lanes", "2", "--repeat", "2", "--json"});
    Running running(job, command);
    ASSERT_EQ(running.wait(patience(Limit(60'000))), 0) << running.errors();
    const auto json = nlohmann::json::parse(running.output());
    for (const char* transport : {"tcp", "shm"}) {
      const auto& figures = json[transport];
      EXPECT_TRUE(figures["verified"]) << transport;
      for (const char* key : {"push_GBps", "pull_GBps", "pushpull_GBps", "total_pushpull_GBps",
                              "update_ms", "server_cpu_s_per_GB"}) {
        EXPECT_GT(figures[key].get<double>(), 0) << transport << " " << key;
      }
      EXPECT_LE(figures["rtt_us"]["p50"], figures["rtt_us"]["p99"]);
      EXPECT_NEAR(figures["total_pushpull_GBps"].get<double>(),
                  figures["pushpull_GBps"].get<double>() * std::stod(workers), 1e-9);
    }
    for (const char* floor :
         {"socket_push_GBps", "socket_pull_GBps", "two_sender_GBps", "pingpong_us",
          "memory_add_GBps", "memory_read_GBps", "memcpy_GBps"}) {
      EXPECT_GT(json["floors"][floor].get<double>(), 0) << floor;
    }
    EXPECT_TRUE(json["floors"]["allreduce_ms"].is_null());
    EXPECT_NEAR(
        json["shm_over_tcp"].get<double>(),
        json["shm"]["pushpull_GBps"].get<double>() / json["tcp"]["pushpull_GBps"].get<double>(),
        1e-9);
  }
}

}  // namespace
}  // namespace sheaf::harness
