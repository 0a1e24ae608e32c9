// What hosts of a test say to each other, looked through as it crosses the bridge between them: is
// it Sheaf's own protocol, for anybody to read? Nothing is kept but counts. Owns a thread; one
// thread may use it.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <thread>

#include "tests/harness/process.h"
#include "tests/hosts/test_hosts.h"

namespace sheaf::harness {

class Capture {
 public:
  // From here on. Throws if the network of the hosts cannot be listened to.
  explicit Capture(const TestHosts& hosts);
  ~Capture();
  Capture(const Capture&) = delete;
  Capture& operator=(const Capture&) = delete;

  struct Seen {
    std::uint64_t bytes = 0;  // of packets, each counted once
    std::uint64_t lost = 0;   // packets that came faster than they were looked through
    // How often, by what: "SHEAF-HI" and the other words of a handshake, "frame 1" for the start of
    // a frame of type 1 (common/wire/FORMAT.md). What two packets share is not found.
    std::map<std::string, std::uint64_t> in_clear;
  };
  // Until here.
  Seen stop();

 private:
  void listen(int socket);
  void look_through(std::string_view packet);

  Descriptor end_;  // readable: no more
  Seen seen_;
  std::jthread thread_;  // the only one that writes seen_, until it has ended
};

}  // namespace sheaf::harness
