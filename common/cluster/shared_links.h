// How a worker's memory for its conversations with the servers of its host is laid out: a title
// that says whose it is, the worker's doorbell, and for each lane of each server a ring of requests
// and a ring of answers. The worker makes it, each lane maps it; both name a lane by its index.
// A view: the memory belongs to somebody else.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "common/net/doorbell.h"
#include "common/net/frame_ring.h"

namespace sheaf::cluster {

// Names under which the keeper of a host knows what its processes share.
std::string parameters_name();
std::string outgoing_name(std::uint32_t worker, std::uint32_t incarnation);  // what it pushes
// What it pulled, where each version is read by one worker alone: lanes write it there.
std::string incoming_name(std::uint32_t worker, std::uint32_t incarnation);
std::string links_name(std::uint32_t worker, std::uint32_t incarnation);
// How those names begin for all incarnations of a worker.
std::array<std::string, 3> names_of_worker(std::uint32_t worker);
std::string residuals_name(std::uint32_t partition);                  // what outlives its worker
std::string snapshot_name(std::uint32_t server, std::uint32_t lane);  // what outlives the server
std::string wake_name(std::uint32_t server, std::uint32_t lane);      // an eventfd

// Floats of one of the two parameter vectors that a host shares, so that each begins on a page.
std::size_t shared_vector_floats(std::size_t parameters);

class SharedLinks {
 public:
  struct Title {
    std::uint64_t magic = kMagic;
    std::uint32_t epoch = 0;
    std::uint32_t worker = 0;
    std::uint32_t incarnation = 0;
    std::uint32_t lanes = 0;
    std::uint64_t capacity = 0;  // frames of a ring
    bool operator==(const Title&) const = default;
    static constexpr std::uint64_t kMagic = 0x3130534B4E494C53;
  };

  static std::size_t bytes(std::size_t lanes, std::size_t capacity);

  SharedLinks() = default;
  // As its maker: writes the title into memory that is all zero.
  static SharedLinks make(std::span<std::byte> memory, const Title& title);
  // As its user: throws Fault::network if the title is not `title`.
  static SharedLinks open(std::span<std::byte> memory, const Title& title);

  net::Doorbell& bell() const;
  net::FrameRing requests(std::size_t lane) const { return ring(2 * lane); }
  net::FrameRing answers(std::size_t lane) const { return ring(2 * lane + 1); }
  // Makes both rings of a lane empty. REQUIRES: nobody uses them.
  void clear(std::size_t lane) const;

 private:
  SharedLinks(std::span<std::byte> memory, std::size_t capacity)
      : memory_(memory), capacity_(capacity) {}
  std::span<std::byte> ring_memory(std::size_t index) const;
  net::FrameRing ring(std::size_t index) const;

  std::span<std::byte> memory_;
  std::size_t capacity_ = 0;
};

}  // namespace sheaf::cluster
