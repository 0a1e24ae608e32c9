// `sheaf audit` as a person calls it.
#include <gmock/gmock.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/harness/process.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::harness {
namespace {

Answer audit(const std::string& privacy, const std::vector<std::string>& options = {}) {
  const launcher::TemporaryFolder folder;
  std::ofstream(folder / "job.toml")
      << "[run]\nname = \"audited\"\nworkers = 1\nservers = 1\n"
         "[data]\nkind = \"synthetic_linear\"\nexamples = 1000\nslope = 3.0\nbatch = 500\n"
         "sampling = \"poisson\"\n"
         "[model]\nloss = \"mse\"\nlayers = [{ kind = \"dense\", units = 1 }]\n"
         "[optimizer]\nkind = \"sgd\"\nrate = 0.01\n"
      << privacy;
  std::vector<std::string> words = {"audit", folder / "job.toml"};
  words.insert(words.end(), options.begin(), options.end());
  return ask_program(words, std::chrono::minutes(4));
}

// Its secrets are random. An honest job passes with probability 0.998, so only what does not depend
// on them is asked for here: the figures, and that the exit code is theirs.
TEST(AuditCommand, PrintsItsBoundsBesideTheAccountants) {
  const Answer answer = audit("[privacy]\nkind = \"gaussian\"\nepsilon = 4.0\ndelta = 1e-4\n",
                              {"--canaries", "5000", "--json"});
  const auto figures = nlohmann::json::parse(answer.output);
  EXPECT_NEAR(figures["upper"].get<double>(), 4, 1e-3);
  EXPECT_EQ(figures["confidence"], 0.999);
  EXPECT_EQ(figures["canaries"], 5000);
  EXPECT_EQ(figures["steps"], 2);
  EXPECT_EQ(figures["sampling_rate"], 0.5);
  const double lower =
      std::max(figures["lower"].get<double>(), figures["lower_one_run"].get<double>());
  EXPECT_EQ(answer.code, lower <= figures["upper"].get<double>() ? 0 : 1);
  EXPECT_EQ(answer.errors.empty(), answer.code == 0);
}

TEST(AuditCommand, RefusesAJobWithoutPrivacy) {
  const Answer answer = audit("");
  EXPECT_EQ(answer.code, 2);
  EXPECT_THAT(answer.errors, testing::HasSubstr("privacy.kind: found \"none\""));
}

}  // namespace
}  // namespace sheaf::harness
