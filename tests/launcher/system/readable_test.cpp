#include "launcher/system/readable.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sheaf::launcher {
namespace {

TEST(Readable, FiguresKeepFourDecimalsWhereTheyMeanSomething) {
  EXPECT_EQ(readable_figure(0), "0.0000");
  EXPECT_EQ(readable_figure(0.34118), "0.3412");
  EXPECT_EQ(readable_figure(-12.34), "-12.3400");
  EXPECT_EQ(readable_figure(0.0001234), "1.234e-04");
  EXPECT_EQ(readable_figure(123456), "1.235e+05");
  EXPECT_EQ(readable_figure(std::nan("")), "nan");
  EXPECT_EQ(readable_figure(-INFINITY), "-inf");
}

TEST(Readable, CountsHaveThreeDigitsAndAUnit) {
  EXPECT_EQ(readable_count(0), "0");
  EXPECT_EQ(readable_count(9999.4), "9999");
  EXPECT_EQ(readable_count(20187), "20.2k");
  EXPECT_EQ(readable_count(999499), "999k");
  EXPECT_EQ(readable_count(999500), "1.00M");
  EXPECT_EQ(readable_count(1.234e9), "1.23G");
}

TEST(Readable, PartitionsAreOneOrARange) {
  EXPECT_EQ(readable_partitions({3, 1}), "partition 3");
  EXPECT_EQ(readable_partitions({0, 4}), "partitions 0 to 3");
}

TEST(Readable, BytesHaveDecimalUnits) {
  EXPECT_EQ(readable_bytes(0), "0 B");
  EXPECT_EQ(readable_bytes(999), "999 B");
  EXPECT_EQ(readable_bytes(438312), "438 kB");
  EXPECT_EQ(readable_bytes(999500), "1.00 MB");
  EXPECT_EQ(readable_bytes(1290000000), "1.29 GB");
  EXPECT_EQ(readable_bytes(~0ULL), "18447 PB");
  EXPECT_EQ(readable_rate(12345678), "12.3");
}

TEST(Readable, DurationsSwitchUnitsWithoutSixtySeconds) {
  EXPECT_EQ(readable_duration(21.44), "21.4 s");
  EXPECT_EQ(readable_duration(59.94), "59.9 s");
  EXPECT_EQ(readable_duration(59.96), "1 min 00 s");
  EXPECT_EQ(readable_duration(200), "3 min 20 s");
  EXPECT_EQ(readable_duration(3599.6), "1 h 00 min");
  EXPECT_EQ(readable_duration(3845), "1 h 04 min");
  EXPECT_EQ(readable_clock(12.3), "0:12");
  EXPECT_EQ(readable_clock(3599.7), "1:00:00");
  EXPECT_EQ(readable_clock(INFINITY), "?");
}

TEST(Readable, ParagraphsBreakAtSpaces) {
  EXPECT_EQ(wrap("one two three", 7, 0), "one two\nthree\n");
  EXPECT_EQ(wrap("one two three", 9, 2), "  one two\n  three\n");
  EXPECT_EQ(wrap("a/very/long/path and", 8, 0), "a/very/long/path\nand\n");
  EXPECT_EQ(wrap("first\nsecond", 80, 0), "first\nsecond\n");
  EXPECT_EQ(wrap("", 80, 0), "");
}

}  // namespace
}  // namespace sheaf::launcher
