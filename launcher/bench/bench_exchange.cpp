#include "launcher/bench/bench_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <vector>

#include "launcher/bench/exchange_floors.h"
#include "launcher/bench/exchange_job.h"
#include "launcher/system/median.h"

namespace sheaf::launcher {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kRoundTrips = 2000;

struct Run {
  ExchangeFigures bulk, tiny;
};

Run run_transport(const ExchangeCommand& command, bool shared, bool encrypted = false) {
  ExchangePlan plan;
  plan.floats = command.mib * ((1U << 20) / sizeof(float));
  plan.chunk_bytes = command.chunk_kib * 1024;
  plan.workers = command.workers;
  plan.servers = command.servers;
  plan.lanes = command.lanes;
  plan.shared_memory = shared;
  plan.encrypted = encrypted;
  plan.may_spin = command.wait == "auto";
  plan.apart = plan.together = plan.updates = command.repeat;
  Run run;
  run.bulk = run_exchange(plan);
  plan.floats = 1;
  plan.workers = plan.servers = plan.lanes = 1;
  plan.apart = plan.together = plan.updates = 0;
  plan.round_trips = kRoundTrips;
  run.tiny = run_exchange(plan);
  return run;
}

Json json_of(const Run& run, const ExchangeCommand& command) {
  const double gigabytes = 1e-9 * static_cast<double>(command.mib << 20);
  const double both = 2 * gigabytes / quantile(run.bulk.both, 0.5);
  Json json;
  json["push_GBps"] = gigabytes / quantile(run.bulk.push, 0.5);
  json["pull_GBps"] = gigabytes / quantile(run.bulk.pull, 0.5);
  json["pushpull_GBps"] = both;
  json["total_pushpull_GBps"] = both * command.workers;
  json["rtt_us"] = {{"p50", 1e6 * quantile(run.tiny.round_trip, 0.5)},
                    {"p99", 1e6 * quantile(run.tiny.round_trip, 0.99)}};
  json["server_cpu_s_per_GB"] = run.bulk.server_cpu_s / (1e-9 * run.bulk.bytes);
  json["update_ms"] = 1e3 * quantile(run.bulk.update, 0.5);
  json["memory_beyond_bytes"] = run.bulk.memory_beyond_bytes;
  json["memory_promised_bytes"] = run.bulk.memory_promised_bytes;
  json["wait"] = {{"bulk", run.bulk.spun ? "spin" : "block"},
                  {"rtt", run.tiny.spun ? "spin" : "block"}};
  json["verified"] = run.bulk.verified && run.tiny.verified;
  return json;
}

Json json_of(const ExchangeFloors& f, const std::optional<double>& allreduce_ms) {
  return {{"socket_push_GBps", median(f.socket_push_GBps)},
          {"socket_pull_GBps", median(f.socket_pull_GBps)},
          {"two_sender_GBps", median(f.two_sender_GBps)},
          {"pingpong_us", median(f.pingpong_us)},
          {"futex_pingpong_us", median(f.futex_pingpong_us)},
          {"spin_pingpong_us", median(f.spin_pingpong_us)},
          {"memory_add_GBps", median(f.memory_add_GBps)},
          {"memory_read_GBps", median(f.memory_read_GBps)},
          {"memcpy_GBps", median(f.memcpy_GBps)},
          {"allreduce_ms", allreduce_ms ? Json(*allreduce_ms) : Json()}};
}

// Each figure against its own floor; above 1 is better than the floor, but for rtt.
Json ratios(const Json& figures, const Json& floors, bool shared) {
  const auto at = [](const Json& j, const char* key) { return j[key].get<double>(); };
  const bool spun = figures["wait"]["rtt"] == "spin";
  const char* round_trip = !shared ? "pingpong_us"
                           : spun  ? "spin_pingpong_us"
                                   : "futex_pingpong_us";
  Json r;
  r["push"] =
      at(figures, "push_GBps") / at(floors, shared ? "memory_add_GBps" : "socket_push_GBps");
  r["pull"] =
      at(figures, "pull_GBps") / at(floors, shared ? "memory_read_GBps" : "socket_pull_GBps");
  if (!shared) r["total"] = at(figures, "total_pushpull_GBps") / at(floors, "two_sender_GBps");
  r["rtt"] = figures["rtt_us"]["p50"].get<double>() / at(floors, round_trip);
  if (shared) {
    r["rtt_to_futex"] = figures["rtt_us"]["p50"].get<double>() / at(floors, "futex_pingpong_us");
  }
  if (!floors["allreduce_ms"].is_null()) {
    r["allreduce"] = at(floors, "allreduce_ms") / at(figures, "update_ms");
  }
  return r;
}

std::string row(std::string_view name, double value, std::string_view unit, double ratio,
                std::string_view floor) {
  return fmt::format("  {:<22} {:>9.3f} {:<6} {:>6.2f} of {}\n", name, value, unit, ratio, floor);
}

std::string table(const Json& j, bool shared) {
  const auto at = [&](const char* key) { return j[key].get<double>(); };
  const Json& r = j["ratios"];
  std::string text = shared ? "shared memory\n" : "tcp\n";
  text += row("push", at("push_GBps"), "GB/s", r["push"].get<double>(),
              shared ? "memory add (y += x)" : "a raw socket that adds");
  text += row("pull", at("pull_GBps"), "GB/s", r["pull"].get<double>(),
              shared ? "memory read" : "a raw socket that reads");
  text += fmt::format("  {:<22} {:>9.3f} GB/s\n", "push and pull", at("pushpull_GBps"));
  if (shared) {
    text += fmt::format("  {:<22} {:>9.3f} GB/s\n", "all workers", at("total_pushpull_GBps"));
  } else {
    text += row("all workers", at("total_pushpull_GBps"), "GB/s", r["total"].get<double>(),
                "two raw clients of one server");
  }
  text +=
      row("4-byte push, p50", j["rtt_us"]["p50"].get<double>(), "us", r["rtt"].get<double>(),
          !shared ? "a socket's ping-pong"
                  : (j["wait"]["rtt"] == "spin" ? "a spinning ping-pong" : "a futex ping-pong"));
  text +=
      fmt::format("  {:<22} {:>9.3f} us\n", "4-byte push, p99", j["rtt_us"]["p99"].get<double>());
  if (r.contains("allreduce")) {
    text +=
        fmt::format("  {:<22} {:>9.3f} ms     {:.2f} times as fast as MPI_Allreduce on 2 ranks\n",
                    "update", at("update_ms"), r["allreduce"].get<double>());
  } else {
    text += fmt::format("  {:<22} {:>9.3f} ms\n", "update", at("update_ms"));
  }
  text += fmt::format("  {:<22} {:>9.3f} s/GB\n", "server's CPU", at("server_cpu_s_per_GB"));
  text += fmt::format("  {:<22} {:>9.1f} MiB\n", "memory beyond",
                      at("memory_beyond_bytes") / (1 << 20));
  text += fmt::format("  {:<22} {:>9}\n", "sums", j["verified"].get<bool>() ? "right" : "WRONG");
  return text;
}

}  // namespace

