// The only user of MPI: ranks, hosts, and the exchange of a few bytes before training begins. It is
// finalized there; afterwards our own wire carries everything, so that no MPI call ever waits for a
// peer that may be dead. One object per process; used by one thread.
#pragma once

#include <string>
#include <vector>

#include "common/base/clock.h"

namespace sheaf::launcher {

class MpiSession {
 public:
  // MPI_Init. It cannot be interrupted: guard it with a Watchdog.
  MpiSession();
  // Finalizes, if finalize() was not called.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  int rank() const { return rank_; }
  int size() const { return size_; }
  static std::string library();  // name and version

  // Rank 0 gets the texts of all ranks, by rank; others get nothing. Throws Fault::network after
  // `limit`, naming the ranks that did not send.
  std::vector<std::string> gather(const std::string& mine, Duration limit);
  // Everybody returns rank 0's text. Throws Fault::network after `limit`.
  std::string broadcast(const std::string& text, Duration limit);

  void finalize();

  // Median milliseconds of MPI_Allreduce (sum) of so many floats over all ranks, each time over
  // values that were just written; of the slowest rank, and only rank 0 knows it.
  double allreduce_ms(std::size_t floats, int repeat) const;

 private:
  int rank_ = 0;
  int size_ = 1;
  bool open_ = true;
};

}  // namespace sheaf::launcher
