#include "launcher/coordinator/checkpoints.h"

#include <algorithm>
#include <filesystem>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/names.h"

namespace sheaf::launcher {
namespace {

// How far ahead of the job a checkpoint is ordered.
constexpr Duration kLead = std::chrono::milliseconds(500), kLongestLead = std::chrono::seconds(10);

std::set<std::string> names_of(const checkpoint::Manifest& manifest) {
  std::set<std::string> names;
  for (const checkpoint::FileEntry& file : manifest.files) names.insert(file.name);
  return names;
}

}  // namespace

Checkpoints::Checkpoints(Options options, checkpoint::Disk& disk, std::optional<Version> newest,
                         TimePoint now)
    : options_(std::move(options)),
      newest_(newest),
      next_(now + options_.every),
      lead_(kLead),
      seen_at_(now),
      passed_(newest.value_or(0)),
      disk_(disk),
      store_(disk_, options_.folder) {
  if (!newest) return;
  if (const auto manifest = store_.manifest(*newest)) files_[*newest] = names_of(*manifest);
}

// ---- when ---------------------------------------------------------------------------------------

void Checkpoints::take(Version version, bool end, const std::set<Version>& bases) {
  if (newest_ && version <= *newest_) return;
  if (failed_.contains(version)) return;  // servers hand a version over once
  const auto [place, is_new] = under_way_.try_emplace(version);
  if (!is_new) return;
  place->second.end = end;
  place->second.bases = bases;
  if (version != options_.last) name_base(version);  // that is near when a tick says so
  order({.version = version, .abandoned = false, .end = end});
}

// The newest one that shares no file with the newest of all: whatever is damaged, there is another.
std::optional<Version> Checkpoints::base() const {
  if (files_.empty()) return std::nullopt;
  const auto& [newest, its_files] = *files_.rbegin();
  for (auto at = std::next(files_.rbegin()); at != files_.rend(); ++at) {
    const auto shared = [&](const std::string& name) { return its_files.contains(name); };
    if (std::ranges::none_of(at->second, shared)) return at->first;
  }
  return std::nullopt;
}

// Once for each version: nobody would know which one a server has begun with. Of two under way one
// has a base: else they might share it.
void Checkpoints::name_base(Version version) {
  const auto base = this->base();
  const auto has_base = [](const auto& one) { return !one.second.bases.empty(); };
  if (!base || files_.rbegin()->first >= version) return;
  if (std::ranges::any_of(under_way_, has_base)) return;
  under_way_.at(version).bases.insert(*base);
  options_.name_base({version, *base});
}

void Checkpoints::give_up(Version version) {
  due_.insert(version);
  passed_ = std::max(passed_, version);  // what its servers have begun with it is gone
  order({.version = version, .abandoned = true, .end = false});
}

void Checkpoints::order(const wire::CheckpointAt& order) {
  options_.order(Role::server, order);
  if (has_residuals(order.version)) options_.order(Role::worker, order);
}

bool Checkpoints::has_part(ProcessId process, Version version) const {
  return process.role == Role::server || has_residuals(version);
}

void Checkpoints::on_tick(TimePoint now, Step begun) {
  if (!seen_) {
    seen_ = begun;
    seen_at_ = now;
  }
  const double elapsed = seconds(now - seen_at_);
  double rate = static_cast<double>(begun - std::min(begun, *seen_)) / std::max(1e-3, elapsed);
  if (elapsed >= 1) {
    rate_ = rate;
    seen_ = begun;
    seen_at_ = now;
  }
  rate = std::max(rate, rate_);
  if (begun == 0) return;
  const Version version = std::max(begun, passed_) + 2 + static_cast<Step>(rate * seconds(lead_));
  for (const auto& [near, parts] : under_way_) {
    if (near <= version) name_base(near);
  }
  if (now < next_ || periodic_) return;
  if (version >= options_.last || under_way_.contains(version)) return;
  next_ = now + options_.every;
  periodic_ = version;
  due_.insert(version);
  take(version, false);
}

// ---- whose part is missing ----------------------------------------------------------------------

void Checkpoints::on_answer(ProcessId process, const wire::CheckpointAnswer& answer) {
  const auto found = under_way_.find(answer.version);
  if (found == under_way_.end()) return;
  UnderWay& parts = found->second;
  if (!has_part(process, answer.version) || !parts.answered.insert(process).second) return;
  parts.late |= !answer.in_time;
  if (answer.writes) parts.writers.insert(process);
  look_at(answer.version);
}

void Checkpoints::on_saved(ProcessId process, const wire::Saved& saved) {
  const auto found = under_way_.find(saved.version);
  if (found == under_way_.end()) return;  // it was abandoned
  UnderWay& parts = found->second;
  if (!has_part(process, saved.version) || !parts.done.insert(process).second) return;
  if (saved.error.empty()) {
    const checkpoint::Part part = part_of(saved);
    parts.files.insert(parts.files.end(), part.begin(), part.end());
  } else {
    ++parts.broken;
    parts.error = fmt::format("{}: {}", to_string(process), saved.error);
  }
  look_at(saved.version);
}

void Checkpoints::on_replaced(ProcessId process,
                              const std::function<void(const wire::CheckpointAt&)>& order) {
  for (auto& [version, parts] : under_way_) {
    if (!has_part(process, version) || parts.done.contains(process)) continue;
    parts.answered.erase(process);
    parts.writers.erase(process);
    const bool has_base = process.role == Role::server && !parts.bases.empty();
    if (has_base) options_.name_base({version, *parts.bases.rbegin()});
    order({.version = version, .abandoned = false, .end = parts.end});
  }
}

void Checkpoints::look_at(Version version) {
  UnderWay& parts = under_way_.at(version);
  const std::size_t expected = options_.servers + (has_residuals(version) ? options_.workers : 0);
  if (parts.answered.size() != expected) return;
  if (parts.late) {
    order({.version = version, .abandoned = true, .end = false});
    lead_ = std::min(2 * lead_, kLongestLead);
    passed_ = std::max(passed_, version);
    next_ = seen_at_;  // again at the next tick
    periodic_.reset();
    under_way_.erase(version);
    return options_.on_settled();
  }
  if (parts.done.size() != parts.writers.size()) return;
  if (parts.broken != 0) return settle(version, parts.error);
  commit(version, parts);
}

void Checkpoints::settle(Version version, std::string error) {
  under_way_.erase(version);
  if (periodic_ == version) periodic_.reset();
  passed_ = std::max(passed_, version);
  if (error.empty()) {
    lead_ = std::max(kLead, lead_ / 2);
  } else {
    failed_.insert(version);
    options_.in_background([this, version] { drop(version); });
    options_.warn(fmt::format("warning: no checkpoint of step {}: {}{}", version, error,
                              newest_ ? fmt::format("; the newest is of step {}", *newest_) : ""));
  }
  options_.on_settled();
}

// ---- files --------------------------------------------------------------------------------------

void Checkpoints::commit(Version version, UnderWay& parts) {
  checkpoint::Manifest manifest = options_.manifest;
  manifest.step = version;
  // Those that it has written itself first.
  std::ranges::sort(parts.files, [](const auto& a, const auto& b) {
    const auto folder = [](const checkpoint::FileEntry& file) {
      return file.name.substr(0, file.name.find('/'));
    };
    const std::string theirs = folder(b.file), ours = folder(a.file);
    return ours != theirs ? ours > theirs : a.file.name < b.file.name;
  });
  for (const checkpoint::WrittenFile& file : parts.files) manifest.add(file);
  options_.in_background([this, version, manifest = std::move(manifest)] {
    std::string error;
    try {
      disk_.make_folder(options_.folder / checkpoint::folder_name(version));
      store_.commit(manifest);
      error = read_back(manifest);
    } catch (...) {
      error = describe(std::current_exception()).second;
    }
    const CheckpointBytes bytes{manifest.bytes(), manifest.written_bytes()};
    options_.post([this, version, error, bytes, names = names_of(manifest)] {
      if (!error.empty()) return settle(version, error);
      bytes_ += bytes;
      on_committed(version, names);
    });
  });
}

// From here on nobody gets a base that goes: all that others have as theirs is known. Behind a
// version with which the job ends none will be made.
void Checkpoints::on_committed(Version version, const std::set<std::string>& names) {
  newest_ = std::max(newest_.value_or(0), version);
  files_[version] = names;
  while (files_.size() > options_.keep) files_.erase(files_.begin());
  const bool ends = under_way_.at(version).end;
  std::set<Version> bases;
  for (const auto& [other, parts] : under_way_) {
    if (other < version || (other > version && !ends))
      bases.insert(parts.bases.begin(), parts.bases.end());
  }
  options_.in_background([this, version, bases] {
    prune(version, bases);
    options_.post([this, version] { settle(version, {}); });
  });
}

// What is wrong with what was written, where this host sees all of it; empty: nothing.
std::string Checkpoints::read_back(const checkpoint::Manifest& manifest) {
  const auto is_here = [&](const checkpoint::FileEntry& f) {
    const std::filesystem::path file = options_.folder / f.name;
    return f.host == options_.host ||
           std::ranges::any_of(disk_.list(file.parent_path()),
                               [&](const auto& entry) { return entry.name == file.filename(); });
  };
  if (!std::ranges::all_of(manifest.files, is_here)) return {};
  checkpoint::Checkpoint written{.step = manifest.step, .manifest = manifest, .damage = {}};
  if (store_.verify(written)) return {};
  return "it is damaged right after it was written: " + written.damage.front().text();
}

// That something older cannot be removed is no fault of the new one.
void Checkpoints::prune(Version verified, const std::set<Version>& bases) {
  try {
    store_.prune(options_.keep, verified, bases);
  } catch (...) {
    options_.post([this, text = describe(std::current_exception()).second] {
      options_.warn(fmt::format("warning: older checkpoints stay: {}", text));
    });
  }
}

// What a checkpoint that failed has left takes room from the next one.
void Checkpoints::drop(Version version) {
  try {
    store_.remove(version);
  } catch (...) {
    // The next one that succeeds tries again.
  }
}

// ---- the wire -----------------------------------------------------------------------------------

wire::Saved saved_message(Version version, const checkpoint::Part& part) {
  wire::Saved saved{.version = version, .error = {}};
  for (const auto& [file, chunks, residuals] : part) {
    wire::SavedFile& to = saved.files.emplace_back(
        wire::SavedFile{file.name, file.bytes, file.header_bytes, file.header_crc, file.host, {}});
    for (const checkpoint::StoredChunk& c : chunks) {
      to.chunks.push_back({c.offset, c.size, c.at, c.crc});
    }
    for (const auto& [partition, run, c] : residuals) {
      to.residuals.push_back({partition, run, {c.offset, c.size, c.at, c.crc}});
    }
  }
  return saved;
}

checkpoint::Part part_of(const wire::Saved& saved) {
  checkpoint::Part part;
  for (const wire::SavedFile& file : saved.files) {
    checkpoint::WrittenFile& to = part.emplace_back(checkpoint::WrittenFile{
        {file.name, file.bytes, file.header_bytes, file.header_crc, file.host}});
    for (const wire::SavedChunk& c : file.chunks) {
      to.chunks.push_back({c.offset, c.size, 0, c.at, c.crc});
    }
    for (const auto& [partition, run, c] : file.residuals) {
      to.residuals.push_back({partition, run, {c.offset, c.size, 0, c.at, c.crc}});
    }
  }
  return part;
}

}  // namespace sheaf::launcher
