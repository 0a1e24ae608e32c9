#include "worker/residuals/residual_saver.h"

#include <utility>

#include "common/base/error.h"

namespace sheaf::worker {

ResidualSaver::ResidualSaver(checkpoint::Disk& disk, const Residuals& residuals, Options options)
    : disk_(disk),
      residuals_(residuals),
      options_(std::move(options)),
      next_(options_.first),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

void ResidualSaver::order(Version version) {
  std::unique_lock lock(mutex_);
  const bool in_time = version >= next_;
  if (in_time) pending_.insert(version);
  options_.on_answer(version, in_time);
  if (ended_) save_due(lock);
}

void ResidualSaver::abandon(Version version) {
  const std::lock_guard lock(mutex_);
  pending_.erase(version);
  abandoned_ = abandoned_ || writing_ == version;
}

void ResidualSaver::on_begin(Step step) {
  std::unique_lock lock(mutex_);
  next_ = step;
  save_due(lock);
  next_ = step + 1;
}

void ResidualSaver::on_end(Step step) {
  std::unique_lock lock(mutex_);
  next_ = step;
  ended_ = true;
  save_due(lock);
}

// All versions that are over, since nobody can be past them: a worker that others went on without
// comes to a later step, and has left out the same since.
void ResidualSaver::save_due(std::unique_lock<std::mutex>& lock) {
  while (!pending_.empty() && *pending_.begin() <= next_) {
    changed_.wait(lock, [this] { return !writing_; });
    if (pending_.empty() || *pending_.begin() > next_) return;  // it was abandoned meanwhile
    if (copy_.size() == 0) copy_ = AlignedBuffer<float>(residuals_.floats());
    residuals_.copy(next_, copy_.span());
    writing_ = *pending_.begin();
    abandoned_ = false;
    pending_.erase(pending_.begin());
    changed_.notify_all();
  }
}

void ResidualSaver::run(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (changed_.wait(lock, stop, [this] { return writing_.has_value(); })) {
    const Version version = *writing_;
    lock.unlock();
    try {
      write(version);
    } catch (...) {
      options_.on_done(version, std::nullopt, describe(std::current_exception()).second);
    }
    lock.lock();
    writing_.reset();
    changed_.notify_all();
  }
}

void ResidualSaver::write(Version version) {
  checkpoint::ResidualFileParts parts = options_.file;
  parts.step = version;
  checkpoint::ResidualFileWriter file(disk_, options_.folder, std::move(parts));
  std::size_t at = 0;
  const params::ChunkMap& chunks = residuals_.chunks();
  for (std::uint32_t p = residuals_.hosted().first; p < residuals_.hosted().end(); ++p) {
    for (std::uint32_t c = 0; c < chunks.size(); ++c) {
      if (is_abandoned(version)) return;
      for (std::uint32_t run = 0; run < residuals_.runs(); ++run, at += chunks[c].size) {
        file.write(p, run, c, copy_.span().subspan(at, chunks[c].size));
      }
    }
  }
  options_.on_done(version, file.finish(), {});
}

bool ResidualSaver::is_abandoned(Version version) {
  const std::lock_guard lock(mutex_);
  return abandoned_ && writing_ == version;
}

}  // namespace sheaf::worker
