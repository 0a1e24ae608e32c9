#include "common/checkpoint/new_file.h"

#include <utility>

#include "common/base/error.h"
#include "common/checkpoint/names.h"

namespace sheaf::checkpoint {

NewFile::NewFile(Disk& disk, std::filesystem::path path)
    : disk_(disk), path_(std::move(path)), temporary_(path_) {
  temporary_ += kTemporary;
  disk_.remove(temporary_);
  file_ = disk_.create(temporary_);
}

NewFile::~NewFile() {
  if (!file_) return;
  file_.reset();
  try {
    disk_.remove(temporary_);
  } catch (const Error&) {  // NOLINT(bugprone-empty-catch)
    // It stays, as it would if we had been killed; `sheaf verify` names it.
  }
}

void NewFile::publish() {
  file_->sync();
  disk_.rename(temporary_, path_);
  file_.reset();
  disk_.sync_folder(path_.parent_path());
}

}  // namespace sheaf::checkpoint
