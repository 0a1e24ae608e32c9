// The connection of a lane to the server that keeps a replica of it, made again when it is lost
// (ServerLink); what is said over it is BackupTalk's. Lives in the lane's thread.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "common/base/clock.h"
#include "common/wire/messages.h"
#include "server/backup_talk.h"
#include "server/server_link.h"

namespace sheaf::server {

class BackupLink final : public net::FrameHandler {
 public:
  struct Options {
    wire::ProcessInfo backup;
    std::uint32_t lane = 0;
    net::Credentials credentials;  // self.lane is that of the lane
    Duration limit{};              // for a connection to be made
    Duration patience{};           // to be without one
    bool adopt = false;
    std::function<void()> on_adopted;  // all chunks are here
    CopyShape shape;
    std::function<void(const std::string&)> warn;
  };
  BackupLink(Options options, net::asio::io_context& context, Shard& shard,
             cluster::Shutdown& shutdown);

  void start() { link_.start(); }
  ProcessId whom() const { return link_.whom(); }
  bool adopts() const { return talk_.adopts(); }
  // Another process has taken that server's place.
  void move_to(const wire::ProcessInfo& backup) { link_.move_to(backup); }
  // The shard may have something to send.
  void wake() { link_.wake(); }
  void close() { link_.close(); }

  // net::FrameHandler
  std::span<std::byte> receive_into(const wire::Header& header) override {
    return talk_.receive_into(header);
  }
  void on_frame(const wire::Header& header) override { talk_.on_frame(header); }
  std::optional<wire::OutFrame> next_frame() override { return talk_.next_frame(); }
  void on_written(std::size_t count) override;

 private:
  ServerLink::Options link_options();
  void on_adopted();

  Options options_;
  Shard& shard_;
  BackupTalk talk_;
  ServerLink link_;
};

}  // namespace sheaf::server
