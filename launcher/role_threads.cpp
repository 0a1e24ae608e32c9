#include "launcher/role_threads.h"

#include <iostream>
#include <utility>

#include "common/base/error.h"
#include "launcher/host.h"
#include "launcher/rank.h"

namespace sheaf::launcher {
namespace {

void say_warning(const std::string& text) { std::cerr << "warning: " << text << "\n"; }

}  // namespace

RoleThreads::RoleThreads(const RunConfig& config) : config_(config), host_(host_identity()) {
  if (config.run().servers != 0 && config.shares_memory()) {
    const net::Credentials first = credentials({Role::server, 0});
    keeper_ = cluster::Keeper::start(first, config.timeouts().dead);
    memory_ = std::make_unique<cluster::KeeperClient>(first, config.timeouts().dead);
  }
  for (std::uint32_t id = 0; id < config.run().workers; ++id) {
    roles_.push_back(std::make_unique<WorkerRole>(config, id));
  }
  start_servers();
}

RoleThreads::~RoleThreads() { shutdown_.finish(); }

net::Credentials RoleThreads::credentials(ProcessId process) const {
  return make_credentials(config_, key_, process, 0);
}

// As in a job whose ranks are processes of this host.
Duration RoleThreads::spin() const {
  std::vector<wire::ProcessInfo> ranks(config_.run().servers + config_.run().workers);
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    ranks[i].process.role = i < config_.run().servers ? Role::server : Role::worker;
    ranks[i].host_id = host_;
  }
  return spin_on_host(ranks, config_.run().blas_threads, config_.network().lanes);
}

void RoleThreads::start_servers() {
  for (std::uint32_t id = 0; id < config_.run().servers; ++id) {
    const ProcessId process{Role::server, id};
    servers_.push_back(std::make_unique<server::Server>(
        server_options(config_, id, credentials(process), say_warning), shutdown_));
    wire::ProcessInfo info;
    info.process = process;
    info.host_id = host_;
    for (const net::Endpoint& e : servers_.back()->bind("127.0.0.1", {})) {
      info.address = e.address;
      info.ports.push_back(e.port);
    }
    roster_.push_back(info);
  }
  for (const auto& server : servers_) {
    server->open(roles_.front()->model().layout(), roster_, memory_.get(), spin());
  }
  for (const auto& server : servers_) {
    serving_.emplace_back([this, s = server.get()] {
      try {
        s->run();
      } catch (...) {
        shutdown_.fail(std::current_exception());
      }
    });
  }
}

void RoleThreads::run_worker(std::uint32_t id, WorkerBody& body) {
  WorkerRole& role = *roles_[id];
  role.load([&](std::string_view tag, std::map<std::uint32_t, std::vector<double>> mine) {
    return body.sum(tag, mine);
  });
  if (roster_.empty()) return body.work(role, nullptr);
  auto options = role.exchange_options(credentials({Role::worker, id}), say_warning);
  options.keeper = memory_.get();
  options.host_id = host_;
  if (memory_) options.spin = spin();
  worker::PushPull exchange(std::move(options), role.chunks(), role.shards(), role.pull(),
                            shutdown_);
  exchange.connect(roster_);
  exchange.start();
  body.work(role, &exchange);
}

void RoleThreads::run(const std::vector<WorkerBody*>& bodies) {
  {
    std::vector<std::jthread> working;
    for (std::uint32_t id = 0; id < bodies.size(); ++id) {
      working.emplace_back([this, id, &bodies] {
        try {
          run_worker(id, *bodies[id]);
        } catch (...) {
          shutdown_.fail(std::current_exception());
        }
      });
    }
  }
  shutdown_.throw_if_failed();
}

}  // namespace sheaf::launcher
