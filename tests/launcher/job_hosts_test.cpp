#include "launcher/job_hosts.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include <array>
#include <sstream>

namespace sheaf::launcher {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Words = std::vector<std::string>;

const char* nothing_set(const char*) { return nullptr; }

std::string text_of(const std::vector<JobHost>& hosts) {
  std::string text;
  for (const JobHost& host : hosts) {
    text += host.name + ":" + (host.slots ? std::to_string(*host.slots) : "?") + " ";
  }
  return text;
}

std::string parsed(const std::string& text) {
  std::istringstream lines(text);
  return text_of(parse_hostfile(lines));
}

TEST(JobHostsTest, AHostfileIsReadAsMpirunReadsIt) {
  EXPECT_EQ(parsed("# two\nn1 slots=4\n\n  n2 max-slots=8 slots=2  # small\n"), "n1:4 n2:2 ");
  EXPECT_EQ(parsed("n1\nn2 slots=many\n"), "n1:? n2:? ");
  EXPECT_EQ(parsed("n1 slots=1\nn2 slots=1\nn1 slots=2\n"), "n1:3 n2:1 ");
  EXPECT_EQ(parsed(""), "");
}

TEST(JobHostsTest, HostsAmongTheArguments) {
  EXPECT_EQ(text_of(hosts_of_arguments(Words{"--map-by", "node", "-H", "n1:2,n2,n1"})),
            "n1:3 n2:1 ");
  EXPECT_EQ(text_of(hosts_of_arguments(Words{"-host", "n1"})), "n1:1 ");
  EXPECT_THAT(hosts_of_arguments(Words{"--hostfile", "hosts", "--host"}), IsEmpty());
}

TEST(JobHostsTest, TheAgentIsThatOfMpirun) {
  EXPECT_THAT(remote_agent(Words{}, nothing_set), ElementsAre("ssh"));
  EXPECT_THAT(remote_agent(Words{"--mca", "plm_rsh_agent", "/opt/agent -v:ssh"}, nothing_set),
              ElementsAre("/opt/agent", "-v"));
  const auto set = [](const char* name) {
    return std::string_view(name) == "OMPI_MCA_plm_rsh_agent" ? "rsh" : nullptr;
  };
  EXPECT_THAT(remote_agent(Words{"--mca", "btl", "self"}, set), ElementsAre("rsh"));
  EXPECT_THAT(remote_agent(Words{"-mca", "plm_rsh_agent", "ssh -p 2222"}, set),
              ElementsAre("ssh", "-p", "2222"));
}

TEST(JobHostsTest, VariablesOfOpenBlasGoToEveryHost) {
  const std::array<const char*, 4> environment = {"PATH=/bin", "OPENBLAS_CORETYPE=Haswell",
                                                  "MY_OPENBLAS_X=1", nullptr};
  EXPECT_THAT(blas_variables(environment.data()), ElementsAre("OPENBLAS_CORETYPE"));
}

TEST(JobHostsTest, ThisHostHasSeveralNames) {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  const std::string self = name.data();
  for (const std::string& own : {self, self.substr(0, self.find('.')) + ".example.org",
                                 std::string("localhost"), std::string("127.0.0.1")}) {
    EXPECT_TRUE(is_this_host(own)) << own;
  }
  EXPECT_FALSE(is_this_host("another-" + self));
  EXPECT_FALSE(is_this_host("10.77.0.9"));
}

}  // namespace
}  // namespace sheaf::launcher
