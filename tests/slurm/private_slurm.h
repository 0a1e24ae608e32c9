// A Slurm of a test's own, made by slurm.sh: of one node, this host, or of the hosts of a test. It
// ends with this object, and with its process, however that ends. One thread.
#pragma once

#include <filesystem>
#include <string>

#include "tests/hosts/test_hosts.h"

namespace sheaf::harness {

class PrivateSlurm {
 public:
  // Its files lie in `folder`. The hosts, null for this one, outlive the object. Throws if it does
  // not come up.
  PrivateSlurm(std::filesystem::path folder, const TestHosts* hosts);
  ~PrivateSlurm();
  PrivateSlurm(const PrivateSlurm&) = delete;
  PrivateSlurm& operator=(const PrivateSlurm&) = delete;

  // Why this machine cannot have it; empty: it is there.
  const std::string& missing() const { return missing_; }

  // Runs a line of shell in its folder, on its first node; what that says on both streams.
  std::string run(const std::string& line);
  int code() const { return code_; }  // of the last one

 private:
  // The same command, on the first node.
  std::string command(std::vector<std::string> words) const;
  std::filesystem::path folder_;
  const TestHosts* hosts_;
  int alive_ = -1;  // slurm.sh reads the other end: that it is open keeps it
  int says_ = -1;
  std::string missing_;
  int code_ = 0;
};

}  // namespace sheaf::harness
