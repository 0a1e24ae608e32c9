#include "launcher/doctor/probe_messages.h"

#include <gmock/gmock.h>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

TEST(ProbeMessagesTest, AQuestionComesBackAsItWas) {
  const ProbeRequest request{.ask = Question::reach,
                             .folder = "/home/me",
                             .job = "/home/me/job.toml",
                             .overrides = {"run.workers=2", "run.name=a b\n\"c\""},
                             .interface = "eth0",
                             .one_host = true,
                             .first_port = 20000,
                             .last_port = 20010,
                             .to = {{"10.0.0.1", 20000}, {"10.0.0.2", 1}},
                             .milliseconds = 300};
  const std::string line = to_line(request);
  EXPECT_EQ(line.find('\n'), std::string::npos);
  EXPECT_EQ(to_line(parse_request(line)), line);
  EXPECT_EQ(parse_request(line).overrides, request.overrides);
  EXPECT_EQ(parse_request(line).to[1].port, 1);
}

TEST(ProbeMessagesTest, SoDoesAnAnswer) {
  ProbeAnswer answer{.problem = "bytes that are no text: \xff", .fault = 3};
  answer.host.name = "h1";
  answer.host.free_memory = 1ULL << 40;
  answer.unreached = {"", "Connection refused"};
  answer.bytes_per_s = 1.5e9;
  const ProbeAnswer back = parse_answer(to_line(answer));
  EXPECT_EQ(back.fault, 3);
  EXPECT_EQ(back.host.free_memory, 1ULL << 40);
  EXPECT_EQ(back.unreached, answer.unreached);
  EXPECT_EQ(back.bytes_per_s, 1.5e9);
}

TEST(ProbeMessagesTest, WhatAnotherProgramPrintsIsRefused) {
  for (const char* line : {"", "Welcome to h2!", "{}", "{\"problem\": 3}", "[1]"}) {
    try {
      parse_answer(line);
      ADD_FAILURE() << line;
    } catch (const Error& error) {
      EXPECT_EQ(error.fault(), Fault::network);
      EXPECT_THAT(error.message(), testing::HasSubstr("expected a line of `sheaf probe`"));
    }
  }
}

}  // namespace
}  // namespace sheaf::launcher
