// Whoever does not know the job key is refused and counted, and changes nothing: the job goes on
// and comes to the very same model.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;

constexpr Limit kHandshake(2500);  // timeouts.suspect of the job

void make_finite(Job& job) { job.tables["run"] += "steps = 20000\n"; }

std::string undisturbed_model() {
  Job job;
  make_finite(job);
  Running running(job);
  EXPECT_EQ(running.wait(patience(Limit(30'000))), 0) << running.errors();
  return running.result()["model_sha256"];
}

void expect_the_same_model(Running& running) {
  ASSERT_EQ(running.wait(patience(Limit(30'000))), 0) << running.errors();
  EXPECT_EQ(running.result()["model_sha256"], undisturbed_model());
}

// What port scanners, browsers and broken peers send: each is closed before it could mean anything.
std::vector<std::string> garbage() {
  return {"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" + std::string(64, ' '),
          std::string(4096, '\xff'), std::string(4096, '\0'), "SHF" + std::string(1 << 20, 'x')};
}

// While one worker stands still, so does the step: what happens now happens during training.
class Pause {
 public:
  explicit Pause(const Running& running) : running_(running) {
    running.signal("worker", 1, SIGSTOP);
  }
  ~Pause() { running_.signal("worker", 1, SIGCONT); }
  Pause(const Pause&) = delete;
  Pause& operator=(const Pause&) = delete;

 private:
  const Running& running_;
};

TEST(Faults, GarbageOnAServersPortIsRefusedAndTheJobGoesOn) {
  Job job;
  make_finite(job);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  {
    const Pause pause(running);
    for (unsigned id = 0; id < 2; ++id) {
      const nlohmann::json server = running.rank("server", id);
      for (const std::string& bytes : garbage()) {
        const Stranger stranger(server["address"], server["ports"][0]);
        stranger.say(bytes);
        EXPECT_TRUE(stranger.is_closed_within(Limit(1000)));
      }
    }
  }
  expect_the_same_model(running);
  EXPECT_THAT(running.errors(), HasSubstr("server 0@"));
  EXPECT_THAT(running.errors(), HasSubstr("refused a connection to lane 0: 127.0.0.1:"));
  EXPECT_THAT(running.errors(), HasSubstr("does not speak our protocol (x1)"));
  EXPECT_THAT(running.file("logs/server-1.log"), HasSubstr("(x4)"));
}

TEST(Faults, GarbageOnTheCoordinatorsPortIsRefusedAndTheJobGoesOn) {
  Job job;
  make_finite(job);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const auto control = nlohmann::json::parse(running.file("control.json"));
  {
    const Pause pause(running);
    for (const std::string& bytes : garbage()) {
      const Stranger stranger(control["address"], control["port"]);
      stranger.say(bytes);
      EXPECT_TRUE(stranger.is_closed_within(Limit(1000)));
    }
  }
  expect_the_same_model(running);
  EXPECT_THAT(running.errors(), HasSubstr("refused a connection to the coordinator: 127.0.0.1:"));
  EXPECT_THAT(running.errors(), HasSubstr("(x4)"));
}

TEST(Faults, StrangersWhoSayNothingAreDroppedAndTheJobGoesOn) {
  Job job;
  make_finite(job);
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const auto control = nlohmann::json::parse(running.file("control.json"));
  const nlohmann::json server = running.rank("server", 0);
  std::vector<Stranger> strangers;
  {
    const Pause pause(running);
    for (int i = 0; i < 100; ++i) {  // more than may be in their handshake at once
      strangers.emplace_back(control["address"], control["port"]);
      strangers.emplace_back(server["address"], server["ports"][0]);
    }
  }
  expect_the_same_model(running);
  for (const Stranger& stranger : strangers) EXPECT_TRUE(stranger.is_closed_within(kHandshake));
}

// Nobody waits for ever for the rest of a handshake.
TEST(Faults, AHandshakeThatStopsHalfwayIsGivenUp) {
  const Job job;
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const nlohmann::json server = running.rank("server", 0);
  const Stranger silent(server["address"], server["ports"][0]);
  const Stranger slow(server["address"], server["ports"][0]);
  slow.say("SHEA");
  EXPECT_TRUE(silent.is_closed_within(kHandshake + Limit(1000)));
  EXPECT_TRUE(slow.is_closed_within(Limit(1000)));
  EXPECT_TRUE(running.wait_for_message("did not finish the handshake within 2.5 s", Limit(2000)));
  running.signal(SIGINT);
  EXPECT_EQ(running.wait(patience(Limit(3000))), 75) << running.errors();
}

}  // namespace
}  // namespace sheaf::harness
