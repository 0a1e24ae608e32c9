// `sheaf bench exchange …` as data.
#include <gmock/gmock.h>

#include "launcher/config/command_line.h"

namespace sheaf::launcher {
namespace {

using testing::HasSubstr;

Command parse_exchange(const std::vector<std::string>& arguments) {
  return parse_command_line(arguments);
}

TEST(ExchangeCommandTest, HasDefaults) {
  const auto command = std::get<ExchangeCommand>(parse_exchange({"bench", "exchange"}));
  EXPECT_EQ(command.transport, "both");
  EXPECT_EQ(command.encryption, "none");
  EXPECT_EQ(command.mib, 64U);
  EXPECT_EQ(command.chunk_kib, 0U);
  EXPECT_EQ(command.workers, 1U);
  EXPECT_EQ(command.repeat, 5);
  EXPECT_FALSE(command.json);
}

TEST(ExchangeCommandTest, TakesEveryOption) {
  const auto command = std::get<ExchangeCommand>(parse_exchange(
      {"bench", "exchange", "--transport", "shm", "--mib", "8", "--chunk-kib", "64", "--workers",
       "2", "--servers", "3", "--lanes", "4", "--repeat", "7", "--wait", "block", "--json"}));
  EXPECT_EQ(command.transport, "shm");
  EXPECT_EQ(command.mib, 8U);
  EXPECT_EQ(command.chunk_kib, 64U);
  EXPECT_EQ(command.workers, 2U);
  EXPECT_EQ(command.servers, 3U);
  EXPECT_EQ(command.lanes, 4U);
  EXPECT_EQ(command.repeat, 7);
  EXPECT_EQ(command.wait, "block");
  EXPECT_TRUE(command.json);
}

TEST(ExchangeCommandTest, MistakesAreOneLine) {
  for (const std::vector<std::string>& mistake : {std::vector<std::string>{"--transport", "rdma"},
                                                  {"--mib", "0"},
                                                  {"--workers", "x"},
                                                  {"--wrokers", "2"},
                                                  {"job.toml"}}) {
    std::vector<std::string> arguments = {"bench", "exchange"};
    arguments.insert(arguments.end(), mistake.begin(), mistake.end());
    const auto fault = std::get<UsageFault>(parse_exchange(arguments));
    EXPECT_THAT(fault.line, HasSubstr("bench")) << mistake[0];
    EXPECT_EQ(fault.line.find('\n'), std::string::npos) << fault.line;
  }
}

}  // namespace
}  // namespace sheaf::launcher
