// A rank's connection to the coordinator: registration, beats both ways, figures, warnings, and the
// word that ends the job. One thread of its own, so that a rank that computes still beats.
//
// If the coordinator dies, a rank that was told to wait for another one finishes its step, begins
// no other, and asks again and again where a new one is. To that it says who it is and where it
// stands (wire::Return), and, once it is told that the job goes on, what may be lost.
// Thread-safe, except that connect() and enroll() come first.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "common/base/clock.h"
#include "common/cluster/coordination.h"
#include "common/cluster/shutdown.h"
#include "common/cluster/takeover_memory.h"
#include "common/net/frame_channel.h"
#include "common/net/handshake_io.h"

namespace sheaf::cluster {

class ControlLink final : public Coordination, public net::FrameHandler {
 public:
  struct Options {
    net::Credentials credentials;
    net::Endpoint coordinator;
    Duration beat = std::chrono::seconds(1);
    Duration dead = std::chrono::seconds(10);
    Duration start = std::chrono::seconds(60);
    // CPU time of this process so far, for the coordinator, in the link's thread; empty: not said.
    std::function<double()> cpu_seconds = {};
  };

  // Where another coordinator may be.
  struct Search {
    Duration grace{};  // for one to come
    struct Found {
      std::optional<net::Endpoint> endpoint;
      bool other_job = false;  // another one goes on where this job was
    };
    std::function<Found()> look;          // in the link's thread, several times a second
    std::function<void()> on_grace_over;  // nobody has come: once, in the same thread; may be empty
  };

  ControlLink(Options options, Shutdown& shutdown);
  ~ControlLink() override;

  // Connects, proves the key and starts to beat. Throws Fault::network or Fault::auth.
  void connect();
  // The address of this end: the interface that reaches the coordinator.
  std::string local_address() const { return local_address_; }
  // The one that has the job now. In the link's thread.
  const net::Endpoint& coordinator() const { return options_.coordinator; }
  // Registers and waits until everybody has, at most `start`.
  wire::Start enroll(const wire::Registration& registration);

  // From here on a coordinator that dies is waited for, so long and a little more. Without: its
  // death is the end of this rank. REQUIRES: enrolled.
  void wait_for_another(Search search);

  // Who is told of checkpoints, in the link's thread; when this returns, nobody else is.
  void on_checkpoint(std::function<void(const wire::CheckpointAt&)> handler);
  // And of their bases.
  void on_base(std::function<void(const wire::CheckpointBase&)> handler);
  // Who answers when the coordinator asks what an open step lacks, in the link's thread. The same.
  void on_waiting(std::function<wire::Waiting()> handler);
  // Who answers when the coordinator asks how far partitions are, by answer(). The same.
  void on_clock(std::function<void(const wire::PartitionClock&)> handler);
  // Who is told of a server that has taken the place of another one, in the link's thread; also of
  // those that came before. When this returns, nobody else is.
  void on_moved(std::function<void(const wire::ProcessInfo&)> handler);
  // Who is told that there is something to take_help(), in the link's thread. The same.
  void on_help(std::function<void()> handler);
  // Who is told of another worker that this one is to be as well, in the link's thread. The same.
  void on_guest(std::function<void(const wire::ProcessInfo&)> handler);
  // This server has taken the place of its predecessor.
  void moved(const wire::ProcessInfo& self);
  void answer(const wire::CheckpointAnswer& answer);
  void answer(const wire::PartitionClock& answer);
  void saved(const wire::Saved& saved);
  // A step was left out, since its gradient is not finite.
  void skipped(Step step) { send(wire::ControlKind::skipped, wire::Drain{step}); }
  void log(const std::string& text, bool warning);
  // Reports the failure of this rank. The coordinator then ends the job.
  void fail(const wire::Failure& failure);
  void finished(const wire::Finished& report);
  // Until the coordinator ends the job.
  void wait_for_end();
  // Sends what is queued and closes, within `limit`.
  void close(Duration limit);
  // True once the coordinator has ended the job: then it knows what went wrong.
  bool stopped() const { return stopped_.load(); }
  // Steps begun so far, for "which phase".
  Step begun() const { return begun_.load(std::memory_order_relaxed); }

