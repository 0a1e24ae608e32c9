#include "launcher/bench/bench_codec.h"

#include <fmt/format.h>
#include <fmt/ostream.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "common/base/aligned_buffer.h"
#include "common/base/error.h"
#include "common/base/random.h"
#include "common/compression/compressor.h"
#include "common/config/section.h"
#include "common/config/suggest.h"
#include "common/math/kernels.h"
#include "common/wire/frame.h"
#include "launcher/system/median.h"

namespace sheaf::launcher {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using compression::Compressor;

constexpr std::size_t kChunk = (256 << 10) / sizeof(float);  // values
constexpr std::size_t kChunks = 256;                         // of 64 MiB
constexpr compression::EncodingKey kKey = {1, 2, 3, 4};

struct Codec {
  std::string name;
  std::string options;  // as they were given
  std::unique_ptr<Compressor> compressor;
};

Codec make_codec(const std::string& kind, std::span<const std::string> options) {
  const auto table = compression::compressors();
  const auto* mode = find_mode(table, kind);
  if (mode == nullptr) {
    const auto known = mode_names(table);
    const std::vector<std::string> names(known.begin(), known.end());
    const auto near = config::nearest(kind, names);
    fail(Fault::config, "bench codec: found \"{}\", expected one of {}{}", kind,
         config::join_words(names), near ? ", try " + *near : "");
  }
  const auto document = config::Document::from_text("", "bench codec", options);
  auto compressor = mode->make(document->root());
  document->reject_unknown();
  document->throw_if_faulty();
  return {kind, fmt::format("{}", fmt::join(options, " ")), std::move(compressor)};
}

std::vector<Codec> codecs_of(const CodecCommand& command) {
  std::vector<Codec> codecs;
  codecs.push_back(make_codec("none", {}));  // what the others are held against
  if (!command.kind.empty()) {
    if (command.kind != "none") codecs.push_back(make_codec(command.kind, command.options));
    return codecs;
  }
  const std::pair<std::string, std::vector<std::string>> usual[] = {
      {"fp16", {}},           {"bf16", {}},
      {"int8", {}},           {"int8", {"rounding=stochastic"}},
      {"int4", {}},           {"int4", {"rounding=stochastic"}},
      {"sign", {}},           {"topk", {}},
      {"topk", {"values=8"}}, {"topk", {"ratio=0.001", "values=8"}},
      {"randomk", {}}};
  for (const auto& [kind, options] : usual) codecs.push_back(make_codec(kind, options));
  return codecs;
}

// The vectors of all measurements, and the room for encodings of each chunk.
struct Memory {
  Memory() : x(kChunk * kChunks), y(kChunk * kChunks), bytes(kChunks * kStride), sizes(kChunks) {
    Stream stream(1, Purpose::test);
    for (float& value : x.span()) value = static_cast<float>(1e-3 * stream.normal());
  }
  std::span<const float> values(std::size_t chunk) const {
    return x.span().subspan(chunk * kChunk, kChunk);
  }
  std::span<float> sum(std::size_t chunk) { return y.span().subspan(chunk * kChunk, kChunk); }
  std::span<std::byte> room(std::size_t chunk) {
    return bytes.span().subspan(chunk * kStride, kStride);
  }
  void encode(const Compressor& c, std::size_t chunk) {
    sizes[chunk] = c.encode(values(chunk), kKey, room(chunk));
  }
  void decode(const Compressor& c, std::size_t chunk) {
    c.decode_add(room(chunk).first(sizes[chunk]), kKey, sum(chunk));
  }

