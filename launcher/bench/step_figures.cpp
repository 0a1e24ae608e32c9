#include "launcher/bench/step_figures.h"

#include <fmt/format.h>

#include <ostream>
#include <string>
#include <string_view>

#include "launcher/system/median.h"

namespace sheaf::launcher {
namespace {

double ratio(double a, double b) { return b > 0 ? a / b : 0; }

void print_line(std::ostream& out, std::string_view name, const std::string& value,
                const std::string& meaning) {
  out << fmt::format("{:<16}{:>10}  {}\n", name, value, meaning);
}

}  // namespace

nlohmann::ordered_json step_figures(const StepSamples& samples) {
  const double step = median(samples.step);
  const double compute = median(samples.compute);
  const double baseline = median(samples.baseline);
  const double gemms = median(samples.gemms);
  const auto steps = static_cast<double>(samples.step.size());
  nlohmann::ordered_json json;
  json["step_ms"] = 1e3 * step;
  json["compute_ms"] = 1e3 * compute;
  json["exchange_ms"] = 1e3 * median(samples.exchange);
  json["exposed_ms"] = 1e3 * median(samples.exposed);
  json["displaced_ms"] = 1e3 * median(samples.displaced);
  json["blas_share"] = ratio(samples.blas_seconds, samples.computed_seconds);
  json["allocations_per_step"] = ratio(samples.allocations, steps);
  json["baseline_step_ms"] = 1e3 * baseline;
  json["optimizer_ms"] = 1e3 * median(samples.optimizer);
  json["ps_tax"] = ratio(step, baseline) - 1;
  json["gflops"] = 1e-9 * ratio(samples.flops, compute);
  json["sgemm_gflops"] = 1e-9 * ratio(samples.flops, gemms);
  json["gemm_ratio"] = ratio(gemms, compute);
  json["steps"] = samples.step.size();
  return json;
}

void print_figures(const nlohmann::ordered_json& figures, std::ostream& out) {
  const auto number = [&](std::string_view key) { return figures.at(key).get<double>(); };
  const auto ms = [&](std::string_view key) { return fmt::format("{:.3f} ms", number(key)); };
  const auto whole = [&](std::string_view key) { return figures.at(key).get<std::uint64_t>(); };

  print_line(out, "step", ms("step_ms"),
             fmt::format("one step of the first worker, median of {}; {} workers and {} servers "
                         "are threads of this process",
                         whole("steps"), whole("workers"), whole("servers")));
  print_line(out, "  compute", ms("compute_ms"),
             fmt::format("its own work: forward, backward, handing over the gradient; {:.0f} % of "
                         "it in BLAS",
                         100 * number("blas_share")));
  print_line(out, "  exposed", ms("exposed_ms"),
             "waiting for acknowledgements and parameters that compute did not hide");
  print_line(out, "  displaced", ms("displaced_ms"),
             "neither of the two: other threads had the core");
  print_line(out, "exchange", ms("exchange_ms"),
             "from the first push of a step to its last new parameter, hidden or not");
  print_line(out, "baseline", ms("baseline_step_ms"),
             "floor of a step: the worker alone, without servers, its own optimizer");
  print_line(out, "  optimizer", ms("optimizer_ms"),
             "of the baseline; in a job it is the servers' work");
  print_line(out, "ps tax", fmt::format("{:+.1f} %", 100 * number("ps_tax")),
             "what the parameter server costs: step / baseline - 1");
  print_line(out, "GEMMs", fmt::format("{:.1f} GF/s", number("gflops")),
             "matrix products of a step per second of compute");
  print_line(out, "sgemm", fmt::format("{:.1f} GF/s", number("sgemm_gflops")),
             "floor of compute: the same calls of cblas_sgemm, same memory and order, alone");
  print_line(out, "GEMM ratio", fmt::format("{:.2f}", number("gemm_ratio")),
             "GEMMs / sgemm; 1 means that compute is nothing but matrix products");
  print_line(out, "allocations", fmt::format("{:.2f}", number("allocations_per_step")),
             "calls of operator new per step, in all threads");
  for (const auto& [where, price] : figures.at("privacy_price").items()) {
    print_line(out, "privacy, " + where,
               price.is_null() ? "-" : fmt::format("{:.2f}", price.get<double>()),
               where == "central"
                   ? "step with clipped examples and noise by the servers / without privacy"
                   : "the same with noise by each partition");
  }
  print_line(out, "partition price", fmt::format("{:.2f}", number("partition_price")),
             "one worker with one partition, alone / a plain loop that knows of no partitions");
  print_line(out, "data price", fmt::format("{:.2f}", number("data_price")),
             "that plain loop over batches from the data / over one batch that stays in memory");
  std::string prices;
  for (const auto& [p, price] : figures.at("price_of_p").items()) {
    prices += fmt::format("  P={} {:.2f}", p, price.get<double>());
  }
  print_line(
      out, "price of P", "",
      fmt::format("compute of a batch of {} in P partitions / in one:{}", whole("batch"), prices));
}

}  // namespace sheaf::launcher
