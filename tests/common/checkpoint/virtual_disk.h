// A file system in memory that can crash. What survives is only what was synced, and of the rest
// whatever the disk pleases:
//
//   a file   since its last sync: each block of it is the old one, the new one, zeros or garbage,
//   and
//            its end is anywhere up to the larger of both sizes
//   a name   since the last sync of its folder: it stands for any of the files that it stood for in
//            between, or for none; names are independent, so a rename may lose both or leave both
//
// That is harsher than any file system we know. Copies are whole disks of their own; open files
// belong to the disk that opened them. Not thread-safe.
#pragma once

#include <map>
#include <set>

#include "common/base/random.h"
#include "common/checkpoint/disk.h"

namespace sheaf::checkpoint {

class VirtualDisk final : public Disk {
 public:
  // Has the folder "/run", which survives.
  VirtualDisk();

  std::unique_ptr<File> create(const std::filesystem::path& path) override;
  std::unique_ptr<File> open(const std::filesystem::path& path) override;
  std::unique_ptr<File> open_to_append(const std::filesystem::path& path,
                                       std::uint64_t size) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  bool remove(const std::filesystem::path& file) override;
  void make_folder(const std::filesystem::path& folder) override;
  bool remove_folder(const std::filesystem::path& folder) override;
  std::vector<Entry> list(const std::filesystem::path& folder) override;
  void sync_folder(const std::filesystem::path& folder) override;

  // Seed 0: nothing survives that was not synced. Seed 1: everything does. Others: by chance.
  void crash(std::uint64_t seed);

  // The bytes of a file, to damage them.
  std::vector<std::byte>& bytes(const std::filesystem::path& file);

  // True: bytes that were synced and have the same value since are safe, though their block was
  // written again, and a file that has not been cut keeps them. So says SQLite of real disks
  // ("powersafe overwrite"); whoever appends to a file relies on it.
  bool spares_synced_bytes = false;

  // Disks that lie: false = a sync does nothing.
  bool syncs_files = true;
  bool syncs_folders = true;

 private:
  static constexpr std::size_t kBlock = 64;
  static constexpr int kNone = -1;
  friend class VirtualFile;

  struct Node {
    bool folder = false;
    // Of a file: its bytes, those that survive, and the blocks that were written since.
    std::vector<std::byte> now, synced;
    std::set<std::size_t> written;
    // Of a folder: the nodes that each name stood for since the last sync; the last one counts.
    std::map<std::string, std::vector<int>> names;
  };

  int find(const std::filesystem::path& path) const;  // kNone if there is none
  Node& folder_of(const std::filesystem::path& path);
  int add(const std::filesystem::path& path, bool folder);
  void unlink(const std::filesystem::path& path);
  void crash_file(Node& node, std::uint64_t seed, Stream& random) const;

  std::vector<Node> nodes_;  // the first is "/run"
};

}  // namespace sheaf::checkpoint