  static constexpr std::size_t kStride = 2 * kChunk * sizeof(float);  // no encoding is larger
  AlignedBuffer<float> x, y;
  AlignedBuffer<std::byte> bytes;
  std::vector<std::size_t> sizes;
};

// Values a second, in 10^9: the median of `repeat` samples of at least 10 ms.
double rate(int repeat, std::size_t values, const std::function<void()>& body) {
  constexpr double kLeast = 0.01;
  body();
  std::vector<double> rates;
  for (int i = 0; i < repeat; ++i) {
    const auto begin = Clock::now();
    double seconds = 0;
    std::size_t times = 0;
    for (; seconds < kLeast; ++times) {
      body();
      seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    }
    rates.push_back(1e-9 * static_cast<double>(values * times) / seconds);
  }
  return median(rates);
}

// Of one chunk again and again, and of all of them once.
struct Rates {
  double chunk = 0, memory = 0;
};

Rates rates_of(int repeat, const std::function<void(std::size_t chunk)>& body) {
  return {rate(repeat, kChunk, [&] { body(0); }), rate(repeat, kChunk * kChunks, [&] {
            for (std::size_t chunk = 0; chunk < kChunks; ++chunk) body(chunk);
          })};
}

// ||x - C(x)|| / ||x|| of a chunk of normal values.
double relative_error(const Compressor& compressor, Memory& memory) {
  std::ranges::fill(memory.sum(0), 0.0F);
  memory.encode(compressor, 0);
  memory.decode(compressor, 0);
  double error = 0, norm = 0;
  for (std::size_t i = 0; i < kChunk; ++i) {
    const double x = memory.values(0)[i];
    const double d = x - double{memory.sum(0)[i]};
    error += d * d;
    norm += x * x;
  }
  return std::sqrt(error / norm);
}

// How long a vector of 64 MiB is under way in one direction: chunk after chunk is encoded, sent and
// added, all three at the same time, so the slowest of them counts, and the others for one chunk.
double way_ms(const Json& codec, double bits_per_second) {
  const auto at = [&](const char* key) { return codec["memory"][key].get<double>() * 1e9; };
  const double bits = codec["bits_per_value"].get<double>() * kChunk + 8.0 * wire::kHeaderBytes;
  const bool copies = codec["name"] != "none";
  const double stages[] = {copies ? kChunk / at("encode_Gvalues_s") : 0, bits / bits_per_second,
                           kChunk / at("decode_add_Gvalues_s")};
  const double slowest = std::ranges::max(stages);
  return 1e3 * ((kChunks - 1) * slowest + stages[0] + stages[1] + stages[2]);
}

struct Link {
  const char* name;
  double bits_per_second;
};
constexpr Link kLinks[] = {{"100Mbit", 1e8}, {"1Gbit", 1e9}, {"10Gbit", 1e10}};

Json measure(const Codec& codec, Memory& memory, int repeat) {
  const Compressor& c = *codec.compressor;
  Json json;
  json["name"] = codec.name;
  json["options"] = codec.options;
  json["error"] = relative_error(c, memory);
  json["bits_per_value"] = 8.0 * static_cast<double>(memory.sizes[0]) / kChunk;
  const Rates add =
      rates_of(repeat, [&](std::size_t i) { math::add(memory.values(i), memory.sum(i)); });
  const Rates encode = rates_of(repeat, [&](std::size_t i) { memory.encode(c, i); });
  const Rates decode = rates_of(repeat, [&](std::size_t i) { memory.decode(c, i); });
  const auto figures = [](double encoded, double decoded, double added) {
    return Json{{"encode_Gvalues_s", encoded},
                {"decode_add_Gvalues_s", decoded},
                {"add_Gvalues_s", added},
                {"encode_ratio", encoded / added},
                {"decode_add_ratio", decoded / added}};
  };
  json["chunk"] = figures(encode.chunk, decode.chunk, add.chunk);
  json["memory"] = figures(encode.memory, decode.memory, add.memory);
  return json;
}

// Push and pull, one after the other. Parameters come back by the same compressor if it is one for
// parameters, else as floats.
void add_step_times(const Codec& codec, const Json& none, Json& json) {
  const Json& pull = codec.compressor->promises(kChunk).every_value ? json : none;
  for (const Link& link : kLinks) {
    const double step = way_ms(json, link.bits_per_second) + way_ms(pull, link.bits_per_second);
    json["push_ms"][link.name] = way_ms(json, link.bits_per_second);
    json["step_ms"][link.name] = step;
  }
}

void print_table(const Json& all, std::ostream& out) {
  fmt::print(out,
             "256 KiB warm in the second cache, then 64 MiB; 10^9 values a second, in brackets of "
             "y += x of the same run ({})\n"
             "step: 64 MiB pushed and pulled, a model, at 100 Mbit/s, 1 and 10 Gbit/s\n\n",
             all["instruction_set"].get<std::string>());
  fmt::print(out, "{:<28} {:>10} {:>8}  {:>13} {:>13}  {:>13} {:>13}  {:>24}\n", "", "bits/value",
             "error", "encode", "decode+add", "encode 64M", "decode+add", "step ms");
  for (const Json& codec : all["codecs"]) {
    const auto cell = [&](const char* where, const std::string& what) {
      return fmt::format("{:.2f} ({:.2f})", codec[where][what + "_Gvalues_s"].get<double>(),
                         codec[where][what + "_ratio"].get<double>());
    };
    const auto step = [&](const char* link) { return codec["step_ms"][link].get<double>(); };
    fmt::print(
        out,
        "{:<28} {:>10.3f} {:>8.5f}  {:>13} {:>13}  {:>13} {:>13}  {:>8.0f} {:>7.0f} {:>7.1f}\n",
        codec["name"].get<std::string>() + " " + codec["options"].get<std::string>(),
        codec["bits_per_value"].get<double>(), codec["error"].get<double>(),
        cell("chunk", "encode"), cell("chunk", "decode_add"), cell("memory", "encode"),
        cell("memory", "decode_add"), step("100Mbit"), step("1Gbit"), step("10Gbit"));
  }
}

}  // namespace

int bench_codec(const CodecCommand& command, std::ostream& out) {
  const auto codecs = codecs_of(command);
  Memory memory;
  Json all;
  all["instruction_set"] = math::instruction_set();
  all["chunk_values"] = kChunk;
  all["memory_values"] = kChunk * kChunks;
  all["repeat"] = command.repeat;
  for (const Codec& codec : codecs) {
    check(codec.compressor->max_bytes(kChunk) <= Memory::kStride, "room for every encoding");
    all["codecs"].push_back(measure(codec, memory, command.repeat));
  }
  const Json none = all["codecs"][0];
  for (std::size_t i = 0; i < codecs.size(); ++i) add_step_times(codecs[i], none, all["codecs"][i]);
  if (command.json) {
    out << all.dump(1) << "\n";
  } else {
    print_table(all, out);
  }
  return 0;
}

}  // namespace sheaf::launcher
