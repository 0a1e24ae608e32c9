#include "launcher/rank/rank.h"

#include <iostream>
#include <string>

#include "common/base/error.h"
#include "common/math/blas.h"
#include "launcher/rank/guests.h"
#include "launcher/rank/rank_session.h"

namespace sheaf::launcher {
namespace {

// "worker 1" → rank among servers and workers.
std::uint32_t rank_of(const RunConfig& config, ProcessId process) {
  return (process.role == Role::server ? 0 : config.run().servers) + process.id;
}

}  // namespace

int run_rank(const RunConfig& config, const Seat& seat) {
  math::set_blas_threads(static_cast<int>(config.run().blas_threads));
  RankSession rank(config, seat);
  const auto ended = [&](int code, Duration patience) {
    rank.link.close(patience);
    return rank.last ? rank.last->close(config.timeouts().dead + std::chrono::seconds(3)) : code;
  };
  try {
    rank.link.connect();
    if (seat.process.role == Role::server) {
      rank.link.finished(serve(rank));
    } else {
      Guests guests(rank);
      work(rank);
      guests.wait();
    }
    return ended(0, config.timeouts().suspect);
  } catch (...) {
    const auto [fault, text] = describe(std::current_exception());
    if (!rank.link.stopped()) {  // else the coordinator has said why already
      std::cerr << fmt::format("sheaf: rank {} ({}, {}): {}\n", rank_of(config, seat.process),
                               to_string(seat.process), rank.where(), text)
                << std::flush;
      rank.link.fail(rank.failure(std::current_exception()));
      rank.shutdown.fail(std::current_exception());
    }
    return ended(static_cast<int>(fault), std::chrono::seconds(1));
  }
}

}  // namespace sheaf::launcher
