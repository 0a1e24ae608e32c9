#include "common/cluster/keeper_store.h"

#include <utility>

#include "common/base/error.h"

namespace sheaf::cluster {

KeeperStore::Reservation::Reservation(net::asio::io_context& context)
    : over(context, net::asio::steady_timer::time_point::max()) {}

KeeperStore::KeeperStore(net::asio::io_context& context, Reserve reserve)
    : context_(context), reserve_(std::move(reserve)) {}

void KeeperStore::put(const std::string& name, net::Descriptor descriptor) {
  kept_[name] = std::move(descriptor);
}

net::Descriptor KeeperStore::get(const std::string& name) const {
  const auto found = kept_.find(name);
  if (found == kept_.end()) fail(Fault::network, "nobody has left \"{}\" here", name);
  return found->second.duplicate();
}

void KeeperStore::forget(const std::string& beginning) {
  std::erase_if(kept_, [&](const auto& entry) { return entry.first.starts_with(beginning); });
}

net::Task<net::Descriptor> KeeperStore::memory(std::string name, std::size_t bytes) {
  if (!kept_.contains(name)) {
    const auto [place, first] = under_way_.try_emplace(name);
    if (first) {
      place->second = std::make_shared<Reservation>(context_);
      net::asio::post(reserving_, [this, name, bytes] { reserve(name, bytes); });
    }
    const std::shared_ptr<Reservation> reservation = place->second;
    net::ErrorCode cancelled;
    co_await reservation->over.async_wait(
        net::asio::redirect_error(net::asio::use_awaitable, cancelled));
    if (reservation->error) std::rethrow_exception(reservation->error);
  }
  co_return get(name);
}

void KeeperStore::reserve(const std::string& name, std::size_t bytes) {
  net::Descriptor made;
  std::exception_ptr error;
  try {
    // This mapping ends here; the descriptor keeps the memory.
    made = reserve_("sheaf " + name, bytes).descriptor().duplicate();
  } catch (...) {
    error = std::current_exception();
  }
  // Moved: an exception is for one thread at a time.
  net::asio::post(context_,
                  [this, name, memory = std::move(made), error = std::move(error)]() mutable {
                    finish(name, std::move(memory), std::move(error));
                  });
}

void KeeperStore::finish(const std::string& name, net::Descriptor memory,
                         std::exception_ptr error) {
  const auto reservation = under_way_.extract(name).mapped();
  reservation->error = std::move(error);
  if (!reservation->error) put(name, std::move(memory));
  reservation->over.cancel();
}

}  // namespace sheaf::cluster
