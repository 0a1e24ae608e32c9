#include "server/checkpoint/checkpointer.h"

#include <algorithm>
#include <utility>

namespace sheaf::server {

Checkpointer::Checkpointer(checkpoint::Disk& disk, Options options)
    : on_room_(std::move(options.on_room)), part_(disk, options.part) {
  const checkpoint::DataFileParts& file = options.part.file;
  std::size_t largest = 0;
  for (const std::uint32_t id : file.ids) largest = std::max(largest, file.chunks[id].size);
  for (std::size_t i = 0; i < options.buffers; ++i) {
    buffers_.emplace_back(largest * (1 + file.state_per_parameter));
    free_.push_back(buffers_.back().data());
  }
  queue_.reserve(options.buffers);
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
  put({version, chunk, room});
}

void Checkpointer::name_base(Version version, Version base) { put({version, 0, {}, base}); }

void Checkpointer::abandon(Version version) { put({version, 0, {}}); }

void Checkpointer::put(const Item& item) {
  {
    const std::lock_guard lock(mutex_);
    queue_.push_back(item);
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
    if (item->base) {
      part_.name_base(item->version, *item->base);
      continue;
    }
    if (item->room.empty()) {
      part_.abandon(item->version);
      continue;
    }
    part_.write(item->version, item->chunk, item->room);
    give_back(item->room);
  }
}

void Checkpointer::give_back(std::span<float> room) {
  bool wanted = false;
  {
    const std::lock_guard lock(mutex_);
    free_.push_back(room.data());
    wanted = std::exchange(wanted_, false);
  }
  if (wanted) on_room_();
}

}  // namespace sheaf::server
