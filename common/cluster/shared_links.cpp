#include "common/cluster/shared_links.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "common/base/error.h"

namespace sheaf::cluster {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kRings = 2 * kLine;  // behind the title and the doorbell
constexpr std::size_t kPageFloats = 1024;

}  // namespace

std::string parameters_name() { return "parameters"; }
std::string outgoing_name(std::uint32_t worker, std::uint32_t incarnation) {
  return fmt::format("outgoing {} {}", worker, incarnation);
}
std::string incoming_name(std::uint32_t worker, std::uint32_t incarnation) {
  return fmt::format("incoming {} {}", worker, incarnation);
}
std::string links_name(std::uint32_t worker, std::uint32_t incarnation) {
  return fmt::format("links {} {}", worker, incarnation);
}
std::array<std::string, 3> names_of_worker(std::uint32_t worker) {
  return {fmt::format("outgoing {} ", worker), fmt::format("incoming {} ", worker),
          fmt::format("links {} ", worker)};
}
std::string residuals_name(std::uint32_t partition) {
  return fmt::format("partition {} residuals", partition);
}
std::string snapshot_name(std::uint32_t server, std::uint32_t lane) {
  return fmt::format("snapshot {} {}", server, lane);
}
std::string wake_name(std::uint32_t server, std::uint32_t lane) {
  return fmt::format("wake {} {}", server, lane);
}

std::size_t shared_vector_floats(std::size_t parameters) {
  return (parameters + kPageFloats - 1) / kPageFloats * kPageFloats;
}

std::size_t SharedLinks::bytes(std::size_t lanes, std::size_t capacity) {
  return kRings + 2 * lanes * net::FrameRing::bytes(capacity);
}

SharedLinks SharedLinks::make(std::span<std::byte> memory, const Title& title) {
  static_assert(sizeof(Title) <= kLine && sizeof(net::Doorbell) <= kLine);
  std::memcpy(memory.data(), &title, sizeof title);
  return {memory, title.capacity};
}

SharedLinks SharedLinks::open(std::span<std::byte> memory, const Title& title) {
  Title found;
  std::memcpy(&found, memory.data(), sizeof found);
  if (found != title) {
    fail(Fault::network,
         "shared memory of worker {} (epoch {}, {} lanes), expected that of worker {} (epoch {}, "
         "{} lanes)",
         found.worker, found.epoch, found.lanes, title.worker, title.epoch, title.lanes);
  }
  return {memory, title.capacity};
}

net::Doorbell& SharedLinks::bell() const {
  return *std::launder(reinterpret_cast<net::Doorbell*>(memory_.data() + kLine));
}

std::span<std::byte> SharedLinks::ring_memory(std::size_t index) const {
  const std::size_t bytes = net::FrameRing::bytes(capacity_);
  return memory_.subspan(kRings + index * bytes, bytes);
}

net::FrameRing SharedLinks::ring(std::size_t index) const {
  return {ring_memory(index), capacity_};
}

void SharedLinks::clear(std::size_t lane) const {
  for (const std::size_t index : {2 * lane, 2 * lane + 1}) {
    std::ranges::fill(ring_memory(index), std::byte{0});
  }
}

}  // namespace sheaf::cluster
