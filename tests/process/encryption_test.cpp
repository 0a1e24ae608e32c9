// Jobs of the real program whose connections are all encrypted, because their file asks for it.
#include <gmock/gmock.h>

#include <csignal>

#include "tests/harness/job.h"

namespace sheaf::harness {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kFinite = "steps = 300\n";

void set_encryption(Job& job, const std::string& word) {
  job.tables["network"] =
      "transport = \"tcp\"\nlanes = 2\nchunk_kib = 1\nencryption = \"" + word + "\"\n";
  job.tables["optimizer"] += "clip_norm = 1.0\n";  // so that servers have connections, too
}

nlohmann::json result_of(const std::string& word, std::string& errors) {
  Job job;
  job.tables["run"] += kFinite;
  set_encryption(job, word);
  Running running(job);
  EXPECT_EQ(running.wait(patience(Limit(30'000))), 0) << running.errors();
  errors = running.errors();
  return running.result();
}

TEST(Encryption, ChangesNothingButTheWire) {
  std::string quiet;
  std::string said;
  const nlohmann::json plain = result_of("none", quiet);
  const nlohmann::json encrypted = result_of("tls", said);
  ASSERT_TRUE(plain.is_object() && encrypted.is_object());
  EXPECT_EQ(encrypted["model_sha256"], plain["model_sha256"]);
  EXPECT_EQ(encrypted["train"], plain["train"]);
  for (const char* bytes : {"push_bytes", "pull_bytes"}) {  // of frames
    EXPECT_EQ(encrypted["traffic"][bytes], plain["traffic"][bytes]);
  }
  EXPECT_EQ(encrypted["encryption"], "tls");
  EXPECT_EQ(plain["encryption"], "none");
  EXPECT_THAT(said, HasSubstr("all connections are encrypted (TLS 1.3, AES-128-GCM"));
  EXPECT_THAT(quiet, Not(HasSubstr("encrypt"))) << "nothing leaves this host";
}

// Every port demands it; who comes without it is told so, and the job goes on.
TEST(Encryption, IsDemandedOfEverybody) {
  Job job;
  set_encryption(job, "tls");
  Running running(job);
  ASSERT_TRUE(running.wait_for_training()) << running.errors();
  const nlohmann::json server = running.rank("server", 0);
  const auto control = nlohmann::json::parse(running.file("control.json"));
  const std::vector<std::pair<std::string, unsigned>> ports = {
      {server["address"], server["ports"][0]},
      {server["address"], server["ports"][1]},
      {control["address"], control["port"]}};
  for (const auto& [address, port] : ports) {
    const Stranger stranger(address, port);
    stranger.say("SHEAF-HI" + std::string(32, 'n'));
    EXPECT_TRUE(stranger.is_closed_within(Limit(1000)));
  }
  const char* reason = "came without encryption, expected encrypted";
  EXPECT_TRUE(running.wait_for_message("refused a connection to lane 1: 127.0.0.1:", Limit(2000)));
  EXPECT_TRUE(running.wait_for_message("refused a connection to the coordinator", Limit(2000)));
  EXPECT_THAT(running.errors(), HasSubstr(reason));
  running.signal(SIGINT);
  EXPECT_EQ(running.wait(patience(Limit(5000))), 75) << running.errors();
}

}  // namespace
}  // namespace sheaf::harness
