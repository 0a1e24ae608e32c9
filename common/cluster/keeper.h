// Keeps the shared memory of one job on one host: it makes memory when it is first asked for and
// hands its descriptor to every process of the job that proves the key. So processes find each
// other's memory without a name in any file system; the keeper's own address is an abstract socket,
// which is gone with it.
//
// Each server process tries to be the keeper of its host; the first one is. Where memory is to
// outlive servers, a process of its own is (launcher/rank/keeper_process). A thread serves the
// others, one more reserves. Names are the job's own words: "parameters", "worker 3 gradients".
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "common/base/clock.h"
#include "common/cluster/keeper_store.h"
#include "common/net/handshake_io.h"
#include "common/net/shared_memory.h"

namespace sheaf::cluster {

class Keeper {
 public:
  // Becomes the keeper, or returns nothing if this host has one already.
  static std::unique_ptr<Keeper> start(const net::Credentials& credentials, Duration limit,
                                       KeeperStore::Reserve reserve = &net::SharedMemory::create);
  ~Keeper();

  // Returns when no process of the job has been connected for `idle`, or when one says that the job
  // is over. Once.
  void serve(Duration idle);

 private:
  struct State;
  explicit Keeper(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
  std::thread thread_;
};

// One process's connection to the keeper of its host. Calls block until they are answered, within
// the limit. Thread-safe.
class KeeperClient {
 public:
  // Throws Fault::network if this host has no keeper, Fault::auth if the key is another's.
  KeeperClient(const net::Credentials& credentials, Duration limit);
  ~KeeperClient();

  // Maps the memory called `name`, made now if nobody has asked for it before. Throws
  // Fault::internal if it cannot be reserved, Fault::network if it exists with another size.
  net::SharedMemory memory(const std::string& name, std::size_t bytes,
                           net::SharedMemory::Access access);
  // Leaves a descriptor for others under a name, in place of an older one.
  void put(const std::string& name, const net::Descriptor& descriptor);
  // What was left under a name. Throws Fault::network if nothing was.
  net::Descriptor get(const std::string& name);
  // Nobody asks for any more for names that begin like this: their memory is gone when nobody maps
  // it.
  void forget(const std::string& beginning);
  // The job is over: a keeper that serves for no other purpose ends.
  void end();
  // Ends a call that waits: it throws, and so does every later one. Thread-safe.
  void interrupt();

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::mutex mutex_;
};

}  // namespace sheaf::cluster
