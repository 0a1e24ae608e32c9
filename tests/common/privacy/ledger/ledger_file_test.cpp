// The file: what is damage, what was torn, and that others can read it.
#include "common/privacy/ledger/ledger_file.h"

#include <gmock/gmock.h>

#include <string>

#include "common/base/error.h"
#include "tests/common/checkpoint/virtual_disk.h"
#include "tests/common/checkpoint/watched_disk.h"
#include "tests/common/privacy/ledger/sample_terms.h"

namespace sheaf::privacy {
namespace {

using testing::HasSubstr;

const std::filesystem::path kFile = "/run/ledger.jsonl";

class LedgerFileTest : public testing::Test {
 protected:
  // `count` steps, each done when the next is opened, as a job does it.
  void run_steps(LedgerFile& file, Step from, std::uint64_t count) {
    open(file, from);
    for (Step step = from; step + 1 < from + count; ++step) {
      const DoneRow done{step, 0, sample_digest(step)};
      const OpenRow next{step + 1};
      file.commit({&done, 1}, {&next, 1});
    }
    const DoneRow last{from + count - 1, 0, sample_digest(from + count - 1)};
    file.commit({&last, 1}, {});
  }
  void open(LedgerFile& file, Step step) {
    const OpenRow row{step};
    file.commit({}, {&row, 1});
  }
  std::string text() {
    const auto& bytes = disk_.bytes(kFile);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  void set_text(const std::string& text) {
    auto& bytes = disk_.bytes(kFile);
    const auto* data = reinterpret_cast<const std::byte*>(text.data());
    bytes.assign(data, data + text.size());
  }
  std::string refusal() {
    try {
      read_ledger(disk_, kFile);
    } catch (const Error& e) {
      EXPECT_EQ(e.fault(), Fault::data);
      return e.message();
    }
    return "";
  }

  checkpoint::VirtualDisk disk_;
};

TEST_F(LedgerFileTest, WhatIsReadIsWhatWasWritten) {
  {
    LedgerFile file(disk_, kFile, sample_terms());
    run_steps(file, 0, 20);
  }
  const LedgerReading reading = read_ledger(disk_, kFile);
  EXPECT_FALSE(reading.cut);
  EXPECT_EQ(reading.rows, 41U);
  EXPECT_EQ(reading.bytes, text().size());
  EXPECT_EQ(reading.ledger.terms(), sample_terms());
  EXPECT_EQ(reading.ledger.releases(0), 20U);
  EXPECT_TRUE(reading.ledger.has({19, 0, sample_digest(19)}));
}

TEST_F(LedgerFileTest, AJobThatGoesOnContinuesTheSameLedger) {
  {
    run_steps(*std::make_unique<LedgerFile>(disk_, kFile, sample_terms()), 0, 10);
  }
  LedgerFile file(disk_, kFile, sample_terms());
  EXPECT_FALSE(file.was_torn());
  EXPECT_EQ(file.ledger().releases(0), 10U);
  run_steps(file, 5, 10);  // from an older checkpoint: 5 to 9 are the same again
  EXPECT_EQ(file.ledger().releases(0), 15U);
  EXPECT_EQ(read_ledger(disk_, kFile).ledger.releases(0), 15U);
}

TEST_F(LedgerFileTest, WhoIsRefusedHasTouchedNothing) {
  {
    LedgerFile file(disk_, kFile, sample_terms());
    run_steps(file, 0, 3);
  }
  const std::string whole = text();
  LedgerTerms other = sample_terms();
  other.adjacency = Adjacency::replace_one;
  EXPECT_THROW(LedgerFile(disk_, kFile, other), Error);
  LedgerTerms later = sample_terms();
  later.noise = 2;
  LedgerFile never_used(disk_, kFile, later);
  EXPECT_EQ(text(), whole);
}

// The line as FORMAT.md shows it; its checksum is that of the bitwise definition, in Python.
TEST_F(LedgerFileTest, ARowLooksAsItsFormatSays) {
  LedgerFile file(disk_, kFile, sample_terms());
  file.commit({}, {});
  open(file, 12);
  EXPECT_THAT(text(),
              HasSubstr("\n{\"row\":2,\"durable\":1,\"open\":12,\"check\":\"f90ac665\"}\n"));
}

TEST_F(LedgerFileTest, EveryBitThatIsDamagedInTheMiddleIsRefusedWithItsLine) {
  {
    LedgerFile file(disk_, kFile, sample_terms());
    run_steps(file, 0, 3);
  }
  const std::string whole = text();
  // All but the last commit, which nothing durable follows, and the end of the line before it.
  const std::size_t end = whole.rfind("{\"row\"") - 1;
  std::size_t line = 1;
  for (std::size_t at = 0; at < end; ++at) {
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    set_text(damaged);
    EXPECT_THAT(refusal(), HasSubstr("line " + std::to_string(line) + " is damaged")) << at;
    if (whole[at] == '\n') ++line;
  }
}

TEST_F(LedgerFileTest, ALineThatIsMissingOrThereTwiceIsRefused) {
  {
    LedgerFile file(disk_, kFile, sample_terms());
    run_steps(file, 0, 3);
  }
  const std::string whole = text();
  const std::size_t second = whole.find('\n') + 1;
  const std::size_t third = whole.find('\n', second) + 1;
  set_text(whole.substr(0, second) + whole.substr(third));
  EXPECT_THAT(refusal(), HasSubstr("line 2 is damaged: it says that it is line 3"));
  set_text(whole.substr(0, third) + whole.substr(second));
  EXPECT_THAT(refusal(), HasSubstr("line 3 is damaged: it says that it is line 2"));
}

TEST_F(LedgerFileTest, ATornLineCountsAsAnOpenStepAndIsCutOff) {
  {
    LedgerFile file(disk_, kFile, sample_terms());
    run_steps(file, 0, 3);
    open(file, 3);
  }
  const std::string whole = text();
  const std::size_t last = whole.rfind("{\"row\"");
  for (std::size_t size = last + 1; size < whole.size(); ++size) {
    set_text(whole.substr(0, size));
    const LedgerReading reading = read_ledger(disk_, kFile);
    EXPECT_TRUE(reading.cut);
    EXPECT_EQ(reading.ledger.releases(0), 4U) << "three that are done, and that";
    LedgerFile again(disk_, kFile, sample_terms());
    EXPECT_TRUE(again.was_torn());
    EXPECT_EQ(again.ledger().releases(0), 4U);
    EXPECT_EQ(text(), whole.substr(0, size)) << "until it is used";
    again.commit({}, {});
    const LedgerReading mended = read_ledger(disk_, kFile);
    EXPECT_FALSE(mended.cut);
    EXPECT_EQ(mended.ledger.releases(0), 4U);
  }
}

TEST_F(LedgerFileTest, ATornDoneRowLeavesItsStepOpen) {
  {
    LedgerFile file(disk_, kFile, sample_terms());
    run_steps(file, 0, 3);
  }
  const std::string whole = text();
  set_text(whole.substr(0, whole.size() - 5));
  const LedgerReading reading = read_ledger(disk_, kFile);
  EXPECT_TRUE(reading.cut);
  EXPECT_EQ(reading.ledger.releases(0), 3U);
  EXPECT_FALSE(reading.ledger.has({2, 0, sample_digest(2)}));
}

TEST_F(LedgerFileTest, AfterAFailedWriteNothingMoreIsTaken) {
  bool fails = false;
  checkpoint::WatchedDisk watched(disk_, [&](const checkpoint::Operation& operation) {
    if (fails && std::string_view(operation.name) == "sync") fail(Fault::data, "no more");
  });
  LedgerFile file(watched, kFile, sample_terms());
  fails = true;
  EXPECT_THROW(open(file, 0), Error);
  fails = false;
  EXPECT_THROW(open(file, 1), Error);
}

}  // namespace
}  // namespace sheaf::privacy
