// The files that a server writes of checkpoints under way: chunks of several versions may come in
// any order; when the last chunk of a version is there, its file is finished. A version that has
// failed is said once; what still comes of it is let go. Chunks that an older checkpoint has are
// not written again, if it was named before the first one came.
// Plain code over a Disk; belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "common/checkpoint/data_file.h"

namespace sheaf::server {

class PartWriter {
 public:
  struct Options {
    std::filesystem::path folder;    // checkpoints/ of the run directory
    checkpoint::DataFileParts file;  // but for its step
    // One version is on the disk, or why it is not.
    std::function<void(Version, std::optional<checkpoint::Part>, const std::string& error)> on_done;
  };
  // `disk` outlives the object. Files that are not whole at its end are given up.
  PartWriter(checkpoint::Disk& disk, Options options) : disk_(disk), options_(std::move(options)) {}

  // Parameters and state of a chunk, one after the other. Each chunk of the server once for each
  // version.
  void write(Version version, std::uint32_t chunk, std::span<const float> values);
  // A checkpoint that is whole and stays until `version` is, or has failed. It comes too late for a
  // version of which a chunk was written; then that is written whole.
  void name_base(Version version, Version base);
  // Lets go of what there is of a version, and of what still comes.
  void abandon(Version version);

 private:
  struct UnderWay {
    std::unique_ptr<checkpoint::DataFileWriter> file;  // null once it has failed
    std::size_t chunks = 0;                            // that were handed over
    bool abandoned = false;
    std::optional<Version> base = {};
  };

  checkpoint::Disk& disk_;
  const Options options_;
  std::map<Version, UnderWay> under_way_;
};

}  // namespace sheaf::server
