#include "launcher/bench/bench_scaling.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>

#include "common/base/error.h"
#include "launcher/bench/scaling.h"
#include "launcher/bench/scaling_page.h"
#include "launcher/config/run_config.h"
#include "launcher/doctor/examine.h"
#include "launcher/system/build_identity.h"
#include "launcher/system/child.h"
#include "launcher/system/readable.h"
#include "launcher/system/signals.h"

namespace sheaf::launcher {
namespace {

namespace fs = std::filesystem;
using std::chrono::milliseconds;

constexpr std::chrono::seconds kRateCommand{30};

// What makes the job of a point out of the job of the file.
std::vector<std::string> overrides_of(const ScalingPoint& point, const ScalingSection& scaling,
                                      const fs::path& run, const std::vector<std::string>& given) {
  std::vector<std::string> all = given;
  for (const std::string& more :
       {fmt::format("run.workers={}", point.workers), fmt::format("run.servers={}", point.servers),
        fmt::format("run.steps={}", scaling.steps), std::string("run.epochs=1000000"),
        fmt::format("data.batch={}", point.batch), "run.dir=" + run.string()}) {
    all.push_back(more);
  }
  return all;
}

nlohmann::json read_json(const fs::path& file) {
  std::ifstream in(file);
  nlohmann::json json = nlohmann::json::parse(in, nullptr, false);
  if (json.is_discarded()) fail(Fault::internal, "{} is no JSON", file.string());
  return json;
}

class Sweep {
 public:
  Sweep(const BenchCommand& command, const RunConfig& config, std::ostream& err)
      : job_(command.job), config_(config), err_(err), folder_(config.run().dir) {}

  // The exit code of the first job that failed; else 0, and all measurements are there.
  int run(const std::vector<ScalingPoint>& points) {
    // A sweep is long: what makes one of its jobs impossible is said before the first.
    for (const ScalingPoint& point : points) {
      RunConfig::load(job_.file, overrides(point)).require_sound();
    }
    make_folder();
    for (const ScalingPoint& point : points) {
      if (measurements_.empty() || point.rate != measurements_.back().point.rate) {
        if (const int code = prepare_links(point.rate)) return code;
      }
      if (const int code = run_job(point)) return code;
    }
    return 0;
  }

  std::vector<ScalingMeasurement> take() { return std::move(measurements_); }

 private:
  fs::path run_of(const ScalingPoint& point) const { return folder_ / label(point); }

  std::vector<std::string> overrides(const ScalingPoint& point) const {
    return overrides_of(point, config_.scaling(), run_of(point), job_.overrides);
  }

  void make_folder() const {
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error || !fs::is_empty(folder_, error) || error) {
      fail(Fault::config, "run.dir {}: {}, expected a new or empty folder", folder_.string(),
           error ? error.message() : "is not empty");
    }
  }

  // Sets the rate, if there is one to set, and measures the links.
  int prepare_links(const std::string& rate) {
    if (!rate.empty()) {
      std::string command = config_.scaling().rate_command;
      constexpr std::string_view kPlace = "{rate}";
      for (std::size_t at = 0; (at = command.find(kPlace, at)) != std::string::npos;) {
        command.replace(at, kPlace.size(), rate);
        at += rate.size();
      }
      output_of({"/bin/sh", "-c", command}, kRateCommand);
    }
    JobArguments next = job_;  // its run directory is new each time
    next.overrides.push_back("run.dir=" + (folder_ / "next").string());
    RunConfig config = RunConfig::load(next.file, next.overrides);
    config.require_sound();
    const Examination seen = examine_hosts(config, next);
    std::vector<Finding> findings = judge(seen);
    // Slow links and few cores may be what is to be measured.
    std::erase_if(findings, [](const Finding& f) { return f.level != Level::fault; });
    err_ << findings_text(findings) << std::flush;
    std::vector<double> rates;
    for (const ExaminedTransfer& transfer : seen.transfers) {
      rates.insert(rates.end(), {transfer.a_to_b, transfer.b_to_a});
    }
    std::ranges::sort(rates);
    link_ = rates.empty() ? 0 : rates[rates.size() / 2];
    return exit_code(findings);
  }