int bench_exchange(const ExchangeCommand& command, std::ostream& out) {
  const std::size_t floats = command.mib * ((1U << 20) / sizeof(float));
  const std::size_t chunk = (command.chunk_kib == 0 ? 1024 : command.chunk_kib) * 1024;
  const bool tls = command.encryption == "tls";
  std::optional<Run> tcp, shm, plain;
  ExchangeFloors measured;
  const auto measure = [&] { measured.measure(floats, chunk / sizeof(float), command.repeat); };
  measure();
  if (command.transport != "shm") tcp = run_transport(command, false, tls);
  if (tcp && tls) plain = run_transport(command, false);
  measure();
  if (command.transport != "tcp") shm = run_transport(command, true);
  measure();
  const Json floors = json_of(
      measured, fastest_allreduce_ms(std::filesystem::read_symlink("/proc/self/exe").string(),
                                     floats, command.repeat));

  Json json;
  const auto figures_of = [&](const Run& run, bool shared) {
    Json figures = json_of(run, command);
    figures["ratios"] = ratios(figures, floors, shared);
    return figures;
  };
  Json of_tcp, of_shm;
  if (tcp) json = of_tcp = figures_of(*tcp, false);
  if (shm) json = of_shm = figures_of(*shm, true);
  if (tcp && shm) {  // what a job on one host uses stands at the top
    json["tcp"] = of_tcp;
    json["shm"] = of_shm;
  }
  json["floors"] = floors;
  if (tcp && shm) {
    json["shm_over_tcp"] = quantile(tcp->bulk.both, 0.5) / quantile(shm->bulk.both, 0.5);
  }
  if (plain) {
    json["encryption_cost"] = quantile(tcp->bulk.both, 0.5) / quantile(plain->bulk.both, 0.5);
  }
  json["encryption"] = command.encryption;
  json["mib"] = command.mib;
  json["workers"] = command.workers;
  json["servers"] = command.servers;
  json["lanes"] = command.lanes;
  json["repeat"] = command.repeat;
  const bool right = (!tcp || (tcp->bulk.verified && tcp->tiny.verified)) &&
                     (!shm || (shm->bulk.verified && shm->tiny.verified));
  if (command.json) {
    out << json.dump(1) << "\n";
    return right ? 0 : 1;
  }
  out << fmt::format("{} MiB, {} workers, {} servers of {} lanes; medians of {}\n", command.mib,
                     command.workers, command.servers, command.lanes, command.repeat);
  if (tcp) out << table(of_tcp, false);
  if (shm) out << table(of_shm, true);
  if (plain) {
    out << fmt::format("encryption makes push and pull over tcp take {:.2f} times as long\n",
                       json["encryption_cost"].get<double>());
  }
  if (tcp && shm) {
    out << fmt::format("shared memory is {:.2f} times as fast as tcp, push and pull together\n",
                       json["shm_over_tcp"].get<double>());
  }
  return right ? 0 : 1;
}

}  // namespace sheaf::launcher
