#include "tests/harness/fault.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <csignal>
#include <iostream>

namespace sheaf::harness {
namespace {

using testing::HasSubstr;

constexpr Limit kStart(2000);  // from the start of `sheaf train` to the first step
constexpr Limit kEnd(3000);    // from the detection of a fault to the end of all processes

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

void expect_message(const Fault& fault, const std::string& errors) {
  for (const std::string& part : fault.says) EXPECT_THAT(errors, HasSubstr(part));
  ASSERT_FALSE(fault.says.empty());
  EXPECT_EQ(count(errors, fault.says[0]), 1U) << errors;
}

void expect_result(const Fault& fault, const Running& running) {
  const nlohmann::json result = running.result();
  if (!fault.blame) {
    EXPECT_TRUE(result.is_discarded()) << "nothing was to be started, but there is a result.json";
    return;
  }
  ASSERT_TRUE(result.is_object()) << "no result.json";
  EXPECT_EQ(result["exit"], fault.exit);
  ASSERT_TRUE(result.contains("error")) << result.dump(1);
  const nlohmann::json& error = result["error"];
  EXPECT_THAT(fault.blame->ranks,
              testing::Contains(error["rank"].is_null() ? kNoRank : error["rank"].get<int>()))
      << error.dump(1);
  const std::string phase = error["phase"].is_null() ? "" : error["phase"].get<std::string>();
  EXPECT_THAT(phase, HasSubstr(fault.blame->phase));
  EXPECT_NE(error["text"], "");
  EXPECT_TRUE(result["model_sha256"].is_null());
  EXPECT_FALSE(std::filesystem::exists(running.run() / "model.safetensors"));
}

// What a user is to see when a rank has gone while it trained: `end` says how that was noticed.
Fault gone(const char* name, std::string_view role, unsigned id, int signal, const char* end) {
  constexpr int kServers = 2;
  const int rank = static_cast<int>(id) + (role == "server" ? 0 : kServers);
  const std::string who(role);
  return {.name = name,
          .strike = [who, id, signal](Running& job) { job.signal(who, id, signal); },
          .exit = 4,
          .says = {fmt::format("Job small failed: {} {}", role, id),
                   fmt::format("(rank {}), training step", rank), end},
          .blame = Blame{{rank}, "training step"}};
}

}  // namespace

Fault killed(const char* name, std::string_view role, unsigned id) {
  return gone(name, role, id, SIGKILL, "is gone");
}

Fault stopped(const char* name, std::string_view role, unsigned id) {
  Fault fault = gone(name, role, id, SIGSTOP, "taken for dead");
  fault.detection = kDead;
  return fault;
}

std::ostream& operator<<(std::ostream& out, const Fault& fault) { return out << fault.name; }

void show(const Fault& fault, bool under_mpirun) {
  Job job;
  job.mpirun = under_mpirun;
  if (fault.prepare) fault.prepare(job);
  if (!job.impossible.empty()) GTEST_SKIP() << job.impossible;

  Running running(job);
  if (fault.strike) {
    ASSERT_TRUE(running.wait_for_training()) << running.errors();
    fault.strike(running);
  }
  const double struck = fault.strike ? running.seconds() : 0;
  const Limit limit = fault.detection + kEnd + (fault.strike ? Limit(0) : kStart);
  const std::optional<int> code = running.wait(patience(limit));
  const double took = running.seconds() - struck;
  ASSERT_TRUE(code) << "still runs after " << took << " s: " << describe(descendants())
                    << running.errors();
  const std::vector<pid_t> left = wait_for_descendants(patience(kAllGone));
  EXPECT_TRUE(left.empty()) << "left behind: " << describe(left);

  EXPECT_EQ(*code, fault.exit) << running.errors();
  expect_message(fault, running.errors());
  expect_result(fault, running);
  const nlohmann::json result = running.result();
  std::cout << fault.name << ": exit " << *code << " after " << took
            << " s: " << (result.is_object() ? result["error"].dump() : running.errors()) << "\n";
}

}  // namespace sheaf::harness
