#include "launcher/rank/worker_residuals.h"

#include <fmt/format.h>

#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/reader.h"
#include "launcher/coordinator/checkpoints.h"
#include "launcher/system/host.h"

namespace sheaf::launcher {

WorkerResiduals::WorkerResiduals(RankSession& rank, WorkerRole& role) : rank_(rank), role_(role) {
  if (!rank.config.error_feedback()) return;
  keeper_.emplace(rank, true);
  try {
    client_ =
        std::make_unique<cluster::KeeperClient>(rank.credentials, rank.config.timeouts().start);
  } catch (const Error& error) {
    rank.link.log(fmt::format("what its pushes leave out ends with it: {}", error.message()), true);
  }
  role.keep_residuals(client_.get(), rank.seat.incarnation, rank.warn());
  rank.link.on_checkpoint([this](const wire::CheckpointAt& order) { take(order); });
}

WorkerResiduals::~WorkerResiduals() { rank_.link.on_checkpoint({}); }

void WorkerResiduals::announce(wire::Registration& registration) const {
  if (role_.residuals() == nullptr) return;
  keeper_->announce(registration);
  const auto left_by = role_.residuals()->left_by();
  registration.has_residuals = left_by.has_value();
  registration.residuals_of = left_by.value_or(0);
}

void WorkerResiduals::begin(const wire::Start& start) {
  if (role_.residuals() == nullptr) return;
  if (start.predecessor.pid != 0) {
    adopt(start.predecessor);
  } else if (!start.predecessor.host_id.empty()) {  // nothing of that one is left
    role_.residuals()->begin_without(start.first_step);
  } else {
    restore(start);
  }
  open_saver(start);
}

// From here on nobody writes to what it has left, also if it was only stopped.
void WorkerResiduals::adopt(const wire::ProcessInfo& predecessor) {
  if (!end_process({static_cast<pid_t>(predecessor.pid), predecessor.started},
                   std::chrono::seconds(5))) {
    fail(Fault::network, "its predecessor (pid {}) does not end", predecessor.pid);
  }
  role_.residuals()->adopt();
}

void WorkerResiduals::restore(const wire::Start& start) {
  worker::Residuals& residuals = *role_.residuals();
  std::optional<checkpoint::Manifest> manifest;
  if (!start.manifest.empty()) manifest = checkpoint::manifest_from_text(start.manifest);
  if (!manifest || manifest->residuals.empty()) return residuals.begin(start.first_step);
  checkpoint::Reader reader(disk_, start.checkpoints, *manifest);
  residuals.begin(start.first_step, [&](std::uint32_t partition, std::uint32_t run,
                                        std::size_t begin, std::span<float> values) {
    if (run < manifest->runs()) reader.read_residual(partition, run, begin, values);
  });
}

void WorkerResiduals::end() {
  if (client_) end_keeper(*client_);
}

void WorkerResiduals::open_saver(const wire::Start& start) {
  cluster::ControlLink& link = rank_.link;
  const auto on_answer = [&link](Version version, bool in_time) {
    link.answer(wire::CheckpointAnswer{version, in_time, true});
  };
  const auto on_done = [&link](Version version, std::optional<checkpoint::WrittenFile> written,
                               const std::string& error) {
    wire::Saved saved;
    saved.version = version;
    saved.error = error;
    if (written) saved = saved_message(version, {*written});
    link.saved(saved);
  };
  saver_.emplace(disk_, *role_.residuals(),
                 worker::ResidualSaver::Options{.folder = start.checkpoints,
                                                .file = {.layout = role_.layout(),
                                                         .chunks = role_.chunks(),
                                                         .partitions = role_.hosted(),
                                                         .runs = role_.residuals()->runs(),
                                                         .job = rank_.config.run().name,
                                                         .worker = rank_.seat.process.id,
                                                         .host = host_name()},
                                                .first = start.first_step,
                                                .on_answer = on_answer,
                                                .on_done = on_done});
  const std::lock_guard lock(mutex_);
  open_ = true;
  for (const wire::CheckpointAt& order : std::exchange(early_, {})) pass_on(order);
}

// In the link's thread.
void WorkerResiduals::take(const wire::CheckpointAt& order) {
  const std::lock_guard lock(mutex_);
  if (!open_) return early_.push_back(order);
  pass_on(order);
}

void WorkerResiduals::pass_on(const wire::CheckpointAt& order) {
  if (order.abandoned) return saver_->abandon(order.version);
  saver_->order(order.version);
}

}  // namespace sheaf::launcher
