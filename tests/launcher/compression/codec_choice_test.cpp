// What is sent, encoded and added in a step, counted by hand, and the compressor that follows.
#include "launcher/compression/codec_choice.h"

#include <gmock/gmock.h>

#include <vector>

namespace sheaf::launcher {
namespace {

// Every worker sends three quarters of a vector to the servers of other hosts, and every host takes
// as much in for its server.
TEST(CodecChoice, OfRanksInTurnEachHostHasItsShare) {
  const std::vector<HostRanks> hosts(4, {.servers = 1, .workers = 1, .cores = 2});
  const Way pushes = way_of_pushes(hosts, 1, 1, 1e8);
  EXPECT_DOUBLE_EQ(pushes.carried, 0.75);
  EXPECT_DOUBLE_EQ(pushes.encoded, 1);
  EXPECT_DOUBLE_EQ(pushes.added, 1);  // a quarter of four vectors
  const Way pulls = way_of_pulls(hosts, 1, 1e8);
  EXPECT_DOUBLE_EQ(pulls.carried, 0.75);
  EXPECT_DOUBLE_EQ(pulls.encoded, 0.25);
  EXPECT_DOUBLE_EQ(pulls.added, 1);
}

TEST(CodecChoice, OneServerTakesInWhatAllSend) {
  const std::vector<HostRanks> hosts = {{.servers = 1, .workers = 0, .cores = 1},
                                        {.servers = 0, .workers = 4, .cores = 2}};
  const Way pushes = way_of_pushes(hosts, 3, 2, 1e8);
  EXPECT_DOUBLE_EQ(pushes.carried, 12);  // three vectors of each of four workers
  EXPECT_DOUBLE_EQ(pushes.encoded, 6);   // four workers on two cores
  EXPECT_DOUBLE_EQ(pushes.added, 12.0 / 2 * 2);
  EXPECT_DOUBLE_EQ(way_of_pulls(hosts, 2, 1e8).carried, 4);
}

TEST(CodecChoice, WithinAHostAllPassOneMemory) {
  const std::vector<HostRanks> hosts = {{.servers = 2, .workers = 3, .cores = 8}};
  EXPECT_DOUBLE_EQ(way_of_pushes(hosts, 1, 1, 1e9).carried, 3);
  EXPECT_DOUBLE_EQ(way_of_pulls(hosts, 1, 1e9).carried, 3);
}

TEST(CodecChoice, SecondsAreThoseOfSendingEncodingAndAdding) {
  const Way way{.bytes_per_s = 1e8, .carried = 2, .encoded = 3, .added = 4};
  EXPECT_DOUBLE_EQ(seconds_per_parameter({.bits = 32, .encode = 0, .decode_add = 1e-9}, way),
                   2 * 4 / 1e8 + 4e-9);
  EXPECT_DOUBLE_EQ(seconds_per_parameter({.bits = 8, .encode = 2e-9, .decode_add = 1e-9}, way),
                   2 * 1 / 1e8 + 6e-9 + 4e-9);
}

// The same codec, whose 3 ns of a core pay as soon as a link carries fewer than 10^9 bytes a
// second.
TEST(CodecChoice, ASlowLinkWantsFewerBytesAndAFastOneDoesNot) {
  const CodecSpeed none{.bits = 32, .decode_add = 1e-9};
  const CodecSpeed int8{.bits = 8, .encode = 2e-9, .decode_add = 2e-9};
  const std::vector<HostRanks> hosts(2, {.servers = 1, .workers = 1, .cores = 2});
  const auto best = [&](double bytes_per_s) {
    const Way way = way_of_pushes(hosts, 1, 1, bytes_per_s);
    const std::vector<double> seconds = {seconds_per_parameter(none, way),
                                         seconds_per_parameter(int8, way)};
    return best_codec(seconds);
  };
  EXPECT_EQ(best(12.5e6), 1U);
  EXPECT_EQ(best(125e6), 1U);
  EXPECT_EQ(best(5e9), 0U);
}

TEST(CodecChoice, ALaterOneHasToGainATenth) {
  EXPECT_EQ(best_codec(std::vector<double>{1.0}), 0U);
  EXPECT_EQ(best_codec(std::vector<double>{1.0, 0.95}), 0U);
  EXPECT_EQ(best_codec(std::vector<double>{1.0, 0.85}), 1U);
  EXPECT_EQ(best_codec(std::vector<double>{1.0, 0.5, 0.46, 0.4}), 3U);
  EXPECT_EQ(best_codec(std::vector<double>{0.0, 0.0, 0.0}), 0U);  // nothing is known
  EXPECT_EQ(best_codec(std::vector<double>{1.0, 0.0}), 1U);
}

}  // namespace
}  // namespace sheaf::launcher
