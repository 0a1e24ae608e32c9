#include "launcher/rank/role_threads.h"

#include <iostream>
#include <utility>

#include "common/base/error.h"
#include "launcher/rank/rank.h"
#include "launcher/system/host.h"

namespace sheaf::launcher {
namespace {

void say_warning(const std::string& text) { std::cerr << "warning: " << text << "\n"; }

}  // namespace

RoleThreads::RoleThreads(const RunConfig& config, const RoleChanges* changes)
    : config_(config), changes_(changes), host_(host_identity()) {
  if (config.run().servers != 0 && config.shares_memory()) {
    const net::Credentials first = credentials({Role::server, 0});
    keeper_ = cluster::Keeper::start(first, config.timeouts().dead);
    memory_ = std::make_unique<cluster::KeeperClient>(first, config.timeouts().dead);
  }
  for (std::uint32_t id = 0; id < config.run().workers; ++id) {
    roles_.push_back(std::make_unique<WorkerRole>(config, id, changes));
  }
  if (config.privacy().on) {  // secrets of nobody: what is measured is released to nobody
    noise_ = changes ? changes->noise : config.privacy_terms().noise;
    const wire::JobKey& secret = changes ? changes->sampling_secret : key_;
    for (const auto& role : roles_) role->protect(noise_, secret.bytes());
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

std::unique_ptr<privacy::Mechanism> RoleThreads::server_mechanism() const {
  auto mechanism = config_.make_mechanism();
  if (!mechanism->perturbs_at_server()) return nullptr;
  const privacy::NoiseBranch only;
  mechanism =
      mechanism->armed(noise_, (changes_ ? changes_->noise_secret : key_).bytes(), {&only, 1});
  return changes_ ? changes_->mechanism(std::move(mechanism)) : std::move(mechanism);
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
    if (auto mechanism = server_mechanism()) server->protect(std::move(mechanism));
    server->open(roles_.front()->layout(), roster_, memory_.get(), spin());
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
  role.keep_residuals(nullptr, 0, say_warning);
  if (role.residuals() != nullptr) role.residuals()->begin(0);
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

std::vector<wire::Waiting> RoleThreads::waiting_for() const {
  std::vector<wire::Waiting> all;
  for (const auto& server : servers_) {
    all.push_back(server->waiting_for(std::chrono::milliseconds(200)));
  }
  return all;
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
