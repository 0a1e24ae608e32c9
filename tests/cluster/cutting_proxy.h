// Stands between a worker and one lane of a server, passes on what they say, and cuts connections
// in the middle of it: after so many bytes, with a reset, the first few times. Owns a thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

namespace sheaf::threads {

class CuttingProxy {
 public:
  // Listens on loopback for connections to `port` there. The n-th one is cut after cuts[n] bytes in
  // both directions together; those behind are not.
  CuttingProxy(std::uint16_t port, std::vector<std::size_t> cuts);
  ~CuttingProxy();
  CuttingProxy(const CuttingProxy&) = delete;
  CuttingProxy& operator=(const CuttingProxy&) = delete;

  std::uint16_t port() const { return port_; }
  std::size_t cuts() const { return cut_; }  // that were made

 private:
  void run(std::uint16_t to);

  std::vector<std::size_t> cuts_;
  int listener_ = -1;
  int end_ = -1;  // readable: no more
  std::uint16_t port_ = 0;
  std::atomic<std::size_t> cut_{0};
  std::jthread thread_;
};

}  // namespace sheaf::threads
