#include "server/backup_link.h"

#include <utility>

#include "server/shard/shard.h"

namespace sheaf::server {

BackupLink::BackupLink(Options options, net::asio::io_context& context, Shard& shard,
                       cluster::Shutdown& shutdown)
    : options_(std::move(options)),
      shard_(shard),
      talk_({.backup = options_.backup.process,
             .adopt = options_.adopt,
             .on_adopted = [this] { on_adopted(); },
             .shape = options_.shape},
            shard),
      link_(link_options(), context, *this, shutdown) {}

ServerLink::Options BackupLink::link_options() {
  return {.server = options_.backup,
          .lane = options_.lane,
          .credentials = options_.credentials,
          .limit = options_.limit,
          .patience = options_.adopt ? Duration{0} : options_.patience,
          .on_attached = [this] { talk_.on_attached(); },
          .on_lost = [this] { shard_.on_backup_lost(); },
          .on_found =
              [this](const std::string& why, Duration without) {
                options_.warn(
                    fmt::format("lane {}: {}, which keeps its replica: lost ({}) and found "
                                "again after {:.1f} s; it is sent all chunks",
                                options_.lane, to_string(whom()), why, seconds(without)));
              }};
}

void BackupLink::on_adopted() {
  link_.set_patience(options_.patience);
  options_.on_adopted();
}

void BackupLink::on_written(std::size_t) { shard_.on_written_to_backup(); }

}  // namespace sheaf::server
