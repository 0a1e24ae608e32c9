#include "common/checkpoint/manifest.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <stdexcept>
#include <tuple>
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
    if (!std::isfinite(group.rate_scale) || !std::isfinite(group.decay_scale) ||
        !std::isfinite(group.own.rate) || !std::isfinite(group.own.towards)) {
      refuse("the scales of a group are not finite");
    }
  }
  if (manifest.averages() && manifest.runs() > 1) {
    refuse("residuals have {} runs, and a group is averaged", manifest.runs());
  }
  std::set<std::string_view> names;
  for (const params::Tensor& tensor : manifest.layout.tensors()) {
    if (!names.insert(tensor.name).second) refuse("two tensors are called {}", tensor.name);
  }
}

// `list[i]`, which comes when so many elements are covered. Returns how many there are with it.
std::uint64_t require_next(const Manifest& manifest, std::string_view list, std::size_t i,
                           const StoredChunk& chunk, std::uint64_t covered) {
  if (chunk.offset != covered) {
    refuse("{}[{}]: it begins at element {}, expected {}: {}", list, i, chunk.offset, covered,
           chunk.offset > covered ? "a hole" : "an overlap");
  }
  if (chunk.size == 0) refuse("{}[{}]: it is empty", list, i);
  if (chunk.size > manifest.layout.size() - covered) {
    refuse("{}[{}]: it ends beyond the {} elements of the tensors", list, i,
           manifest.layout.size());
  }
  if (chunk.file >= manifest.files.size()) {
    refuse("{}[{}]: file {} is none of {}", list, i, chunk.file, manifest.files.size());
  }
  return covered + chunk.size;
}

void require_chunks(const Manifest& manifest) {
  std::uint64_t covered = 0;
  for (std::size_t i = 0; i < manifest.chunks.size(); ++i) {
    covered = require_next(manifest, "chunks", i, manifest.chunks[i], covered);
  }
  if (covered != manifest.layout.size()) {
    refuse("the chunks end at element {}, the tensors have {}", covered, manifest.layout.size());
  }
}

