#include "server/checkpoint/part_writer.h"

#include <utility>

#include "common/base/error.h"

namespace sheaf::server {

void PartWriter::abandon(Version version) {
  under_way_[version] = {.file = nullptr, .chunks = 0, .abandoned = true};
}

void PartWriter::name_base(Version version, Version base) {
  if (base < version) under_way_[version].base = base;
}

void PartWriter::write(Version version, std::uint32_t chunk, std::span<const float> values) {
  UnderWay& part = under_way_[version];
  if (part.abandoned) return;
  const bool last = ++part.chunks == options_.file.ids.size();
  try {
    if (part.chunks == 1) {
      checkpoint::DataFileParts parts = options_.file;
      parts.step = version;
      part.file = std::make_unique<checkpoint::DataFileWriter>(
          disk_, options_.folder, std::move(parts),
          part.base ? checkpoint::Base::open(disk_, options_.folder, *part.base) : nullptr);
    }
    if (part.file) {
      const std::size_t size = options_.file.chunks[chunk].size;
      part.file->write(chunk, values.first(size), values.subspan(size));
      if (last) options_.on_done(version, part.file->finish(), {});
    }
  } catch (...) {
    part.file.reset();
    options_.on_done(version, std::nullopt, describe(std::current_exception()).second);
  }
  if (last) under_way_.erase(version);
}

}  // namespace sheaf::server
