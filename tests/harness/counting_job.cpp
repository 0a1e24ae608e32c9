#include "tests/harness/counting_job.h"

#include <cmath>
#include <sstream>

#include "launcher/run/model_file.h"

namespace sheaf::harness {
namespace {

constexpr unsigned kExamples = 64;

unsigned input(std::size_t i, unsigned active) {
  return i < active ? 1 + static_cast<unsigned>(i % 3) : 0;
}

}  // namespace

CountingJob::CountingJob(const std::string& consistency, unsigned active) {
  std::ostringstream rows;
  for (unsigned example = 0; example < kExamples; ++example) {
    for (unsigned i = 0; i < kInputs; ++i) rows << input(i, active) << ",";
    rows << "1e30\n";
  }
  tables["run"] += "partitions = " + std::to_string(kPartitions) + "\n";
  tables["data"] =
      "kind = \"csv\"\npath = \"" + write("same.csv", rows.str()).string() + "\"\nbatch = 16\n";
  tables["model"] = "loss = \"mae\"\nlayers = [{ kind = \"dense\", units = 1, init = \"zero\" }]\n";
  tables["optimizer"] = "kind = \"sgd\"\nrate = 1.0\n";
  tables["consistency"] = consistency;
  tables["network"] = "chunk_kib = 1\nlanes = 2\n";
  tables["checkpoint"] = "every = \"50ms\"\n";
}

std::optional<std::uint64_t> count_of(const Job& job, unsigned active) {
  constexpr unsigned kInputs = CountingJob::kInputs;
  const auto weights = launcher::read_model(job.run() / "model.safetensors").parameters;
  if (weights.size() != kInputs + 1) return std::nullopt;
  const double count = weights[0];
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const double each = i < kInputs ? input(i, active) : 1;  // the last one is the bias
    if (weights[i] != count * each) return std::nullopt;
  }
  if (count < 0 || count != std::floor(count)) return std::nullopt;
  return static_cast<std::uint64_t>(count);
}

}  // namespace sheaf::harness
