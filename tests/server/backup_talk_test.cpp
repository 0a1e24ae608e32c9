// What a lane says first over a connection to its backup, and what it takes for an answer; the rest
// of the conversation is in replica/replica_test.cpp and tests/simulation.
#include "server/backup_talk.h"

#include <gtest/gtest.h>

#include "tests/server/shard/shard_job.h"

namespace sheaf::server {
namespace {

using wire::FrameType;
using wire::ReplicaWord;

wire::Header word_of(ReplicaWord word) {
  wire::Header header;
  header.type = FrameType::replica;
  header.status = static_cast<std::uint8_t>(word);
  return header;
}

BackupTalk::Options talk_options(bool adopt, int& adopted) {
  return {.backup = {Role::server, 1},
          .adopt = adopt,
          .on_adopted = [&adopted] { ++adopted; },
          .shape = {1, 0, false}};
}

TEST(BackupTalkTest, TheFirstWordOfEachConnectionSaysWhichWayCopiesGo) {
  ShardJob job({.partitions = 1, .replica = true});
  int adopted = 0;
  BackupTalk talk(talk_options(true, adopted), job.shard());
  for (const ReplicaWord first : {ReplicaWord::give, ReplicaWord::keep}) {
    talk.on_attached();
    const auto frame = talk.next_frame();
    ASSERT_TRUE(frame);
    EXPECT_EQ(frame->header.type, FrameType::replica);
    EXPECT_EQ(frame->header.status, static_cast<std::uint8_t>(first));
    if (first == ReplicaWord::give) talk.on_frame(word_of(ReplicaWord::whole));
  }
  EXPECT_EQ(adopted, 1);
  EXPECT_FALSE(talk.adopts());
}

TEST(BackupTalkTest, NobodyGoesOnWithAReplicaThatWasNotToldEverything) {
  ShardJob job({.partitions = 1, .replica = true});
  int adopted = 0;
  BackupTalk talk(talk_options(true, adopted), job.shard());
  talk.on_attached();
  EXPECT_THROW(talk.on_frame(word_of(ReplicaWord::part)), Error);
  EXPECT_EQ(adopted, 0);
}

TEST(BackupTalkTest, WhoHasItsPartIsGivenNoCopies) {
  ShardJob job({.partitions = 1, .replica = true});
  int adopted = 0;
  BackupTalk talk(talk_options(false, adopted), job.shard());
  wire::Header copy;
  copy.type = FrameType::copy;
  EXPECT_THROW(talk.receive_into(copy), Error);
  EXPECT_THROW(talk.receive_into(word_of(ReplicaWord::whole)), Error);
}

}  // namespace
}  // namespace sheaf::server
