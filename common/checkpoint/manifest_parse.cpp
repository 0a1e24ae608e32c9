#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <stdexcept>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/checksum_text.h"
#include "common/checkpoint/manifest.h"
#include "common/checkpoint/refuse.h"
#include "common/checkpoint/strict_json.h"
#include "common/wire/checksum.h"

namespace sheaf::checkpoint {
namespace {

using Json = nlohmann::json;

constexpr int kManifestDepth = 4;  // {"tensors": [{"shape": [1]}]}
constexpr auto kAny = std::numeric_limits<std::uint64_t>::max();
constexpr std::uint64_t kMaxIndex = std::numeric_limits<std::uint32_t>::max();
constexpr std::uint64_t kMaxElements = std::uint64_t{1} << 52;
constexpr std::string_view kLastLine = "crc32c ";
constexpr std::size_t kLastLineBytes = kLastLine.size() + 8 + 1;

// All but the last line, whose checksum is right.
std::string_view checked_json(std::string_view text) {
  if (text.size() < kLastLineBytes) refuse("it ends early, after {} bytes", text.size());
  const std::string_view json = text.substr(0, text.size() - kLastLineBytes);
  const std::string_view line = text.substr(json.size());
  const auto expected = parse_checksum(line.substr(kLastLine.size(), 8));
  if (!line.starts_with(kLastLine) || !line.ends_with('\n') || !json.ends_with('\n') || !expected) {
    refuse("its last line is not \"crc32c\" and 8 hexadecimal digits");
  }
  const std::uint32_t found = wire::crc32c(std::as_bytes(std::span(json)));
  if (found != *expected) {
    refuse("expected crc32c {}, found {}", checksum_text(*expected), checksum_text(found));
  }
  return json;
}

// Returns the version.
std::uint64_t require_format(Fields& fields) {
  if (const std::string format = fields.text("format"); format != "sheaf checkpoint") {
    refuse("its format is {}, expected \"sheaf checkpoint\"", Json(format).dump());
  }
  const std::uint64_t version = fields.number("version", kAny);
  if (version < kFormatVersion || version > kDescentVersion) {
    refuse("its format has version {}, this build reads {} to {}; use the build that wrote it",
           version, kFormatVersion, kDescentVersion);
  }
  return version;
}

// "tensors[3]"
std::string place(const char* list, std::size_t index) {
  return fmt::format("{}[{}]", list, index);
}

std::vector<std::uint32_t> parse_shape(const Json& shape, const std::string& where,
                                       std::uint64_t most) {
  std::vector<std::uint32_t> extents;
  std::uint64_t size = 1;
  for (const Json& extent : shape) {
    const std::uint64_t value = extent.is_number_unsigned() ? extent.get<std::uint64_t>() : 0;
    if (value == 0 || value > kMaxIndex) {
      refuse("{}: \"shape\" is no list of whole numbers from 1 to {}", where, kMaxIndex);
    }
    if (value > most / size) refuse("{}: it has too many elements", where);
    size *= value;
    extents.push_back(static_cast<std::uint32_t>(value));
  }
  return extents;
}

// Groups are numbered in the order in which tensors use them first, so the layout itself knows
// them.
params::Layout parse_layout(const Json& groups, const Json& tensors, bool has_descents) {
  std::vector<params::Group> known;
  for (const Json& entry : groups) {
    Fields fields(entry, place("groups", known.size()));
    params::Group group{fields.real("rate_scale"), fields.real("decay_scale"),
                        fields.flag("averaged")};
    if (has_descents) group.own = {fields.real("descent_rate"), fields.real("descent_towards")};
    known.push_back(group);
    fields.done();
  }
  params::Layout layout;
  for (const Json& entry : tensors) {
    const std::string where = place("tensors", layout.tensors().size());
    Fields fields(entry, where);
    const std::string name = fields.text("name");
    const std::uint64_t group = fields.number("group", kMaxIndex);
    if (group >= known.size()) refuse("{}: group {} is none of {}", where, group, known.size());
    layout.add(name, parse_shape(fields.list("shape"), where, kMaxElements - layout.size()),
               known[group]);
    fields.done();
    if (layout.tensors().back().group != group) {
      refuse("{}: the groups are not in the order of their first use", where);
    }
  }
  if (layout.groups().size() != known.size()) refuse("a group is not used, or equals another");
  return layout;
}

std::vector<FileEntry> parse_files(const Json& list) {
  std::vector<FileEntry> files;
  for (const Json& entry : list) {
    Fields fields(entry, place("files", files.size()));
    files.push_back({fields.text("name"), fields.number("bytes", kAny),
                     fields.number("header_bytes", kAny), fields.checksum("header_crc32c"),
                     fields.text("host")});
    fields.done();
  }
  return files;
}

StoredChunk parse_place(Fields& fields) {
  return {fields.number("offset", kAny), fields.number("size", kAny),
          static_cast<std::uint32_t>(fields.number("file", kMaxIndex)), fields.number("at", kAny),
          fields.checksum("crc32c")};
}

std::vector<StoredChunk> parse_chunks(const Json& list) {
  std::vector<StoredChunk> chunks;
  for (const Json& entry : list) {
    Fields fields(entry, place("chunks", chunks.size()));
    chunks.push_back(parse_place(fields));
    fields.done();
  }
  return chunks;
}

std::vector<StoredResidual> parse_residuals(const Json& list, std::uint64_t version) {
  const bool has_runs = version == kRunsVersion;
  std::vector<StoredResidual> residuals;
  for (const Json& entry : list) {
    Fields fields(entry, place("residuals", residuals.size()));
    const auto partition = static_cast<std::uint32_t>(fields.number("partition", kMaxIndex));
    const auto run = has_runs ? static_cast<std::uint32_t>(fields.number("run", kMaxIndex)) : 0;
    residuals.push_back({partition, run, parse_place(fields)});
    fields.done();
  }
  const bool lacks = residuals.empty() && version != kAveragedVersion;
  if (lacks || (has_runs && residuals.back().run == 0)) {
    refuse("it lists {}, and has the version of one with more",
           residuals.empty() ? "no residuals" : "one run of residuals");
  }
  return residuals;
}

std::map<std::string, std::string> parse_about(const Json& object) {
  std::map<std::string, std::string> about;
  for (const auto& [key, value] : object.items()) {
    if (!value.is_string()) refuse("about: {} is no text", Json(key).dump());
    about[key] = value.get<std::string>();
  }
  return about;
}

Manifest parse(std::string_view text) {
  const Json json = parse_strict_json(checked_json(text), "it", kManifestDepth);
  Fields fields(json, "the manifest");
  const std::uint64_t version = require_format(fields);
  Manifest manifest;
  manifest.job = fields.text("job");
  manifest.step = fields.number("step", kAny);
  manifest.state_per_parameter =
      static_cast<std::uint32_t>(fields.number("state_per_parameter", kMaxStatePerParameter));
  const Json& groups = fields.list("groups");
  const bool has_descents = version == kDescentVersion;
  manifest.layout = parse_layout(groups, fields.list("tensors"), has_descents);
  if (manifest.averages() != (version == kAveragedVersion)) {
    refuse("no group, or one, is averaged, and the version says otherwise");
  }
  if (manifest.descends() != has_descents) {
    refuse("no group descends, and it has the version of one that does");
  }
  manifest.files = parse_files(fields.list("files"));
  manifest.chunks = parse_chunks(fields.list("chunks"));
  if (has_residuals(version)) {
    manifest.residuals = parse_residuals(fields.list("residuals"), version);
  }
  manifest.about = parse_about(fields.object("about"));
  fields.done();
  require_sound(manifest);
  return manifest;
}

}  // namespace

Manifest manifest_from_text(std::string_view text) {
  try {
    return parse(text);
  } catch (const std::invalid_argument& e) {
    fail(Fault::checkpoint, "{}", e.what());
  }
}

}  // namespace sheaf::checkpoint
