#include "common/privacy/secrets.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <map>

#include "common/base/error.h"
#include "tests/harness/temporary_folder.h"

namespace sheaf::privacy {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class SecretsTest : public testing::Test {
 protected:
  fs::path folder() const { return parent_ / "state/secrets"; }
  RunSecrets open(const std::string& run = "job-1") const {
    return open_secrets(folder(), run, parent_ / (run + "-turn"));
  }
  std::pair<Fault, std::string> refusal() const {
    try {
      open();
    } catch (const Error& e) {
      return {e.fault(), e.message()};
    }
    return {Fault::internal, "no refusal"};
  }
  static unsigned mode(const fs::path& path) {
    struct stat status{};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_mode & 07777U;
  }

  launcher::TemporaryFolder parent_;
};

TEST_F(SecretsTest, AreMadeOnceAndThenRead) {
  const RunSecrets made = open();
  EXPECT_NE(made.sampling.bytes(), made.noise.bytes());
  const RunSecrets read = open();
  EXPECT_EQ(read.sampling.bytes(), made.sampling.bytes());
  EXPECT_EQ(read.noise.bytes(), made.noise.bytes());
  EXPECT_NE(open("job-2").noise.bytes(), made.noise.bytes());
}

TEST_F(SecretsTest, OnlyTheirOwnerMayReadThemWhateverTheMaskOfTheProcess) {
  const mode_t before = ::umask(0);
  open();
  ::umask(before);
  EXPECT_EQ(mode(folder()), 0700U);
  EXPECT_EQ(mode(folder() / "job-1.sampling"), 0600U);
  EXPECT_EQ(mode(folder() / "job-1.noise"), 0600U);
}

TEST_F(SecretsTest, OneThatIsLostIsMadeAnewAndTheOtherStays) {
  const RunSecrets made = open();
  fs::remove(folder() / "job-1.noise");
  const RunSecrets again = open();
  EXPECT_EQ(again.sampling.bytes(), made.sampling.bytes());
  EXPECT_NE(again.noise.bytes(), made.noise.bytes());
  EXPECT_NE(secret_id(again.noise), secret_id(made.noise));
}

TEST_F(SecretsTest, OfTwoCopiesOfARunTheOneThatHasNotGoneOnIsKnown) {
  const fs::path original = parent_ / "original", copy = parent_ / "copy";
  EXPECT_FALSE(used_by_another(folder(), "job-1", original));
  const RunSecrets first = open_secrets(folder(), "job-1", original);
  fs::copy_file(original, copy);
  EXPECT_FALSE(used_by_another(folder(), "job-1", copy)) << "none of the two has gone on";
  const RunSecrets second = open_secrets(folder(), "job-1", original);
  EXPECT_EQ(second.sampling.bytes(), first.sampling.bytes());
  EXPECT_FALSE(used_by_another(folder(), "job-1", original));
  EXPECT_TRUE(used_by_another(folder(), "job-1", copy));
  fs::remove(original);
  EXPECT_TRUE(used_by_another(folder(), "job-1", original)) << "nobody knows which one it is";
}

TEST_F(SecretsTest, ThoseThatOthersMayReadAreRefused) {
  open();
  fs::permissions(folder() / "job-1.noise", fs::perms(0640));
  EXPECT_EQ(refusal().first, Fault::config);
  EXPECT_THAT(refusal().second, HasSubstr("job-1.noise: found permissions 0640, expected 0600"));
  fs::permissions(folder() / "job-1.noise", fs::perms(0600));
  fs::permissions(folder(), fs::perms(0755));
  EXPECT_EQ(refusal().first, Fault::config);
  EXPECT_THAT(refusal().second, HasSubstr("secrets: found permissions 0755, expected 0700"));
}

TEST_F(SecretsTest, ADamagedOneIsRefusedAndNotQuoted) {
  const std::string digits = open().noise.hex();
  std::ofstream(folder() / "job-1.noise") << digits.substr(0, 60) << "\n";
  EXPECT_EQ(refusal().first, Fault::data);
  EXPECT_THAT(refusal().second, HasSubstr("job-1.noise: found no secret"));
  EXPECT_THAT(refusal().second, testing::Not(HasSubstr(digits.substr(0, 8))));
}

TEST_F(SecretsTest, ALinkIsNotFollowed) {
  open();
  fs::rename(folder() / "job-1.noise", folder() / "elsewhere");
  fs::create_symlink(folder() / "elsewhere", folder() / "job-1.noise");
  EXPECT_EQ(refusal().first, Fault::data);
}

TEST(SecretFolderTest, IsThatOfTheStateOfTheUser) {
  std::map<std::string, const char*> set = {{"XDG_STATE_HOME", "/state"}, {"HOME", "/home/a"}};
  const auto environment = [&](const char* name) { return set[name]; };
  EXPECT_EQ(default_secret_folder(environment), "/state/sheaf/secrets");
  set["XDG_STATE_HOME"] = "relative";  // its specification: then it does not count
  EXPECT_EQ(default_secret_folder(environment), "/home/a/.local/state/sheaf/secrets");
  set["HOME"] = nullptr;
  EXPECT_THROW(default_secret_folder(environment), Error);
}

// HMAC-SHA256 of the label with a key of 32 zeros, by Python's hmac.
TEST(SecretIdTest, IsAHashOfASecret) {
  EXPECT_EQ(secret_id(wire::JobKey(wire::Digest{})), "1efe3898a00ce907bd2fe4574faeb9cc");
}

// The one who dies would dump its core if it were allowed to: the limit is as high as it may be.
TEST(SecretMemoryTest, AProcessThatHoldsSecretsLeavesNoCoreDump) {
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    keep_memory_private();
    if (::prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) != 0) ::_exit(1);
    ::signal(SIGABRT, SIG_DFL);
    ::raise(SIGABRT);
    ::_exit(2);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_FALSE(WCOREDUMP(status));
}

}  // namespace
}  // namespace sheaf::privacy
