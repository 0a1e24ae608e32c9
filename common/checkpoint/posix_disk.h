// The file systems of this machine. Thread-safe: it holds nothing.
#pragma once

#include "common/checkpoint/disk.h"

namespace sheaf::checkpoint {

class PosixDisk final : public Disk {
 public:
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
};

}  // namespace sheaf::checkpoint
