#include "launcher/rank/guests.h"

#include <utility>

#include "common/base/error.h"

namespace sheaf::launcher {

Guests::Guests(RankSession& host) : host_(host), job_(host.config.resolved()) {
  host_.link.on_guest([this](const wire::ProcessInfo& worker) { take(worker); });
}

Guests::~Guests() {
  host_.link.on_guest({});
  {
    const std::lock_guard lock(mutex_);
    ending_ = true;
    for (const auto& guest : guests_) {
      if (guest->session == nullptr) continue;
      guest->session->shutdown.fail(std::make_exception_ptr(Error(
          Fault::network, "the process that it is in ends", std::source_location::current())));
    }
  }
  wait();
}

void Guests::wait() {
  host_.link.on_guest({});  // who comes now has not been heard
  std::vector<std::unique_ptr<Guest>> guests;
  {
    const std::lock_guard lock(mutex_);
    guests = std::exchange(guests_, {});
  }
  for (const auto& guest : guests) guest->thread.join();
}

// In the thread of the host's link.
void Guests::take(const wire::ProcessInfo& worker) {
  const std::lock_guard lock(mutex_);
  if (ending_) return;
  guests_.push_back(std::make_unique<Guest>());
  Guest& guest = *guests_.back();
  guest.seat = host_.seat;
  guest.seat.coordinator = host_.link.coordinator();  // may be another one by now
  guest.seat.process = worker.process;
  guest.seat.incarnation = worker.incarnation;
  guest.thread = std::jthread([this, &guest] { run(guest); });
}

// While a guest's session can be told to end.
struct Guests::Presence {
  Presence(Guests& guests, Guest& guest, RankSession& session) : guests_(guests), guest_(guest) {
    const std::lock_guard lock(guests_.mutex_);
    guest_.session = &session;
    too_late = guests_.ending_;
  }
  ~Presence() {
    const std::lock_guard lock(guests_.mutex_);
    guest_.session = nullptr;
  }
  Presence(const Presence&) = delete;
  Presence& operator=(const Presence&) = delete;

  bool too_late = false;

 private:
  Guests& guests_;
  Guest& guest_;
};

// A guest that fails says so to the coordinator, as any rank does, or its host says it if the guest
// has not reached the coordinator; its host goes on.
void Guests::run(Guest& guest) {
  try {
    RunConfig config = RunConfig::from_text(job_, "config.toml");
    config.require_sound();
    RankSession session(config, guest.seat);
    session.guest = true;
    const Presence presence(*this, guest, session);
    if (presence.too_late) return;
    session.link.connect();
    try {
      work(session);
      session.link.close(config.timeouts().suspect);
    } catch (...) {
      const std::exception_ptr error = std::current_exception();
      if (!session.link.stopped()) session.link.fail(session.failure(error));
      session.shutdown.fail(error);
      session.link.close(std::chrono::seconds(1));
    }
  } catch (...) {
    host_.link.log(fmt::format("cannot be {} as well: {}", to_string(guest.seat.process),
                               describe(std::current_exception()).second),
                   true);
  }
}

}  // namespace sheaf::launcher
