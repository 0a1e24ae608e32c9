// A file that takes its name only when it is whole and on the disk: until then it is called
// "NAME.tmp", and if it is given up it is removed.
#pragma once

#include <filesystem>
#include <memory>

#include "common/checkpoint/disk.h"

namespace sheaf::checkpoint {

class NewFile {
 public:
  // Replaces what a writer has left that was killed.
  NewFile(Disk& disk, std::filesystem::path path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  File& operator*() { return *file_; }
  File* operator->() { return file_.get(); }

  // fdatasync, rename, fsync of the folder. Called once; if it throws, nobody knows how far it
  // came.
  void publish();

 private:
  Disk& disk_;
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  std::unique_ptr<File> file_;
};

}  // namespace sheaf::checkpoint
