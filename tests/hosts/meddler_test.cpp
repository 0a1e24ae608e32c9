// Somebody between two hosts of a job changes a bit of what they say: in the clear the job ends,
// says where, and has no model; encrypted it goes on, over another connection.
#include "tests/hosts/meddler.h"

#include <gmock/gmock.h>

#include <csignal>

namespace sheaf::harness {
namespace {

using testing::ContainsRegex;
using testing::IsEmpty;

constexpr Limit kStart(10'000);
constexpr Limit kEnd(3000);
constexpr std::uint16_t kPort = 20000;  // of server 1 on h2: the first of the range there

struct Row {
  const char* name;
  const char* encryption;
  Meddler::Direction direction;
  std::vector<const char*> says;
};

class MeddledJob : public testing::TestWithParam<Row> {
 protected:
  MeddledJob() {
    if (!hosts_.missing().empty()) return;
    job_.mpirun = true;
    job_.tables["launch"] = hosts_.launch();
    job_.tables["network"] =
        std::string("ports = \"20000-20005\"\nencryption = \"") + GetParam().encryption + "\"\n";
  }
  void SetUp() override {
    if (!hosts_.missing().empty()) GTEST_SKIP() << hosts_.missing();
  }
  void expect_end(Running& running, Limit limit, int code) {
    ASSERT_EQ(running.wait(limit), code) << running.errors();
    EXPECT_THAT(wait_for_descendants(kEnd), IsEmpty());
    for (const char* part : GetParam().says) EXPECT_THAT(running.errors(), ContainsRegex(part));
    const nlohmann::json result = running.result();
    EXPECT_EQ(result["exit"], code);
    EXPECT_TRUE(result["model_sha256"].is_null());
  }

  const TestHosts hosts_{2};
  Job job_;
};

std::string name_of(const testing::TestParamInfo<Row>& test) { return test.param.name; }

using MeddledTraining = MeddledJob;

TEST_P(MeddledTraining, EndsByName) {
  Meddler meddler(hosts_, 1, 2, kPort);
  Running running(job_, hosts_.on(1, job_.train()));
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  EXPECT_EQ(running.rank("worker", 0)["host"], "h1");
  EXPECT_EQ(running.rank("server", 1)["ports"][0], kPort);
  meddler.strike(GetParam().direction);
  expect_end(running, kEnd, 4);
  EXPECT_TRUE(meddler.has_struck());
}
INSTANTIATE_TEST_SUITE_P(
    All, MeddledTraining,
    testing::Values(
        Row{"PushesInTheClear",
            "none",
            Meddler::Direction::forth,
            {"Job small failed: worker 0@h1 .*frame from worker 0: .*checksum.*, noticed by server "
             "1"}},
        Row{"AnswersInTheClear",
            "none",
            Meddler::Direction::back,
            {"Job small failed: worker 0@h1 .*frame from server 1: .*checksum"}}),
    name_of);

// What was changed is refused, said, and asked for again over a new connection.
using MeddledEncryption = MeddledJob;

TEST_P(MeddledEncryption, IsSaidAndGoesOn) {
  Meddler meddler(hosts_, 1, 2, kPort);
  Running running(job_, hosts_.on(1, job_.train()));
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  meddler.strike(GetParam().direction);
  ASSERT_TRUE(running.wait_for_message("and made again after", kStart)) << running.errors();
  EXPECT_TRUE(meddler.has_struck());
  running.signal(SIGTERM);
  ASSERT_EQ(running.wait(kStart), 75) << running.errors();
  for (const char* part : GetParam().says) EXPECT_THAT(running.errors(), ContainsRegex(part));
  EXPECT_EQ(running.result()["faults"]["replacements"], 0);
  EXPECT_EQ(running.result()["faults"]["restarts"], 0);
}
INSTANTIATE_TEST_SUITE_P(
    All, MeddledEncryption,
    testing::Values(Row{"Pushes",
                        "auto",
                        Meddler::Direction::forth,
                        {"server 1@h2: lane 0: connection to worker 0: .*changed on the way",
                         "worker 0@h1: server 1, lane 0: lost .*and made again"}},
                    Row{"Answers",
                        "auto",
                        Meddler::Direction::back,
                        {"worker 0@h1: server 1, lane 0: lost .*changed on the way.*and made "
                         "again"}}),
    name_of);

using MeddledStart = MeddledJob;

TEST_P(MeddledStart, IsRefusedByName) {
  Meddler meddler(hosts_, 1, 2, kPort);
  meddler.strike(GetParam().direction);  // the first bytes there are
  Running running(job_, hosts_.on(1, job_.train()));
  expect_end(running, kStart + kEnd, 8);
  EXPECT_TRUE(meddler.has_struck());
}
INSTANTIATE_TEST_SUITE_P(
    All, MeddledStart,
    testing::Values(
        Row{"EncryptedGreeting",
            "auto",
            Meddler::Direction::forth,
            {"server 1@h2: refused a connection to lane 0: 10.77.0.254:.*cannot agree on a key",
             "Job small failed: worker 0@h1 .*server 1 at 10.77.0.2:20000: cannot agree on a key"}},
        Row{"EncryptedAnswer",
            "auto",
            Meddler::Direction::back,
            {"Job small failed: worker 0@h1 .*server 1 at 10.77.0.2:20000: cannot agree on a key"}},
        Row{"GreetingInTheClear",
            "none",
            Meddler::Direction::forth,
            {"server 1@h2: refused a connection to lane 0: 10.77.0.254:.*wrong job key",
             "Job small failed: worker 0@h1 .*server 1 at 10.77.0.2:20000 refused our job key"}}),
    name_of);

}  // namespace
}  // namespace sheaf::harness
