// Somebody between two test hosts: passes on what they say to each other over one port, and changes
// a bit of it when told to. Owns threads; one thread may use it.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>
#include <thread>
#include <vector>

#include "tests/harness/process.h"
#include "tests/hosts/test_hosts.h"

namespace sheaf::harness {

class Meddler {
 public:
  // From here on, all connections of host `from` to this port of host `to` end at the bridge.
  Meddler(const TestHosts& hosts, unsigned from, unsigned to, std::uint16_t port);
  ~Meddler();
  Meddler(const Meddler&) = delete;
  Meddler& operator=(const Meddler&) = delete;

  enum class Direction { forth, back };
  // Changes one bit of the next bytes in this direction, once.
  void strike(Direction direction);
  bool has_struck() const { return struck_; }

 private:
  void accept_all(int listener);
  void pass(int from, int to, Direction direction);

  const TestHosts& hosts_;
  unsigned to_;
  std::uint16_t port_;
  std::atomic<bool> armed_[2] = {false, false};  // by direction
  std::atomic<bool> struck_ = false;
  Descriptor end_;                     // readable: no more
  std::list<Descriptor> sockets_;      // of accept_all(), which alone adds to them
  std::vector<std::jthread> passing_;  // likewise
  std::jthread accepting_;
};

}  // namespace sheaf::harness
