#include "tests/harness/checkpoint_job.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace sheaf::harness {

SmallJob::SmallJob() {
  tables["run"] += "partitions = 4\n";
  tables["data"] =
      "kind = \"synthetic_sum\"\nexamples = 999\ntest_examples = 101\nfeatures = 32\n"
      "batch = 60\nvalidation = 0.1\n";
  tables["optimizer"] = "kind = \"adam\"\nrate = 1e-3\nclip_norm = 1.0\n";
  // One chunk of two blocks of the optimizer, and one of all that is small: a third server is
  // idle.
  tables["model"] =
      "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 256, activation = \"tanh\" },\n"
      "  { kind = \"dense\", units = 1 }]\n";
  tables["network"] = "chunk_kib = 64\nlanes = 2\n";
  tables["checkpoint"] = "every = \"50ms\"\n";
}

std::string outcome_of(const nlohmann::json& result) {
  if (!result.is_object()) return "no result";
  return result["model_sha256"].dump() + result["train"].dump() + result["validation"].dump() +
         result["test"].dump();
}

namespace {

nlohmann::json uninterrupted(std::uint64_t steps) {
  SmallJob job;
  job.overrides = {"run.steps=" + std::to_string(steps)};
  Running running(job);
  EXPECT_EQ(running.wait(patience(kRun)), 0) << running.errors();
  return running.result();
}

}  // namespace

std::string reference(std::uint64_t steps) { return outcome_of(uninterrupted(steps)); }

std::string reference_model(std::uint64_t steps) { return uninterrupted(steps)["model_sha256"]; }

std::vector<std::uint64_t> checkpoints_of(const Job& job) {
  std::vector<std::uint64_t> steps;
  std::error_code none;
  for (const auto& entry : std::filesystem::directory_iterator(job.run() / "checkpoints", none)) {
    if (std::filesystem::exists(entry.path() / "MANIFEST", none)) {
      steps.push_back(std::stoull(entry.path().filename().string().substr(5)));
    }
  }
  std::ranges::sort(steps, std::greater<>());
  return steps;
}

bool has_saved(const Job& job, Running& running) {
  return running.wait_until(
      [&] { return say(job, {"status"}).output.find("saved at step") != std::string::npos; }, kRun);
}

bool saves_another(const Job& job, Running& running) {
  const auto newest = [&] {
    const auto steps = checkpoints_of(job);
    return steps.empty() ? 0 : steps.front();
  };
  return running.wait_until([&, before = newest()] { return newest() > before; }, kRun);
}

std::uint64_t newest_step(const Running& running) {
  const std::string rows = running.file("metrics.jsonl");
  const std::size_t end = rows.rfind('\n');
  if (end == std::string::npos) return 0;
  const std::size_t begin = end == 0 ? std::string::npos : rows.rfind('\n', end - 1);
  const auto row = nlohmann::json::parse(
      rows.substr(begin == std::string::npos ? 0 : begin + 1, end), nullptr, false);
  return row.is_object() ? row["step"].get<std::uint64_t>() : 0;
}

}  // namespace sheaf::harness
