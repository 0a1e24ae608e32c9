// What a keeper keeps, by name: memory that it makes when it is first asked for, and descriptors
// that were left. Reserving takes seconds for large memory, so it is done in a thread of its own,
// once for each name; others are served meanwhile. One reservation comes after the other, so that
// each sees what the one before has left of the host's memory.
//
// Lives in the thread of its context, except for the function that reserves.
#pragma once

#include <cstddef>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "common/net/asio.h"
#include "common/net/shared_memory.h"

namespace sheaf::cluster {

class KeeperStore {
 public:
  // As net::SharedMemory::create; called from the thread that reserves.
  using Reserve = std::function<net::SharedMemory(const std::string& name, std::size_t bytes)>;

  // The context outlives the object.
  KeeperStore(net::asio::io_context& context, Reserve reserve);

  // In place of what was left under this name before.
  void put(const std::string& name, net::Descriptor descriptor);
  // What was left or made. Throws Fault::network if nothing was.
  net::Descriptor get(const std::string& name) const;
  // What is kept under names that begin like this is kept no longer.
  void forget(const std::string& beginning);
  // Memory, made now if nobody has asked for this name before. Throws what `reserve` throws, to all
  // who wait for it; who asks then has it tried again.
  net::Task<net::Descriptor> memory(std::string name, std::size_t bytes);

 private:
  struct Reservation {
    explicit Reservation(net::asio::io_context& context);
    net::asio::steady_timer over;  // never expires: cancelled when it is over
    std::exception_ptr error;
  };
  void reserve(const std::string& name, std::size_t bytes);
  void finish(const std::string& name, net::Descriptor memory, std::exception_ptr error);

  net::asio::io_context& context_;
  const Reserve reserve_;
  std::map<std::string, net::Descriptor> kept_;
  std::map<std::string, std::shared_ptr<Reservation>> under_way_;
  net::asio::thread_pool reserving_{1};  // the last member: it uses the others until it is joined
};

}  // namespace sheaf::cluster