void require_residuals(const Manifest& manifest) {
  if (manifest.residuals.empty()) return;
  const std::uint64_t whole = manifest.layout.size();
  const std::uint32_t runs = manifest.runs();
  std::uint64_t covered = 0;  // of that partition and run
  std::uint32_t partition = 0, run = 0;
  for (std::size_t i = 0; i < manifest.residuals.size(); ++i) {
    const StoredResidual& residual = manifest.residuals[i];
    if (covered == whole) {
      covered = 0;
      if (++run == runs) {
        run = 0;
        ++partition;
      }
    }
    if (residual.partition != partition || residual.run != run) {
      refuse("residuals[{}]: it is run {} of partition {}, expected run {} of {}", i, residual.run,
             residual.partition, run, partition);
    }
    covered = require_next(manifest, "residuals", i, residual.chunk, covered);
  }
  if (covered != whole) {
    refuse("the residuals of partition {} end at element {}, the tensors have {}", partition,
           covered, whole);
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

struct Extent {
  std::uint64_t at = 0;
  std::uint64_t bytes = 0;
};

// `extents` of one file, by place.
void require_extents(const FileEntry& file, bool own, const std::vector<Extent>& extents) {
  std::uint64_t end = file.header_bytes;
  for (const Extent& extent : extents) {
    if (extent.at < end) {
      refuse("{}: the extent at byte {} overlaps what ends at {}", file.name, extent.at, end);
    }
    if (own && extent.at > end) {
      refuse("{}: a hole between bytes {} and {}", file.name, end, extent.at);
    }
    if (extent.at > file.bytes || extent.bytes > file.bytes - extent.at) {
      refuse("{}: the extent at byte {} ends beyond its {} bytes", file.name, extent.at,
             file.bytes);
    }
    end = extent.at + extent.bytes;
  }
  if (own && end != file.bytes) {
    refuse("{}: the extents end at byte {}, the file has {}", file.name, end, file.bytes);
  }
  if (!own && extents.empty()) refuse("{}: no chunk is in it", file.name);
}

void require_files(const Manifest& manifest) {
  std::vector<std::vector<Extent>> extents(manifest.files.size());
  for (const StoredChunk& chunk : manifest.chunks) {
    extents[chunk.file].push_back({chunk.at, manifest.extent_bytes(chunk)});
  }
  for (const StoredResidual& residual : manifest.residuals) {
    extents[residual.chunk.file].push_back({residual.chunk.at, residual.extent_bytes()});
  }
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
    std::ranges::sort(extents[i], {}, &Extent::at);
    require_extents(file, own, extents[i]);
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

std::uint64_t version_of(const Manifest& m) {
  if (m.averages()) return kAveragedVersion;
  if (m.descends()) return kDescentVersion;
  return m.runs() == 0 ? kFormatVersion : m.runs() == 1 ? kResidualsVersion : kRunsVersion;
}

std::string json_of(const Manifest& m) {
  const bool descends = m.descends();
  check(!descends || (m.runs() == 0 && !m.averages()), "a manifest has a version");
  const auto group = [&](const params::Group& g) {
    const std::string own = descends ? fmt::format(R"(, "descent_rate": {}, "descent_towards": {})",
                                                   real(g.own.rate), real(g.own.towards))
                                     : "";
    return fmt::format(R"({{"rate_scale": {}, "decay_scale": {}{}{}}})", real(g.rate_scale),
                       real(g.decay_scale), g.averaged ? R"(, "averaged": true)" : "", own);
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
  const auto place = [](const StoredChunk& c) {
    return fmt::format(R"("offset": {}, "size": {}, "file": {}, "at": {}, "crc32c": "{}")",
                       c.offset, c.size, c.file, c.at, checksum_text(c.crc));
  };
  const auto chunk = [&](const StoredChunk& c) { return "{" + place(c) + "}"; };
  const auto residual = [&](const StoredResidual& r) {
    const std::string run = m.runs() > 1 ? fmt::format(R"("run": {}, )", r.run) : "";
    return fmt::format(R"({{"partition": {}, {}{}}})", r.partition, run, place(r.chunk));
  };
  const auto pair = [](const auto& p) { return quoted(p.first) + ": " + quoted(p.second); };
  return fmt::format(
      "{{\n\"format\": \"sheaf checkpoint\",\n\"version\": {},\n\"job\": {},\n\"step\": {},\n"
      "\"state_per_parameter\": {},\n{},\n{},\n{},\n{},\n{}{}\n}}\n",
      version_of(m), quoted(m.job), m.step, m.state_per_parameter,
      lines("groups", "[]", m.layout.groups(), group),
      lines("tensors", "[]", m.layout.tensors(), tensor), lines("files", "[]", m.files, file),
      lines("chunks", "[]", m.chunks, chunk),
      has_residuals(version_of(m)) ? lines("residuals", "[]", m.residuals, residual) + ",\n" : "",
      lines("about", "{}", m.about, pair));
}

}  // namespace

void Manifest::add(const WrittenFile& written) {
  const auto known = std::ranges::find(files, written.file);
  const auto file = static_cast<std::uint32_t>(known - files.begin());
  for (StoredChunk chunk : written.chunks) {
    chunk.file = file;
    chunks.push_back(chunk);
  }
  std::ranges::sort(chunks, {}, &StoredChunk::offset);
  for (StoredResidual residual : written.residuals) {
    residual.chunk.file = file;
    residuals.push_back(residual);
  }
  std::ranges::sort(residuals, {}, [](const StoredResidual& r) {
    return std::tuple(r.partition, r.run, r.chunk.offset);
  });
  if (known == files.end()) files.push_back(written.file);
}

bool Manifest::averages() const {
  return std::ranges::any_of(layout.groups(), &params::Group::averaged);
}

bool Manifest::descends() const {
  return std::ranges::any_of(layout.groups(),
                             [](const params::Group& g) { return g.own != params::Descent{}; });
}

std::uint64_t Manifest::bytes() const {
  std::uint64_t sum = 0;
  for (const FileEntry& file : files) sum += file.header_bytes;
  for (const StoredChunk& chunk : chunks) sum += extent_bytes(chunk);
  for (const StoredResidual& residual : residuals) sum += residual.extent_bytes();
  return sum;
}

std::uint64_t Manifest::written_bytes() const {
  std::uint64_t sum = 0;
  for (const FileEntry& file : files) {
    if (file.name.starts_with(folder_name(step) + "/")) sum += file.bytes;
  }
  return sum;
}

void require_sound(const Manifest& manifest) {
  require_layout(manifest);
  require_chunks(manifest);
  require_residuals(manifest);
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
