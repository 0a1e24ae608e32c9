#include "server/door.h"

#include <algorithm>

namespace sheaf::server {
namespace {

wire::Verdict admit_newest(std::uint32_t& newest, std::uint32_t incarnation) {
  if (incarnation < newest) return wire::Verdict::stale;
  newest = incarnation;
  return wire::Verdict::welcome;
}

}  // namespace

wire::Verdict Door::admit(const wire::Identity& client) {
  const std::uint32_t id = client.process.id;
  if (client.epoch != options_.epoch) return wire::Verdict::stale;
  const bool scalars = client.process.role == Role::server && client.lane == kScalarLane;
  if (client.lane != options_.lane && !scalars) return wire::Verdict::not_expected;
  if (client.process.role == Role::server) {
    const bool expected = scalars ? id < options_.servers : primaries_.contains(id);
    if (!expected) return wire::Verdict::not_expected;
    return admit_newest(newest_server_[id], client.incarnation);
  }
  if (client.process.role != Role::worker || id >= options_.workers) {
    return wire::Verdict::not_expected;
  }
  return admit_newest(newest_[id], client.incarnation);
}

void Door::expect(std::uint32_t worker, std::uint32_t incarnation) {
  newest_.at(worker) = std::max(newest_.at(worker), incarnation);
}

}  // namespace sheaf::server
