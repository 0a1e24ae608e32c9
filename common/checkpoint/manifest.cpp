#include "common/checkpoint/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/checksum_text.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/refuse.h"
#include "common/checkpoint/safetensors.h"
#include "common/checkpoint/strict_json.h"
#include "common/wire/checksum.h"

namespace sheaf::checkpoint {
namespace {

// Far beyond what fits a disk, and far below what overflows when it is added up.
constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 60;

void require_layout(const Manifest& manifest) {
  if (manifest.layout.tensors().empty()) refuse("there is no tensor");
  if (manifest.state_per_parameter > kMaxStatePerParameter) {
    refuse("state_per_parameter is {}, at most {} is possible", manifest.state_per_parameter,
           kMaxStatePerParameter);
  }
  for (const params::Group& group : manifest.layout.groups()) {
    if (!std::isfinite(group.rate_scale) || !std::isfinite(group.decay_scale)) {
      refuse("the scales of a group are not finite");
    }
  }
  std::set<std::string_view> names;
  for (const params::Tensor& tensor : manifest.layout.tensors()) {
    if (!names.insert(tensor.name).second) refuse("two tensors are called {}", tensor.name);
  }
}

void require_chunks(const Manifest& manifest) {
  std::uint64_t covered = 0;
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) {
    const StoredChunk& chunk = manifest.chunks[i];
    if (chunk.offset != covered) {
      refuse("chunks[{}]: it begins at element {}, expected {}: {}", i, chunk.offset, covered,
             chunk.offset > covered ? "a hole" : "an overlap");
    }
    if (chunk.size == 0) refuse("chunks[{}]: it is empty", i);
    if (chunk.size > manifest.layout.size() - covered) {
      refuse("chunks[{}]: it ends beyond the {} elements of the tensors", i,
             manifest.layout.size());
    }
    if (chunk.file >= manifest.files.size()) {
      refuse("chunks[{}]: file {} is none of {}", i, chunk.file, manifest.files.size());
    }
    covered += chunk.size;
  }
  if (covered != manifest.layout.size()) {
    refuse("the chunks end at element {}, the tensors have {}", covered, manifest.layout.size());
  }
}

// True if the file lies in the folder of this checkpoint, false if in that of an older one.
bool require_name(const Manifest& manifest, const std::string& name) {
  const std::size_t slash = name.find('/');
  const auto step = step_of(name.substr(0, slash));
  if (slash == std::string::npos || !step || !is_data_file_name(name.substr(slash + 1))) {
    refuse("\"{}\" is no name of a data file, expected one like {}/{}", name,
           folder_name(manifest.step), data_file_name(0));
  }
  if (*step > manifest.step) refuse("{} is newer than the checkpoint", name);
  return *step == manifest.step;
}

// `extents` of one file, by place.
void require_extents(const Manifest& manifest, const FileEntry& file, bool own,
                     const std::vector<const StoredChunk*>& extents) {
  std::uint64_t end = file.header_bytes;
  for (const StoredChunk* chunk : extents) {
    if (chunk->at < end) {
      refuse("{}: the extent at byte {} overlaps what ends at {}", file.name, chunk->at, end);
    }
    if (own && chunk->at > end) {
      refuse("{}: a hole between bytes {} and {}", file.name, end, chunk->at);
    }
    if (chunk->at > file.bytes || manifest.extent_bytes(*chunk) > file.bytes - chunk->at) {
      refuse("{}: the extent at byte {} ends beyond its {} bytes", file.name, chunk->at,
             file.bytes);
    }
    end = chunk->at + manifest.extent_bytes(*chunk);
  }
  if (own && end != file.bytes) {
    refuse("{}: the extents end at byte {}, the file has {}", file.name, end, file.bytes);
  }
  if (!own && extents.empty()) refuse("{}: no chunk is in it", file.name);
}

void require_files(const Manifest& manifest) {
  std::vector<std::vector<const StoredChunk*>> extents(manifest.files.size());
  for (const StoredChunk& chunk : manifest.chunks) extents[chunk.file].push_back(&chunk);
  std::set<std::string_view> names;
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    const FileEntry& file = manifest.files[i];
    const bool own = require_name(manifest, file.name);
    if (!names.insert(file.name).second) refuse("{} is there twice", file.name);
    if (file.bytes > kMaxBytes || file.header_bytes > file.bytes ||
        file.header_bytes < kHeaderLengthBytes ||
        file.header_bytes > kHeaderLengthBytes + kMaxHeaderBytes) {
      refuse("{}: {} bytes with a header of {} are not possible", file.name, file.bytes,
             file.header_bytes);
    }
    std::sort(extents[i].begin(), extents[i].end(),
              [](const auto* a, const auto* b) { return a->at < b->at; });
    require_extents(manifest, file, own, extents[i]);
  }
}

