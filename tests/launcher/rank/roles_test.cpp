// What a worker of a private job draws its samples from.
#include "launcher/rank/roles.h"

#include <gmock/gmock.h>

#include <string>
#include <vector>

#include "tests/launcher/config/job_text.h"
#include "worker/data/poisson_sampler.h"

namespace sheaf::launcher {
namespace {

using Places = std::vector<std::uint64_t>;

RunConfig private_job(const std::string& seed) {
  const std::vector<std::string> overrides = {"run.seed=" + seed};
  RunConfig config =
      RunConfig::from_text(job_with(9, "batch = 64\nsampling = \"poisson\"") +
                               "[privacy]\nkind = \"gaussian\"\nnoise = 1.5\ndelta = 1e-4\n",
                           "job.toml", overrides);
  config.require_sound();
  return config;
}

Places sample(const WorkerRole& role) {
  Places places;
  role.sampler()->sample(3, 0, 500, places);
  return places;
}

Places sample_with(const std::string& seed, unsigned char secret) {
  const RunConfig config = private_job(seed);
  WorkerRole role(config, 0);
  wire::Digest digest{};
  digest[0] = std::byte{secret};
  role.protect(1.5, digest);
  return sample(role);
}

// Of 500 examples some 32 take part: two samples are the same by chance with a probability below
// 2^-170.
TEST(WorkerRoleTest, PrivateSamplesComeFromTheSecretAndNotFromTheSeedOfTheRun) {
  const Places first = sample_with("1", 1);
  EXPECT_EQ(sample_with("1", 1), first);
  EXPECT_EQ(sample_with("2", 1), first);
  EXPECT_NE(sample_with("1", 2), first);
  const RunConfig config = private_job("1");
  EXPECT_NE(sample(WorkerRole(config, 0)), first);  // before it has a secret
}

}  // namespace
}  // namespace sheaf::launcher
