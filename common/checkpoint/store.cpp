#include "common/checkpoint/store.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/names.h"
#include "common/checkpoint/new_file.h"

namespace sheaf::checkpoint {
namespace {

bool has_manifest(const std::vector<Disk::Entry>& entries) {
  return std::any_of(entries.begin(), entries.end(),
                     [](const Disk::Entry& entry) { return entry.name == kManifest; });
}

std::string text_in(Disk& disk, const std::filesystem::path& path) {
  const auto file = disk.open(path);
  const std::uint64_t bytes = file->size();
  if (bytes > kMaxManifestBytes) {
    fail(Fault::checkpoint, "it has {} bytes, at most {} are possible", bytes, kMaxManifestBytes);
  }
  std::string text(bytes, '\0');
  file->read_at(0, std::as_writable_bytes(std::span(text)));
  return text;
}

}  // namespace

Store::Store(Disk& disk, std::filesystem::path checkpoints)
    : disk_(disk), path_(std::move(checkpoints)) {}

std::filesystem::path Store::folder(Step step) const { return path_ / folder_name(step); }

std::vector<Store::Folder> Store::folders() const {
  std::vector<Folder> found;
  for (const Disk::Entry& entry : disk_.list(path_)) {
    const auto step = step_of(entry.name);
    if (!step || !entry.folder) continue;
    found.push_back({*step, false});
    try {
      found.back().has_manifest = has_manifest(disk_.list(folder(*step)));
    } catch (const Error&) {
      found.back().has_manifest = true;  // reading it will say what is wrong here
    }
  }
  std::sort(found.begin(), found.end(),
            [](const Folder& a, const Folder& b) { return a.step > b.step; });
  return found;
}

// ---- made ---------------------------------------------------------------------------------------

void Store::begin(Step step) {
  for (const Folder& found : folders()) {
    if (found.has_manifest && found.step >= step) {
      fail(Fault::checkpoint,
           "{}: there is a checkpoint of step {}, expected none of step {} or later; go on from "
           "it, or remove it",
           path_.string(), found.step, step);
    }
    if (found.step != step) continue;
    remove_manifest(step);
    sweep(step, {});  // only later manifests could need its files
  }
  disk_.make_folder(path_);
  disk_.make_folder(folder(step));
  disk_.sync_folder(path_);
  disk_.sync_folder(path_.parent_path());
}

void Store::commit(const Manifest& manifest) {
  const std::string text = to_text(manifest);
  NewFile file(disk_, folder(manifest.step) / kManifest);
  file->reserve(text.size());
  file->write_at(0, std::as_bytes(std::span(text)));
  file.publish();
  disk_.sync_folder(path_);
}

// ---- read ---------------------------------------------------------------------------------------

Checkpoint Store::read_manifest(Step step) const {
  Checkpoint checkpoint{step, {}, {}};
  const std::string name = folder_name(step) + "/" + std::string(kManifest);
  try {
    Manifest manifest = manifest_from_text(text_in(disk_, path_ / name));
    if (manifest.step != step) {
      fail(Fault::checkpoint, "it is of step {}", manifest.step);
    }
    checkpoint.manifest = std::move(manifest);
  } catch (const Error& error) {
    checkpoint.damage.push_back(
        {name, "", "a valid manifest", "an invalid one: " + error.message()});
  }
  return checkpoint;
}

bool Store::has(Step step) const { return has_manifest(disk_.list(folder(step))); }

std::vector<Checkpoint> Store::list() const {
  std::vector<Checkpoint> checkpoints;
  for (const Folder& found : folders()) {
    if (found.has_manifest) checkpoints.push_back(read_manifest(found.step));
  }
  return checkpoints;
}

bool Store::verify(Checkpoint& checkpoint) const {
  if (!checkpoint.manifest) return false;
  checkpoint.damage = damage_of(disk_, path_, *checkpoint.manifest);
  return checkpoint.damage.empty();
}

Store::Choice Store::newest_verified() const {
  Choice choice;
  for (const Folder& found : folders()) {
    if (!found.has_manifest) continue;
    Checkpoint checkpoint = read_manifest(found.step);
    if (verify(checkpoint)) {
      choice.manifest = std::move(checkpoint.manifest);
      break;
    }
    choice.refused.push_back(std::move(checkpoint));
  }
  return choice;
}

std::set<std::string> Store::files_of(const std::vector<Checkpoint>& checkpoints) const {
  std::set<std::string> names;
  for (const Checkpoint& checkpoint : checkpoints) {
    if (!checkpoint.manifest) continue;
    for (const FileEntry& file : checkpoint.manifest->files) names.insert(file.name);
  }
  return names;
}

std::vector<std::string> Store::leftovers() const {
  const std::vector<Checkpoint> checkpoints = list();
  const std::set<std::string> needed = files_of(checkpoints);
  std::set<Step> damaged;
  for (const Checkpoint& checkpoint : checkpoints) {
    if (!checkpoint.manifest) damaged.insert(checkpoint.step);
  }
  std::vector<std::string> found;
  for (const Disk::Entry& entry : disk_.list(path_)) {
    const auto step = entry.folder ? step_of(entry.name) : std::nullopt;
    if (!step) {
      found.push_back(entry.name + (entry.folder ? "/" : ""));
      continue;
    }
    if (damaged.contains(*step)) continue;
    std::vector<std::string> inside;
    const std::vector<Disk::Entry> entries = disk_.list(folder(*step));
    for (const Disk::Entry& file : entries) {
      const std::string name = entry.name + "/" + file.name;
      if (file.name != kManifest && !needed.contains(name)) inside.push_back(name);
    }
    if (inside.size() == entries.size()) inside = {entry.name + "/"};
    found.insert(found.end(), inside.begin(), inside.end());
  }
  return found;
}

// ---- removed ------------------------------------------------------------------------------------

void Store::remove_manifest(Step step) {
  disk_.remove(folder(step) / kManifest);
  // Also if there was none: an earlier removal may have failed right here.
  disk_.sync_folder(folder(step));
}

void Store::sweep(Step step, const std::set<std::string>& needed) {
  for (const Disk::Entry& entry : disk_.list(folder(step))) {
    const bool ours = !entry.folder && entry.name != kManifest && is_own_name(entry.name);
    if (ours && !needed.contains(folder_name(step) + "/" + entry.name)) {
      disk_.remove(folder(step) / entry.name);
    }
  }
  disk_.remove_folder(folder(step));
}

void Store::remove(Step step) {
  const std::vector<Folder> all = folders();
  if (std::none_of(all.begin(), all.end(), [&](const Folder& f) { return f.step == step; })) return;
  remove_manifest(step);
  sweep(step, files_of(list()));
  disk_.sync_folder(path_);
}

void Store::prune(std::size_t keep, Step verified, const std::set<Step>& bases) {
  check(keep >= 1, "a checkpoint is kept");
  std::vector<Checkpoint> kept;
  std::set<Step> steps;
  for (Checkpoint& checkpoint : list()) {
    const bool asked = checkpoint.step == verified || bases.contains(checkpoint.step);
    if (!asked && kept.size() >= keep) continue;
    if (!checkpoint.manifest) {
      // Of no matter unless it is the newest, which may need files of older ones, or was whole.
      if (checkpoint.step != verified && !kept.empty()) continue;
      fail(Fault::checkpoint, "{}; no checkpoint is removed", checkpoint.damage.at(0).text());
    }
    steps.insert(checkpoint.step);
    kept.push_back(std::move(checkpoint));
  }
  check(steps.contains(verified), "the verified checkpoint is there");
  std::vector<Folder> old = folders();
  std::erase_if(old, [&](const Folder& f) { return f.step > kept.front().step; });
  // All manifests go before any file does: they may refer to each other's.
  for (const Folder& found : old) {
    if (!steps.contains(found.step)) remove_manifest(found.step);
  }
  const std::set<std::string> needed = files_of(kept);
  for (const Folder& found : old) sweep(found.step, needed);
  disk_.sync_folder(path_);
}

}  // namespace sheaf::checkpoint
