#include "common/privacy/ledger/rows.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "common/base/error.h"
#include "common/checkpoint/checksum_text.h"
#include "common/checkpoint/refuse.h"
#include "common/checkpoint/strict_json.h"
#include "common/wire/checksum.h"

namespace sheaf::privacy {
namespace {

using checkpoint::Fields;
using checkpoint::refuse;

constexpr std::uint64_t kAny = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kMostBands = 1U << 20;
constexpr std::string_view kCheck = ",\"check\":\"";
constexpr std::string_view kEnd = "\"}";

std::uint32_t checksum_of(std::string_view text) {
  return wire::crc32c(std::as_bytes(std::span(text.data(), text.size())));
}

nlohmann::ordered_json json_of(const LedgerTerms& terms) {
  nlohmann::ordered_json json = {{"format", kLedgerFormat},
                                 {"mechanism", mechanism_of(terms)},
                                 {"where", to_string(terms.where)},
                                 {"sampling", to_string(terms.sampling)},
                                 {"sampling_rate", terms.sampling_rate},
                                 {"steps_per_epoch", terms.steps_per_epoch},
                                 {"noise", terms.noise},
                                 {"clip", terms.clip},
                                 {"delta", terms.delta},
                                 {"unit", to_string(terms.unit)},
                                 {"adjacency", to_string(terms.adjacency)}};
  if (terms.unit == Unit::user) {
    json["users"] = terms.users;
    json["examples_per_user"] = terms.examples_per_user;
  } else {
    json["examples"] = terms.examples;
  }
  json["partitions"] = terms.partitions;
  json["sampling_secret"] = terms.sampling_secret;
  json["noise_secret"] = terms.noise_secret;
  if (terms.bands != 0) {
    json["bands"] = terms.bands;
    json["branch"] = terms.branch.name;
    json["first"] = terms.branch.first;
  }
  return json;
}

// The one of `values` that is written like that.
template <typename Word, std::size_t kCount>
Word word(Fields& fields, const char* key, const std::array<Word, kCount>& values) {
  const std::string text = fields.text(key);
  for (const Word value : values) {
    if (to_string(value) == text) return value;
  }
  refuse("terms: \"{}\" is {}, which is not known", key, checkpoint::quoted(text));
}

std::string hexadecimal(Fields& fields, const char* key) {
  std::string text = fields.text(key);
  if (text.size() != 32 || text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    refuse("terms: \"{}\" is not 32 hexadecimal digits", key);
  }
  return text;
}

LedgerTerms terms_of(const nlohmann::json& json) {
  Fields fields(json, "terms");
  if (const auto format = fields.number("format", kAny); format != kLedgerFormat) {
    refuse("terms: format {} is not known, only {} is", format, kLedgerFormat);
  }
  const std::string mechanism = fields.text("mechanism");
  LedgerTerms terms;
  if (mechanism == "correlated") {
    terms.bands = fields.number("bands", kMostBands);
    if (terms.bands == 0) refuse("terms: no bands of correlated noise");
    terms.branch = {fields.number("first", kAny), hexadecimal(fields, "branch")};
  } else if (mechanism != "gaussian") {
    refuse("terms: the mechanism {} is not known", checkpoint::quoted(mechanism));
  }
  terms.where = word(fields, "where", std::array{NoisePlace::central, NoisePlace::local});
  terms.sampling =
      word(fields, "sampling", std::array{Sampling::poisson, Sampling::shuffle, Sampling::cyclic});
  terms.sampling_rate = fields.wide_real("sampling_rate");
  terms.steps_per_epoch = fields.number("steps_per_epoch", kAny);
  terms.noise = fields.wide_real("noise");
  terms.clip = fields.wide_real("clip");
  terms.delta = fields.wide_real("delta");
  terms.unit = word(fields, "unit", std::array{Unit::example, Unit::column, Unit::user});
  terms.adjacency =
      word(fields, "adjacency", std::array{Adjacency::add_remove, Adjacency::replace_one});
  if (terms.unit == Unit::user) {
    terms.users = fields.number("users", kAny);
    terms.examples_per_user = fields.number("examples_per_user", kAny);
  } else {
    terms.examples = fields.number("examples", kAny);
  }
  terms.partitions = static_cast<std::uint32_t>(
      fields.number("partitions", std::numeric_limits<std::uint32_t>::max()));
  terms.sampling_secret = hexadecimal(fields, "sampling_secret");
  terms.noise_secret = hexadecimal(fields, "noise_secret");
  fields.done();
  try {
    check_terms(terms);
  } catch (const Error& e) {
    refuse("terms: {}", e.message());
  }
  return terms;
}

wire::Digest digest_of(Fields& fields) {
  const std::string text = fields.text("digest");
  wire::Digest digest{};
  const bool fits = text.size() == 2 * digest.size() &&
                    text.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!fits) refuse("\"digest\" is not 64 hexadecimal digits");
  const auto value = [&](std::size_t i) {
    return static_cast<unsigned>(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
  };
  for (std::size_t i = 0; i < digest.size(); ++i) {
    digest[i] = static_cast<std::byte>(16 * value(2 * i) + value(2 * i + 1));
  }
  return digest;
}

}  // namespace

std::string digest_text(const wire::Digest& digest) {
  std::string text;
  for (const std::byte byte : digest) text += fmt::format("{:02x}", static_cast<unsigned>(byte));
  return text;
}

std::string row_text(const LedgerRow& row, NoisePlace where) {
  std::string text = fmt::format("{{\"row\":{},\"durable\":{}", row.number, row.durable);
  const auto partition = [&](std::uint32_t id) {
    if (where == NoisePlace::local) text += fmt::format(",\"partition\":{}", id);
  };
  if (const auto* terms = std::get_if<LedgerTerms>(&row.what)) {
    text += ",\"terms\":" + json_of(*terms).dump();
  } else if (const auto* open = std::get_if<OpenRow>(&row.what)) {
    text += fmt::format(",\"open\":{}", open->step);
    partition(open->partition);
  } else {
    const auto& done = std::get<DoneRow>(row.what);
    text += fmt::format(",\"done\":{}", done.step);
    partition(done.partition);
    text += fmt::format(",\"digest\":\"{}\"", digest_text(done.digest));
  }
  const std::string check = checkpoint::checksum_text(checksum_of(text));
  return fmt::format("{}{}{}{}\n", text, kCheck, check, kEnd);
}

LedgerRow parse_row(std::string_view line) {
  const std::size_t check = line.rfind(kCheck);
  if (check == std::string_view::npos || line.size() != check + kCheck.size() + 8 + kEnd.size() ||
      !line.ends_with(kEnd)) {
    refuse("it does not end with a checksum");
  }
  const std::string found = checkpoint::checksum_text(checksum_of(line.substr(0, check)));
  const std::string_view expected = line.substr(check + kCheck.size(), 8);
  if (found != expected) refuse("its checksum is {}, it says {}", found, expected);

  const nlohmann::json json = checkpoint::parse_strict_json(line, "it", 2);
  Fields fields(json, "it");
  LedgerRow row;
  row.number = fields.number("row", kAny);
  row.durable = fields.number("durable", kAny);
  fields.text("check");
  const auto partition = [&]() -> std::uint32_t {
    if (!json.contains("partition")) return 0;
    return static_cast<std::uint32_t>(
        fields.number("partition", std::numeric_limits<std::uint32_t>::max()));
  };
  if (json.contains("terms")) {
    row.what = terms_of(fields.object("terms"));
  } else if (json.contains("open")) {
    const Step step = fields.number("open", kAny);
    row.what = OpenRow{step, partition()};
  } else {
    const Step step = fields.number("done", kAny);
    const std::uint32_t whose = partition();
    row.what = DoneRow{step, whose, digest_of(fields)};
  }
  fields.done();
  return row;
}

}  // namespace sheaf::privacy
