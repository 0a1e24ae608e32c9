// Who may connect to a lane: workers and servers of this job, and of each only the newest self.
// What it was before it was replaced is turned away, however late it wakes up. Plain code; belongs
// to the lane's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "common/wire/handshake.h"

namespace sheaf::server {

// The lane that a server names which comes to share scalars, not for its replica.
inline constexpr std::uint32_t kScalarLane = 0xFFFFFFFF;

class Door {
 public:
  struct Options {
    std::uint32_t lane = 0;
    std::uint32_t epoch = 0;
    std::uint32_t servers = 0;  // of the job, which share scalars; 0: none of them does so here
    std::uint32_t workers = 1;
  };
  explicit Door(const Options& options) : options_(options), newest_(options.workers, 0) {}

  // Here is the replica of that server, which may come as well: of that incarnation, or a newer
  // one.
  void expect_primary(std::uint32_t server, std::uint32_t incarnation) {
    primaries_.insert(server);
    std::uint32_t& newest = newest_server_[server];
    newest = std::max(newest, incarnation);
  }

  // Of somebody who has proved the key. Whoever is welcome is the newest, until another one is: to
  // be asked again when a greeting is over.
  wire::Verdict admit(const wire::Identity& client);
  // From now on no self of this worker before that incarnation is welcome. REQUIRES: it is one.
  void expect(std::uint32_t worker, std::uint32_t incarnation);

 private:
  Options options_;
  std::vector<std::uint32_t> newest_;                     // of each worker
  std::map<std::uint32_t, std::uint32_t> newest_server_;  // by server
  std::set<std::uint32_t> primaries_;
};

}  // namespace sheaf::server