  int run_job(const ScalingPoint& point) {
    const fs::path run = run_of(point);
    std::vector<std::string> argv = {fs::read_symlink("/proc/self/exe").string(), "train",
                                     job_.file.string()};
    for (std::string& override : overrides(point)) argv.push_back(std::move(override));
    const fs::path said = run.string() + ".err";
    Child child({.argv = argv, .output = run.string() + ".out", .errors = said});
    const ExitStatus status = wait_for(child);
    if (status != ExitStatus{}) {
      err_ << fmt::format("sheaf bench scaling: {}: {}; see {}\n", label(point), to_string(status),
                          said.string());
      if (interrupted_ != 0) return 128 + interrupted_;  // its job may be saved, the sweep is not
      return status.signal != 0 ? 128 + status.signal : status.code;
    }
    measurements_.push_back(read(point, run));
    err_ << fmt::format("{}: {} examples/s\n", label(point),
                        readable_count(measurements_.back().examples_per_s))
         << std::flush;
    return 0;
  }

  // A job that is under way ends before we do, the way it would if it were asked itself.
  ExitStatus wait_for(Child& child) {
    while (!child.ended()) {
      std::array<pollfd, 2> events{{{signals_.fd(), POLLIN, 0}, {child.pidfd(), POLLIN, 0}}};
      ::poll(events.data(), child.pidfd() < 0 ? 1 : 2, 100);
      while (const auto number = signals_.take()) {
        if (*number == SIGCHLD) continue;
        interrupted_ = *number;
        child.signal(*number);
      }
    }
    return *child.ended();
  }

  ScalingMeasurement read(const ScalingPoint& point, const fs::path& run) const {
    const nlohmann::json result = read_json(run / "result.json");
    ScalingMeasurement m{.point = point};
    m.examples_per_s = result.at("throughput").at("examples_per_s").get<double>();
    const double steps = result.at("steps").get<double>();
    m.step_seconds = result.at("seconds").get<double>() / steps;
    m.exchange_seconds = result.at("traffic").at("seconds").get<double>() / steps;
    m.model_bytes = sizeof(float) * result.at("parameters").get<double>();
    m.link = link_;
    m.run = run.string();
    const nlohmann::json processes = read_json(run / "processes.json");
    for (const auto& row : processes.at("processes")) {
      const std::string role = row.at("role");
      if (role == "server" || role == "worker") {
        m.ranks.push_back({role == "server", row.at("host").get<std::string>()});
      }
    }
    return m;
  }

  const JobArguments& job_;
  const RunConfig& config_;
  std::ostream& err_;
  const fs::path folder_;
  int interrupted_ = 0;  // the signal
  Signals signals_;
  double link_ = 0;  // bytes per second; 0 = not known
  std::vector<ScalingMeasurement> measurements_;
};

void write(const fs::path& file, const std::string& text) {
  std::ofstream out(file, std::ios::binary);
  out << text;
  out.close();
  if (!out) fail(Fault::data, "{} cannot be written", file.string());
}

}  // namespace

int bench_scaling(const BenchCommand& command, std::ostream& out, std::ostream& err) {
  RunConfig config = RunConfig::load(command.job.file, command.job.overrides);
  config.require_sound();
  if (config.scaling().workers.empty()) {
    fail(
        Fault::config,
        "{}: scaling.workers: found none, expected how many workers each job of the sweep has, try "
        "[1, 2, 4], or configs/scenarios/scaling.toml",
        command.job.file.string());
  }
  Sweep sweep(command, config, err);
  const int code = sweep.run(plan_points(config.scaling(), config.data().batch));
  const std::vector<ScalingRow> rows = compare(sweep.take());
  if (rows.empty()) return code;
  const fs::path folder = config.run().dir;
  const std::string json = scaling_json(config.run().name, build_text(), rows);
  write(folder / "scaling.json", json);
  write(folder / "scaling.html", scaling_page(config.run().name, build_text(), rows));
  if (command.json) {
    out << json;
  } else {
    out << scaling_text(rows) << folder.string() << "\n";
  }
  return code;
}

}  // namespace sheaf::launcher
