#include "tests/worker/data/support.h"

#include <stdlib.h>
#include <zlib.h>

#include <fstream>

namespace sheaf::worker {

TempFolder::TempFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "sheaf-data-XXXXXX").string();
  check(mkdtemp(name.data()) != nullptr, "a temporary folder");
  path_ = name;
}

TempFolder::~TempFolder() { std::filesystem::remove_all(path_); }

std::string TempFolder::write(std::string_view name, std::string_view content) const {
  const std::string path = *this / name;
  std::ofstream out(path, std::ios::binary);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  check(out.good(), "a temporary file");
  return path;
}

std::string TempFolder::write_gzip(std::string_view name, std::string_view content) const {
  return write(name, gzip(content));
}

std::string gzip(std::string_view content) {
  const TempFolder folder;
  const std::string path = folder / "packed";
  gzFile file = gzopen(path.c_str(), "wb");
  check(file != nullptr, "a gzip file");
  gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
  gzclose(file);
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFF);
  return bytes;
}

ConfiguredSource make_source(std::string_view kind, const std::string& toml, std::uint64_t seed) {
  auto document = config::Document::from_text("[data]\n" + toml, "job.toml");
  auto source = find_mode(sources(), kind)->make(document->root().table("data"), seed);
  document->throw_if_faulty();
  return {std::move(document), std::move(source)};
}

std::vector<std::string> config_faults(std::string_view kind, const std::string& toml) {
  auto document = config::Document::from_text("[data]\n" + toml, "job.toml");
  find_mode(sources(), kind)->make(document->root().table("data"), 1);
  document->reject_unknown();
  return document->faults();
}

Examples read_all(Source& source, SourcePart part) {
  Examples examples(source.schema());
  source.read(part, [](std::uint64_t) { return true; }, examples);
  return examples;
}

std::vector<std::vector<float>> rows_of(const Examples& examples) {
  std::vector<std::vector<float>> rows;
  for (std::size_t i = 0; i < examples.size(); ++i) {
    std::vector<float> row;
    if (examples.schema().bytes) {
      for (const std::uint8_t byte : examples.bytes(i)) row.push_back(byte);
    } else {
      for (const float value : examples.floats(i)) row.push_back(value);
    }
    for (const float target : examples.targets(i)) row.push_back(target);
    rows.push_back(std::move(row));
  }
  return rows;
}

void NumberedSource::read(SourcePart part, const RowFilter& keep, Examples& into) {
  for (std::uint64_t row = 0; row < rows(part); ++row) {
    if (!keep(row)) continue;
    const auto value = static_cast<float>(row);
    const std::vector<float> inputs = {value, 1000 + value};
    const std::vector<float> targets = {-value};
    into.append(row, inputs, targets);
  }
}

}  // namespace sheaf::worker
