// The centre of a job's control: who is there, who is alive, sums of figures over partitions, the
// drain and the end. Runs on a thread of its own, in the supervisor of `sheaf train` or, by hand,
// in rank 0. What happens is told to the JobRecord, in that thread.
//
// start(), then wait(); drain() and abort() from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "common/checkpoint/posix_disk.h"
#include "common/cluster/membership.h"
#include "common/net/handshake_io.h"
#include "common/net/listener.h"
#include "common/wire/messages.h"
#include "launcher/coordinator/checkpoints.h"
#include "launcher/coordinator/failing_hosts.h"
#include "launcher/coordinator/gathering.h"
#include "launcher/coordinator/refusals.h"
#include "launcher/coordinator/replacements.h"
#include "launcher/coordinator/speculation.h"
#include "launcher/coordinator/waits.h"
#include "launcher/run/control_peer.h"
#include "launcher/run/job_record.h"
#include "launcher/run/private_run.h"
#include "launcher/system/background.h"
#include "launcher/system/process_identity.h"

namespace sheaf::launcher {

class Coordinator {
 public:
  struct Options {
    net::Credentials credentials;
    std::string address;  // to listen on
    net::PortRange ports;
    std::uint32_t servers = 1;
    std::uint32_t workers = 1;
    std::uint32_t partitions = 1;
    bool deterministic = false;    // refuse ranks whose float bits may differ
    bool keeps_residuals = false;  // workers do, of what pushes leave out
    bool promises_bits = true;     // the consistency model gives the same bits when numerics agree
    Duration beat{};
    Duration suspect{};
    Duration dead{};
    Duration start{};
    std::string job = {};   // its name
    std::string host = {};  // this one
    CheckpointSection checkpoint = {};
    std::filesystem::path checkpoints = {};  // the folder
    // What the manifests of this job say besides steps, layout and files.
    checkpoint::Manifest manifest = {};
    std::optional<checkpoint::Manifest> resumed = {};  // where the job goes on from
    std::uint32_t incarnation = 0;                     // of the ranks
    // Takes a job over whose coordinator has died, instead of beginning one.
    struct Takeover {
      Duration limit{};  // who has not come back then is lost
      // Who is known to belong to it, and of them who is known to have ended.
      std::vector<wire::ProcessInfo> members = {};
      std::set<ProcessId> gone = {};
      bool ends = false;  // after a common step
    };
    std::optional<Takeover> takeover = {};
    bool scalable = false;   // somebody can start the ranks again
    bool stands_in = false;  // idle workers compute for late ones
    // What servers keep, with which others can go on.
    bool snapshots = false;
    bool replicas = false;
    // Starts another process in the place of a lost one, of that incarnation, on its host or, if
    // that is left empty, on another one; calls on_start_failed() if it ends before it is here.
    // From the coordinator's thread. Null: who loses one has lost the job.
    std::function<void(const wire::ProcessInfo& lost, std::uint32_t incarnation)> replace = {};
    // How the steps of a private job are accounted for, and its secrets.
    std::optional<PrivateRun> privacy = {};
    std::size_t chunk_bytes = 0;    // 0: automatic
    Restarts* budget = nullptr;     // for that; outlives the object, whose thread alone uses it
    FailingHosts* hosts = nullptr;  // the same; null: none is set aside
  };

  Coordinator(Options options, JobRecord& record);
  ~Coordinator();

  net::Endpoint endpoint() const { return listener_.endpoint(); }
  void start();

  // Asks all workers to stop after a common step, and to end the job as usual.
  void drain();
  // Ends the job with a failure, unless it has ended. An empty phase: the one the job is in.
  void abort(wire::Failure failure);

  // What `replace` has started did not come. Thread-safe.
  void on_start_failed(ProcessId worker, std::uint32_t incarnation, std::string why);
  // Of the newest process. Thread-safe.
  std::uint32_t incarnation() const { return incarnation_.load(); }

  // Whether none of the ranks that the job began with is left. Thread-safe.
  bool all_replaced() const { return first_ranks_.load() == 0; }

  // How many workers somebody has asked for: the job drains, to go on with so many. Thread-safe.
  std::optional<std::uint32_t> scaled_to() const;

  // Whether every rank has arrived and the job has begun. Thread-safe.
  bool began() const { return began_.load(std::memory_order_relaxed); }
  // The ranks that registered from this host, for a supervisor that has to end them. Thread-safe.
  std::vector<ProcessIdentity> local_ranks();

  // How it ended: nothing = complete.
  using Outcome = std::optional<wire::Failure>;
  // The outcome, once every rank has gone or was given up; nothing within `limit` = not over.
  std::optional<Outcome> wait(Duration limit);

