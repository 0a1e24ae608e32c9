#include "launcher/supervision/job_hosts.h"

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

TEST(JobHostsTest, ArgumentsWithoutHosts) {
  EXPECT_THAT(without_hosts(Words{"--map-by", "node", "-H", "n1:2,n2", "-host", "n3", "--bynode"}),
              ElementsAre("--map-by", "node", "--bynode"));
}

// mpirun knows a host by the word of the list alone.
TEST(JobHostsTest, AHostIsCalledWhatTheListCallsIt) {
  const auto resolve = [](const std::string& name) {
    return name == "gpu" ? Words{"10.0.0.9", "10.1.0.9"} : Words{name};
  };
  const std::vector<JobHost> list = {{"10.0.0.2", 1}, {"n3.lab", 1}, {"gpu", 1}};
  const auto called = [&](const char* host, const char* address) {
    return name_in_list(list, host, address, resolve);
  };
  EXPECT_EQ(called("n2", "10.0.0.2"), "10.0.0.2");
  EXPECT_EQ(called("n3", "10.0.0.3"), "n3.lab");
  EXPECT_EQ(called("n9", "10.1.0.9"), "gpu");
  EXPECT_EQ(called("n4", "10.0.0.4"), std::nullopt);
  EXPECT_EQ(called("10", "10.0.0.4"), std::nullopt);  // no domain of that host
}

TEST(JobHostsTest, AddressesAreTheirOwn) {
  EXPECT_THAT(addresses_of("127.0.0.1"), ElementsAre("127.0.0.1"));
  EXPECT_THAT(addresses_of("no.such.host.invalid"), IsEmpty());
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
