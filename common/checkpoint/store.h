// The folder checkpoints/ of a run directory: which checkpoints there are, which of them are whole,
// and in which order they are made and removed, so that a crash at any moment leaves the old one or
// the new one.
//
//   made      folder, data files (each by its server), MANIFEST last
//   removed   MANIFEST first, then files that no other manifest refers to, then the folder
//
// Each step is on the disk before the next one begins. Owns nothing; one process writes at a time,
// and its object belongs to one thread.
#pragma once

#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "common/checkpoint/disk.h"
#include "common/checkpoint/extents.h"
#include "common/checkpoint/manifest.h"

namespace sheaf::checkpoint {

// A folder with a MANIFEST.
struct Checkpoint {
  Step step = 0;
  std::optional<Manifest> manifest;  // nothing if it is damaged
  std::vector<Damage> damage;
};

class Store {
 public:
  Store(Disk& disk, std::filesystem::path checkpoints);
  const std::filesystem::path& path() const { return path_; }

  // Makes the folder of a step, or empties what a crash has left in it. Throws Fault::checkpoint if
  // there is a checkpoint of this step or a later one: remove() it first.
  void begin(Step step);
  // Makes a checkpoint of data files that are on the disk already. If it throws, the checkpoint may
  // be there or not; if it is, it is whole.
  void commit(const Manifest& manifest);

  // Of that step; nothing if there is none, or it is damaged.
  std::optional<Manifest> manifest(Step step) const { return read_manifest(step).manifest; }
  // True if there is a MANIFEST of this step.
  bool has(Step step) const;
  // Newest first. Reads the manifests alone: `damage` is theirs.
  std::vector<Checkpoint> list() const;
  // Reads every byte of the data, too, and notes the damage. True if the checkpoint is whole.
  bool verify(Checkpoint& checkpoint) const;
  // The newest checkpoint that is whole, and those that were refused before it, newest first.
  struct Choice {
    std::optional<Manifest> manifest;
    std::vector<Checkpoint> refused;
  };
  Choice newest_verified() const;
  // Files and folders ('/' at the end) that belong to no checkpoint, relative to path(): what a
  // crash has left. Nothing in the folder of a damaged manifest is: nobody knows.
  std::vector<std::string> leftovers() const;

  // Removes the checkpoint of a step, or what there is of it.
  void remove(Step step);
  // Removes all but the newest `keep` checkpoints, that of step `verified` and those of `bases`,
  // and what crashes have left of steps before the newest. A file stays as long as a checkpoint
  // that stays names it, wherever it lies. REQUIRES: `verified` was found whole. keep >= 1.
  void prune(std::size_t keep, Step verified, const std::set<Step>& bases = {});

 private:
  struct Folder {
    Step step;
    bool has_manifest;
  };
  std::vector<Folder> folders() const;  // newest first
  std::filesystem::path folder(Step step) const;
  Checkpoint read_manifest(Step step) const;
  std::set<std::string> files_of(const std::vector<Checkpoint>& checkpoints) const;
  void remove_manifest(Step step);
  // Removes what is ours and nobody needs, then the folder if it is empty.
  void sweep(Step step, const std::set<std::string>& needed);

  Disk& disk_;
  std::filesystem::path path_;
};

}  // namespace sheaf::checkpoint
