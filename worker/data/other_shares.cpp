#include "worker/data/other_shares.h"

#include <fmt/format.h>

#include <utility>

#include "common/base/error.h"

namespace sheaf::worker {

const PartitionSet* OtherShares::find(PartitionRange share) {
  const auto [place, is_new] = shares_.try_emplace(share.first);
  Share& entry = place->second;
  if (is_new) {
    entry.reading = std::jthread(
        [this, &entry, share, load = options_.prepare(share)] { read(entry, share, load); });
  }
  const std::lock_guard lock(mutex_);
  return entry.data.get();
}

void OtherShares::read(Share& share, PartitionRange partitions, const Load& load) {
  const std::string what =
      fmt::format("the examples of partitions {}..{}", partitions.first, partitions.end() - 1);
  try {
    auto data = load();
    const double mebibytes = static_cast<double>(data->memory()) / (1 << 20);
    {
      const std::lock_guard lock(mutex_);
      share.data = std::move(data);
    }
    options_.say(fmt::format("keeps {}, too ({:.1f} MiB), for steps in which their worker is late",
                             what, mebibytes));
    options_.on_loaded();
  } catch (...) {
    options_.say(fmt::format("cannot stand in for a late worker: {}: {}", what,
                             describe(std::current_exception()).second));
  }
}

}  // namespace sheaf::worker
