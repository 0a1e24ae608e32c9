// One connection of a worker to one lane of one server. The compute thread leaves requests in an
// inbox; the lane's thread hands them to the Exchange and moves frames. Owned by PushPull.
//
//   submit → inbox → drain_inbox → Exchange → next_frame → FrameChannel → socket
#pragma once

#include <chrono>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "common/net/frame_channel.h"
#include "common/net/wakeup.h"
#include "worker/client/exchange.h"
#include "worker/client/push_pull.h"

namespace sheaf::worker {

class LaneClient final : public net::FrameHandler, public ExchangeEvents {
 public:
  LaneClient(PushPull& owner, params::LaneId lane, net::asio::io_context& context,
             std::string server);
  ~LaneClient() override;

  // From the compute thread.
  struct Request {
    wire::FrameType type;
    Step step;
    std::uint32_t chunk;
    PartitionRange partitions;
    std::uint64_t value;  // as FORMAT.md has it for the type
    std::span<const std::byte> payload;
    std::span<std::byte> into;
  };
  void submit(const Request& request);
  // Wakes the lane's thread for what was submitted since the last time.
  void flush();
  // For compressed pulls: where the bytes of a chunk are received before they are decoded.
  // `before`: the version before, where differences are sent.
  std::span<std::byte> staging(std::uint32_t chunk, std::span<float> parameters,
                               std::span<const float> before);

  // From the lane's thread, except before it runs. The connection is made outside, then attached.
  net::Connection& connection() { return connection_; }
  void attach();
  bool attached() const { return channel_ != nullptr; }
  // Since when it has had no answer over a connection, if it has lost one; that it has, now.
  std::optional<TimePoint> lost_at() const { return lost_at_; }
  TimePoint lost() {
    if (!lost_at_) lost_at_ = std::chrono::steady_clock::now();
    return *lost_at_;
  }
  void answered() { lost_at_.reset(); }
  const std::string& why_lost() const { return why_lost_; }  // the last one
  // A moment before the next try; ends at once when it is closed.
  net::Task<void> pause();
  bool closing() const { return closing_; }
  // The incarnation of the server that it is connected to, or is being; there is a newer one.
  void join_to(std::uint32_t incarnation) { joins_ = incarnation; }
  void move_to(std::uint32_t incarnation);
  // That which was last offered our rings, and may use them: nobody is offered them twice.
  void offer_to(std::optional<std::uint32_t> incarnation) { offered_ = incarnation; }
  std::optional<std::uint32_t> offered() const { return offered_; }
  // How many requests were sent again when it was attached.
  std::size_t sent_again() const { return sent_again_; }
  // Ends it, whether it is attached or only being made.
  void close();
  params::LaneId lane() const { return lane_; }
  net::asio::io_context& context() { return context_; }

  wire::Traffic traffic() const;
  std::optional<wire::Header> oldest() const;  // of the unanswered requests

  // net::FrameHandler
  std::span<std::byte> receive_into(const wire::Header& header) override;
  void on_frame(const wire::Header& header) override;
  std::optional<wire::OutFrame> next_frame() override;
  // ExchangeEvents
  void on_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t bytes) override;
  void on_difference(std::uint32_t chunk, Step clock, Version version, std::size_t bytes) override;
  void on_superseded(std::uint32_t chunk) override;
  void on_settled(const wire::Header& request) override;
  void on_partial(const wire::Header& request, std::span<const std::uint32_t> missing) override;

 private:
  void on_lost(std::exception_ptr error);
  struct Staged {
    std::vector<std::byte> bytes;
    std::span<float> into;
    std::span<const float> before;
  };
  void drain_inbox();
  void decode(std::uint32_t chunk, Version version, std::size_t bytes);
  void count_arrived(std::uint32_t chunk, Step clock, Version version, std::size_t bytes);

  PushPull& owner_;
  const params::LaneId lane_;
  net::asio::io_context& context_;
  const std::string server_;
  std::vector<Staged> staged_;  // by chunk; empty unless pulls are compressed
  bool unsent_ = false;         // submitted and not flushed

  mutable std::mutex mutex_;
  std::vector<Request> inbox_;          // guarded
  wire::Traffic traffic_;               // guarded
  std::optional<wire::Header> oldest_;  // guarded

  // The lane thread's own.
  std::vector<Request> taken_;
  Exchange exchange_;
  net::Connection connection_;  // until it is attached
  std::unique_ptr<net::FrameChannel> channel_;
  bool closing_ = false;
  std::optional<std::uint32_t> joins_;
  std::optional<std::uint32_t> offered_;
  std::size_t sent_again_ = 0;
  std::optional<TimePoint> lost_at_;
  std::string why_lost_;
  net::asio::steady_timer pause_;
  net::Wakeup wakeup_;
};

}  // namespace sheaf::worker