 private:
  net::Task<void> accept_loop();
  net::Task<void> receive(net::Connection connection);
  net::Task<void> tick_loop();
  void on_frame(ControlPeer& peer, const wire::Header& header, std::span<const std::byte> body);
  void on_control(ControlPeer& peer, wire::ControlKind kind, std::span<const std::byte> body);
  void on_question(ControlPeer& client, wire::ControlKind kind, std::span<const std::byte> body);
  std::string scale(std::uint32_t workers);
  wire::Status status(std::vector<std::string> waits) const;
  void on_registration(ControlPeer& peer, wire::Registration registration);
  void on_contribution(ControlPeer& peer, wire::Contribution contribution);
  void on_offer(std::uint32_t worker, Step step);
  void on_drain_answer(ControlPeer& peer, Step begun);
  void on_released(ControlPeer& peer, const wire::Released& released);
  void grant();
  void on_finished(ControlPeer& peer, const wire::Finished& report);
  void on_failure(ControlPeer& peer, wire::Failure failure);
  void on_refused(const Error& refusal, const wire::Identity* peer, wire::Verdict verdict);
  void on_closed(ControlPeer& peer, std::exception_ptr error);
  void begin_job();
  void open_ledger(const wire::Registration& first);
  bool has_residuals();
  bool has_other_noise() const;
  void begin_replacements();
  void on_returned(ControlPeer& peer, wire::Return message);
  void note_local(const wire::Registration& registration);
  void expect_returns();
  void expect(ProcessId process);
  void take_over_if_all_here();
  void take_over();
  void find_guests();
  void take_over_checkpoints();
  void take_over_drain();
  void begin_checkpoints(const wire::Registration& first);
  void place_backups();
  void complete_if_saved();
  void say_encryption();
  void end_job(Outcome outcome);
  void finish_if_all_gone();
  void handle(const std::vector<cluster::Membership::Event>& events);
  void judge_witnesses(TimePoint now);
  bool replace(const cluster::Membership::Event& event);
  bool move(const wire::ProcessInfo& lost, const std::string& why);
  ControlPeer* host_for(const wire::ProcessInfo& lost, TimePoint now);
  void await(ProcessId process, std::uint32_t incarnation, TimePoint from);
  bool shares_process(const wire::ProcessInfo& lost) const;
  std::optional<wire::ProcessInfo> left_residuals(ProcessId successor) const;
  bool goes_on_with_residuals(ProcessId successor, Step first, wire::Start& start);
  bool set_aside(const wire::ProcessInfo& lost, TimePoint now);
  void on_successor(ControlPeer& peer);
  void begin_successor(ProcessId worker, Step first);
  void begin_server(const wire::ProcessInfo& lost);
  void on_moved(ControlPeer& peer);
  void tell_moved(const wire::ProcessInfo& server);
  wire::Start start_message(Role role) const;
  template <typename Message>
  void send_all(Role role, wire::ControlKind kind, const Message& message) {
    for (const auto& peer : peers_) {
      if (peer->process().role == role) peer->send(kind, message);
    }
  }
  std::string phase() const;
  Step start_step() const { return options_.resumed ? options_.resumed->step : 0; }
  ControlPeer* find(ProcessId process);

  Options options_;
  JobRecord& record_;
  net::asio::io_context context_{1};
  net::Listener listener_;
  cluster::Membership membership_;
  net::asio::steady_timer tick_{context_};
  std::vector<std::unique_ptr<ControlPeer>> peers_;
  std::map<ProcessId, wire::Registration> registrations_;
  Gathering gathering_;
  checkpoint::PosixDisk disk_;
  std::map<ProcessId, wire::Return> returns_;
  std::unique_ptr<Checkpoints> checkpoints_;
  std::optional<Background> files_;  // ends before that
  std::unique_ptr<Waits> waits_;
  std::optional<Replacements> replacements_;
  std::optional<Speculation> speculation_;
  std::set<ProcessId> replaced_;             // at least once
  std::map<ProcessId, ProcessId> guest_of_;  // workers that are in the process of another one
  std::map<ProcessId, wire::ProcessInfo> residuals_of_;  // who keeps them of each worker
  std::atomic<std::size_t> first_ranks_;
  std::uint32_t clients_ = 0;  // that have come so far
  std::atomic<std::uint32_t> scale_{0};
  Step last_ = 0;  // version that the job ends with
  Step steps_ = 0;
  std::map<ProcessId, Step> drain_answers_;
  std::map<ProcessId, Step> least_begun_;  // of successors
  std::optional<Step> drained_to_;
  bool draining_ = false;
  bool running_ = false;
  std::atomic<bool> began_{false};
  std::atomic<std::uint32_t> incarnation_;
  bool spans_hosts_ = false;
  bool closing_ = false;
  Step newest_step_ = 0;
  std::vector<std::uint32_t> backups_;  // of each server, if replicas are kept
  std::size_t strangers_ = 0;           // connections in their handshake
  Refusals refusals_;
  std::optional<Outcome> ending_;  // decided; ranks are being told
  wire::Failure stop_;             // what they are told
  TimePoint ending_since_{};
  TimePoint expecting_since_{};  // those that come back
  std::set<ProcessId> failed_;   // have said so: that they leave is no news
  struct Witness {
    wire::Failure failure;  // of a peer's death
    TimePoint since{};
  };
  std::vector<Witness> witnesses_;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<Outcome> over_;               // guarded
  std::vector<ProcessIdentity> local_ranks_;  // guarded
  std::jthread thread_;
};

// What a job file says about the coordination of its job.
Coordinator::Options coordinator_options(const RunConfig& config, const wire::JobKey& key,
                                         std::string address, net::PortRange ports);

}  // namespace sheaf::launcher