// As the double that it equals, which every reader of JSON gives back exactly.
std::string real(float value) { return nlohmann::json(static_cast<double>(value)).dump(); }

// One value a line: "key": [ … ] with `line(value)` for each.
template <typename Values, typename Line>
std::string lines(std::string_view key, std::string_view brackets, const Values& values,
                  const Line& line) {
  std::string text = fmt::format("\"{}\": {}", key, brackets[0]);
  std::string_view before = "\n  ";
  for (const auto& value : values) {
    text += before;
    text += line(value);
    before = ",\n  ";
  }
  return text += fmt::format("\n{}", brackets[1]);
}

std::string json_of(const Manifest& m) {
  const auto group = [](const params::Group& g) {
    return fmt::format(R"({{"rate_scale": {}, "decay_scale": {}}})", real(g.rate_scale),
                       real(g.decay_scale));
  };
  const auto tensor = [](const params::Tensor& t) {
    return fmt::format(R"({{"name": {}, "shape": [{}], "group": {}}})", quoted(t.name),
                       fmt::join(t.shape, ", "), t.group);
  };
  const auto file = [](const FileEntry& f) {
    return fmt::format(
        R"({{"name": {}, "bytes": {}, "header_bytes": {}, "header_crc32c": "{}", "host": {}}})",
        quoted(f.name), f.bytes, f.header_bytes, checksum_text(f.header_crc), quoted(f.host));
  };
  const auto chunk = [](const StoredChunk& c) {
    return fmt::format(R"({{"offset": {}, "size": {}, "file": {}, "at": {}, "crc32c": "{}"}})",
                       c.offset, c.size, c.file, c.at, checksum_text(c.crc));
  };
  const auto pair = [](const auto& p) { return quoted(p.first) + ": " + quoted(p.second); };
  return fmt::format(
      "{{\n\"format\": \"sheaf checkpoint\",\n\"version\": {},\n\"job\": {},\n\"step\": {},\n"
      "\"state_per_parameter\": {},\n{},\n{},\n{},\n{},\n{}\n}}\n",
      kFormatVersion, quoted(m.job), m.step, m.state_per_parameter,
      lines("groups", "[]", m.layout.groups(), group),
      lines("tensors", "[]", m.layout.tensors(), tensor), lines("files", "[]", m.files, file),
      lines("chunks", "[]", m.chunks, chunk), lines("about", "{}", m.about, pair));
}

}  // namespace

void Manifest::add(const WrittenFile& written) {
  for (StoredChunk chunk : written.chunks) {
    chunk.file = static_cast<std::uint32_t>(files.size());
    chunks.push_back(chunk);
  }
  std::sort(chunks.begin(), chunks.end(),
            [](const StoredChunk& a, const StoredChunk& b) { return a.offset < b.offset; });
  files.push_back(written.file);
}

std::uint64_t Manifest::bytes() const {
  std::uint64_t sum = 0;
  for (const FileEntry& file : files) sum += file.header_bytes;
  for (const StoredChunk& chunk : chunks) sum += extent_bytes(chunk);
  return sum;
}

void require_sound(const Manifest& manifest) {
  require_layout(manifest);
  require_chunks(manifest);
  require_files(manifest);
}

std::string to_text(const Manifest& manifest) {
  try {
    require_sound(manifest);
  } catch (const std::invalid_argument& e) {
    fail(Fault::internal, "the manifest of step {} does not add up: {}; please report this",
         manifest.step, e.what());
  }
  std::string text = json_of(manifest);
  return text +=
         fmt::format("crc32c {}\n", checksum_text(wire::crc32c(std::as_bytes(std::span(text)))));
}

}  // namespace sheaf::checkpoint
