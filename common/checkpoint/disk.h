// What checkpoints ask of a file system: few operations, each of which says when what it did
// survives a crash of the machine. An interface, so that tests can run over a disk that crashes.
//
// Errors are thrown as Fault::data: "PATH: cannot be …: REASON". Nothing is retried: after a failed
// sync() nobody knows what is on the disk, and the system forgets that it failed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace sheaf::checkpoint {

// An open file; closed when it is destroyed. Different ranges may be read and written by several
// threads at once.
class File {
 public:
  virtual ~File() = default;

  virtual std::uint64_t size() const = 0;  // bytes
  // Takes room for `bytes` bytes, which read as zeros, or fails before anything is written.
  virtual void reserve(std::uint64_t bytes) = 0;
  // All of `bytes`, or an error.
  virtual void write_at(std::uint64_t offset, std::span<const std::byte> bytes) = 0;
  // Gives back what lies behind the first `bytes` bytes.
  virtual void cut(std::uint64_t bytes) = 0;
  virtual void read_at(std::uint64_t offset, std::span<std::byte> bytes) const = 0;
  // The contents survive from here on; the name of a new file only after sync_folder().
  virtual void sync() = 0;
};

class Disk {
 public:
  struct Entry {
    std::string name;
    bool folder = false;
  };

  virtual ~Disk() = default;

  virtual std::unique_ptr<File> create(const std::filesystem::path& path) = 0;  // one that is not
  virtual std::unique_ptr<File> open(const std::filesystem::path& path) = 0;    // to read
  // To go on writing behind the first `size` bytes; what follows them is cut off.
  virtual std::unique_ptr<File> open_to_append(const std::filesystem::path& path,
                                               std::uint64_t size) = 0;
  // Replaces what is called `to`.
  virtual void rename(const std::filesystem::path& from, const std::filesystem::path& to) = 0;
  // False if there was none.
  virtual bool remove(const std::filesystem::path& file) = 0;

  // No error if it exists.
  virtual void make_folder(const std::filesystem::path& folder) = 0;
  // False if it is not empty, or there was none.
  virtual bool remove_folder(const std::filesystem::path& folder) = 0;
  // By name; empty if there is no such folder.
  virtual std::vector<Entry> list(const std::filesystem::path& folder) = 0;
  // New, changed and removed names in it survive from here on.
  virtual void sync_folder(const std::filesystem::path& folder) = 0;
};

}  // namespace sheaf::checkpoint
