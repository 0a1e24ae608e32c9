// The sockets of a probe: whether one host reaches another, and how fast. Plain sockets, since what
// they measure is the floor for everything that Sheaf itself does over them.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "launcher/doctor/probe_messages.h"

namespace sheaf::launcher {

// Accepts connections on all that it listens on, in a thread of its own, until it is destroyed.
// Its functions belong to one thread.
class ProbeNetwork {
 public:
  ProbeNetwork();
  ~ProbeNetwork();
  ProbeNetwork(const ProbeNetwork&) = delete;
  ProbeNetwork& operator=(const ProbeNetwork&) = delete;

  // Binds the first free port of the range; 0 and 0: any. Throws Fault::network if none is free.
  ProbeEndpoint listen(const std::string& address, std::uint16_t first, std::uint16_t last);
  // Bytes per second that came in during an exchange that another began. It has ended there; it is
  // given a moment to end here. Throws Fault::network if there was none since the last call.
  double received();

 private:
  void accept_loop();
  void serve(int socket);

  int wake_ = -1;
  std::mutex mutex_;
  std::vector<int> listeners_;      // guarded
  std::optional<double> received_;  // guarded
  std::condition_variable changed_;
  std::atomic<bool> ending_ = false;
  std::jthread thread_;
};

// Of each endpoint why it could not be connected to within `limit`; empty if it was. All at once.
std::vector<std::string> reach(const std::vector<ProbeEndpoint>& endpoints,
                               std::chrono::milliseconds limit);

// Sends to a ProbeNetwork and receives from it, for so long. Bytes per second received; the other
// side knows how fast we sent. Throws Fault::network if it cannot be reached.
double exchange(const ProbeEndpoint& endpoint, std::chrono::milliseconds duration);

// The local address of a connection to the endpoint. Throws Fault::network.
std::string address_towards(const ProbeEndpoint& endpoint, std::chrono::milliseconds limit);

}  // namespace sheaf::launcher
