#include "server/checkpoint/checkpointer.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace sheaf::server {

Checkpointer::Checkpointer(checkpoint::Disk& disk, Options options)
    : disk_(disk), options_(std::move(options)) {
  std::size_t largest = 0;
  for (const std::uint32_t id : options_.file.ids) {
    largest = std::max(largest, options_.file.chunks[id].size);
  }
  for (std::size_t i = 0; i < options_.buffers; ++i) {
    buffers_.emplace_back(largest * (1 + options_.file.state_per_parameter));
    free_.push_back(buffers_.back().data());
  }
  queue_.reserve(options_.buffers);
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

std::size_t Checkpointer::memory() const {
  std::size_t bytes = 0;
  for (const auto& buffer : buffers_) bytes += buffer.size() * sizeof(float);
  return bytes;
}

std::span<float> Checkpointer::room(std::size_t floats) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    wanted_ = true;
    return {};
  }
  float* const room = free_.back();
  free_.pop_back();
  return {room, floats};
}

void Checkpointer::ready(Version version, std::uint32_t chunk, std::span<float> room) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({version, chunk, room});
  }
  changed_.notify_one();
}

void Checkpointer::abandon(Version version) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back({version, 0, {}});
  }
  changed_.notify_one();
}

void Checkpointer::run(const std::stop_token& stop) {
  while (true) {
    std::optional<Item> item;
    {
      std::unique_lock lock(mutex_);
      if (!changed_.wait(lock, stop, [&] { return !queue_.empty(); })) return;
      item = queue_.front();
      queue_.erase(queue_.begin());
    }
    if (item->room.empty()) {
      under_way_[item->version] = {.file = nullptr, .chunks = 0, .abandoned = true};
      continue;
    }
    write(*item);
    give_back(item->room);
  }
}

// A version that has failed is said once; what is still handed over for it is let go.
void Checkpointer::write(const Item& item) {
  UnderWay& version = under_way_[item.version];
  if (version.abandoned) return;
  const bool last = ++version.chunks == options_.file.ids.size();
  try {
    if (version.chunks == 1) {
      checkpoint::DataFileParts parts = options_.file;
      parts.step = item.version;
      version.file =
          std::make_unique<checkpoint::DataFileWriter>(disk_, options_.folder, std::move(parts));
    }
    if (version.file) {
      const std::size_t size = options_.file.chunks[item.chunk].size;
      version.file->write(item.chunk, item.room.first(size), item.room.subspan(size));
      if (last) options_.on_done(item.version, version.file->finish(), {});
    }
  } catch (...) {
    version.file.reset();
    options_.on_done(item.version, std::nullopt, describe(std::current_exception()).second);
  }
  if (last) under_way_.erase(item.version);
}

void Checkpointer::give_back(std::span<float> room) {
  bool wanted = false;
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(room.data());
    wanted = std::exchange(wanted_, false);
  }
  if (wanted) options_.on_room();
}

}  // namespace sheaf::server
