// Tells a test of each operation before another disk does it, so that the test may take note, do
// half of it, throw, or end the process. Operations are those that FORMAT.md is about: to close a
// file, or to ask for its size, is none.
#pragma once

#include <functional>
#include <utility>

#include "common/checkpoint/disk.h"

namespace sheaf::checkpoint {

struct Operation {
  const char* name;
  std::filesystem::path path;
  bool changes;                // or only reads
  std::function<void()> half;  // of a write: does half of it; else nothing
};

class WatchedDisk final : public Disk {
 public:
  using Before = std::function<void(const Operation&)>;
  WatchedDisk(Disk& disk, Before before) : disk_(disk), before_(std::move(before)) {}

  std::unique_ptr<File> create(const std::filesystem::path& path) override {
    before_({"create", path, true, {}});
    return std::make_unique<Watched>(disk_.create(path), path, before_);
  }
  std::unique_ptr<File> open(const std::filesystem::path& path) override {
    before_({"open", path, false, {}});
    return std::make_unique<Watched>(disk_.open(path), path, before_);
  }
  std::unique_ptr<File> open_to_append(const std::filesystem::path& path,
                                       std::uint64_t size) override {
    before_({"open_to_append", path, true, {}});
    return std::make_unique<Watched>(disk_.open_to_append(path, size), path, before_);
  }
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    before_({"rename", from, true, {}});
    disk_.rename(from, to);
  }
  bool remove(const std::filesystem::path& file) override {
    before_({"remove", file, true, {}});
    return disk_.remove(file);
  }
  void make_folder(const std::filesystem::path& folder) override {
    before_({"make_folder", folder, true, {}});
    disk_.make_folder(folder);
  }
  bool remove_folder(const std::filesystem::path& folder) override {
    before_({"remove_folder", folder, true, {}});
    return disk_.remove_folder(folder);
  }
  std::vector<Entry> list(const std::filesystem::path& folder) override {
    before_({"list", folder, false, {}});
    return disk_.list(folder);
  }
  void sync_folder(const std::filesystem::path& folder) override {
    before_({"sync_folder", folder, true, {}});
    disk_.sync_folder(folder);
  }

 private:
  class Watched final : public File {
   public:
    Watched(std::unique_ptr<File> file, std::filesystem::path path, const Before& before)
        : file_(std::move(file)), path_(std::move(path)), before_(before) {}
    std::uint64_t size() const override { return file_->size(); }
    void reserve(std::uint64_t bytes) override {
      before_({"reserve", path_, true, {}});
      file_->reserve(bytes);
    }
    void write_at(std::uint64_t offset, std::span<const std::byte> bytes) override {
      before_(
          {"write", path_, true, [&] { file_->write_at(offset, bytes.first(bytes.size() / 2)); }});
      file_->write_at(offset, bytes);
    }
    void cut(std::uint64_t bytes) override {
      before_({"cut", path_, true, {}});
      file_->cut(bytes);
    }
    void read_at(std::uint64_t offset, std::span<std::byte> bytes) const override {
      before_({"read", path_, false, {}});
      file_->read_at(offset, bytes);
    }
    void sync() override {
      before_({"sync", path_, true, {}});
      file_->sync();
    }

   private:
    std::unique_ptr<File> file_;
    std::filesystem::path path_;
    const Before& before_;
  };

  Disk& disk_;
  Before before_;
};

}  // namespace sheaf::checkpoint
