// What `sheaf bench codec` prints fits together: sizes as FORMAT.md has them, times as the links
// have them. Speed itself is nobody's promise here.
#include "launcher/bench/bench_codec.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

nlohmann::json codec_figures(std::string kind, std::vector<std::string> options) {
  std::ostringstream out;
  EXPECT_EQ(bench_codec({std::move(kind), std::move(options), 1, true}, out), 0);
  return nlohmann::json::parse(out.str());
}

TEST(BenchCodec, FiguresDependOnEachOtherAsTheirNamesSay) {
  const auto all = codec_figures("int8", {"block=32"});
  ASSERT_EQ(all["codecs"].size(), 2U);
  const auto& none = all["codecs"][0];
  const auto& int8 = all["codecs"][1];
  EXPECT_EQ(none["name"], "none");
  EXPECT_EQ(none["bits_per_value"], 32.0);
  EXPECT_EQ(none["error"], 0.0);
  EXPECT_EQ(int8["options"], "block=32");
  EXPECT_EQ(int8["bits_per_value"], 8.25);
  EXPECT_GT(int8["error"], 0.0);
  EXPECT_LT(int8["error"], 0.02);
  for (const char* where : {"chunk", "memory"}) {
    for (const std::string what : {"encode", "decode_add"}) {
      const double rate = int8[where][what + "_Gvalues_s"];
      EXPECT_GT(rate, 0);
      EXPECT_NEAR(int8[where][what + "_ratio"], rate / int8[where]["add_Gvalues_s"].get<double>(),
                  1e-9);
    }
  }
  // 64 MiB and 256 headers of 64 bytes at 10^8 bits a second, each way; adding hides behind that.
  const double bits = 8.0 * ((64 << 20) + 256 * 64);
  EXPECT_GE(none["step_ms"]["100Mbit"], 2e3 * bits / 1e8);
  EXPECT_NEAR(none["step_ms"]["100Mbit"], 2e3 * bits / 1e8, 20);
  EXPECT_NEAR(int8["push_ms"]["100Mbit"], 1e3 * (bits * 8.25 / 32) / 1e8, 20);
}

// Parameters come back as floats where the compressor is for gradients alone.
TEST(BenchCodec, APullIsNotModelledByASparseCompressor) {
  const auto all = codec_figures("topk", {});
  const auto& topk = all["codecs"][1];
  EXPECT_NEAR(
      topk["step_ms"]["1Gbit"],
      topk["push_ms"]["1Gbit"].get<double>() + all["codecs"][0]["push_ms"]["1Gbit"].get<double>(),
      1e-9);
}

TEST(BenchCodec, WhatDoesNotExistIsAFault) {
  std::ostringstream out;
  EXPECT_THROW(bench_codec({"topq", {}, 1, false}, out), Error);
  EXPECT_THROW(bench_codec({"topk", {"share=1"}, 1, false}, out), Error);
}

}  // namespace
}  // namespace sheaf::launcher