  // Coordination
  std::vector<double> sum(std::string_view tag, const Values& mine) override;
  void submit(std::string_view tag, const Values& mine) override;
  void collect(std::string_view tag, const Values& mine) override;
  void report_loss(const wire::StepLoss& loss, const wire::Traffic& traffic) override;
  bool may_begin(Step step) override;
  void offer_help(Step step) override { send(wire::ControlKind::help, wire::Drain{step}); }
  std::optional<wire::PartitionClock> take_help() override;
  void await_release(Step step) override;
  void released(Step step, std::uint32_t partition, std::uint32_t chunks,
                const wire::Digest& digest) override;
  // Of a server: chunks of one of its lanes.
  void lane_released(Step step, std::uint32_t lane, std::uint32_t chunks,
                     const wire::Digest& digest);
  void send_model(std::size_t offset, std::span<const float> values) override;

  // net::FrameHandler
  std::span<std::byte> receive_into(const wire::Header& header) override;
  void on_frame(const wire::Header& header) override;
  std::optional<wire::OutFrame> next_frame() override;
  void on_written(std::size_t count) override;

 private:
  // What becomes of a frame while no coordinator has the job: it waits, it is in memory_, it is of
  // no use to another one, or it goes out all the same.
  enum class Fate { held, kept, dropped, urgent };
  static ControlFrame frame_of(wire::ControlKind kind, std::vector<std::byte> body);
  template <typename Message>
  void send(wire::ControlKind kind, const Message& message, Fate fate = Fate::held) {
    enqueue(frame_of(kind, wire::to_bytes(message)), fate);
  }
  void enqueue(ControlFrame frame, Fate fate);
  void wake();
  void contribute(std::string_view tag, const Values& mine, bool sum);
  void flush_losses();
  std::optional<ControlFrame> take_losses();
  net::Task<void> beat_loop();
  void on_control(const wire::Header& header);
  void on_checkpoint_order(const wire::CheckpointAt& order);
  void on_checkpoint_base(const wire::CheckpointBase& base);
  void on_moved_server(wire::ProcessInfo server);

  void adopt(net::Connection connection);
  void on_disconnected(const std::exception_ptr& error);
  void end(std::exception_ptr error);
  net::Task<void> search_loop();
  net::Task<bool> reach(net::Endpoint coordinator);
  void come_back();
  void on_resumed();

  Options options_;
  Shutdown& shutdown_;
  std::string local_address_;
  std::atomic<Step> begun_{0};
  std::atomic<bool> stopped_{false};

  std::mutex handler_mutex_;                                      // held while the handler runs
  std::function<void(const wire::CheckpointAt&)> on_checkpoint_;  // guarded by handler_mutex_
  std::function<void(const wire::CheckpointBase&)> on_base_;      // the same
  std::function<wire::Waiting()> on_waiting_;                     // the same
  std::function<void(const wire::PartitionClock&)> on_clock_;     // the same
  std::function<void(const wire::ProcessInfo&)> on_moved_;        // the same
  std::vector<wire::ProcessInfo> moved_;                          // the same
  std::function<void()> on_help_;                                 // the same
  std::function<void(const wire::ProcessInfo&)> on_guest_;        // the same

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<ControlFrame> outbox_;   // guarded: the first `taken_` are being written
  std::size_t taken_ = 0;             // guarded
  std::optional<wire::Start> start_;  // guarded
  // Guarded: by tag, those that somebody waits for; empty until they are here.
  std::map<std::string, std::optional<std::vector<double>>> totals_;
  wire::Losses losses_;                     // guarded
  bool draining_ = false;                   // guarded
  std::optional<Step> last_step_;           // guarded
  std::deque<wire::PartitionClock> helps_;  // guarded
  Step granted_ = 0;                        // guarded: steps below may be released
  bool closed_ = false;                     // guarded
  wire::Registration registration_;         // guarded
  TakeoverMemory memory_;                   // guarded
  std::optional<Search> search_;            // guarded
  bool orphaned_ = false;                   // guarded: no coordinator has the job
  std::vector<ControlFrame> held_;          // guarded: for the next one

  // The link thread's own.
  net::asio::io_context context_{1};
  std::unique_ptr<net::FrameChannel> channel_;
  net::asio::steady_timer beat_timer_{context_};
  std::vector<std::byte> body_;  // being received
  TimePoint heard_{};
  bool closing_ = false;
  bool searching_ = false;  // no connection
  net::asio::steady_timer search_timer_{context_};
  std::unique_ptr<Shutdown::Subscription> on_end_;
  std::jthread thread_;
};

}  // namespace sheaf::cluster
