// `sheaf doctor` on three hosts: each thing that can be wrong is made wrong, and named.
#include <gmock/gmock.h>

#include "tests/harness/places.h"
#include "tests/hosts/test_hosts.h"

namespace sheaf::harness {
namespace {

namespace fs = std::filesystem;
using testing::AnyOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

constexpr Limit kDoctor(30'000);  // all of its own deadlines together

class Doctor : public testing::Test {
 protected:
  Doctor() {
    job_.mpirun = true;
    if (!hosts_.missing().empty()) return;
    job_.tables["launch"] = hosts_.launch();
    job_.tables["network"] = "ports = \"20000-20010\"\n";
  }
  void SetUp() override {
    if (!hosts_.missing().empty()) GTEST_SKIP() << hosts_.missing();
  }

  // The doctor's verdict; `code_` is its exit code.
  nlohmann::json examine() {
    const Command command =
        job_.command({"doctor", job_.write_job(), "--json", "run.dir=" + job_.run().string()});
    fs::remove(command.output);  // of the verdict before
    Running running(job_, hosts_.on(1, command));
    code_ = running.wait(kDoctor);
    EXPECT_THAT(wait_for_descendants(kAllGone), IsEmpty());
    const auto json = nlohmann::json::parse(running.output(), nullptr, false);
    EXPECT_TRUE(json.is_object()) << running.output() << running.errors();
    if (json.is_object()) {
      EXPECT_EQ(json["exit"], code_.value_or(-1));
    }
    return json;
  }

  // Exactly one finding that is not ok, of this kind.
  void expect(const std::string& level, const std::string& check, const std::string& where,
              int code, const std::string& found) {
    const nlohmann::json verdict = examine();
    ASSERT_TRUE(verdict.is_object());
    nlohmann::json bad = nlohmann::json::array();
    for (const auto& finding : verdict["findings"]) {
      if (finding["level"] != "ok") bad.push_back(finding);
    }
    ASSERT_EQ(bad.size(), 1U) << bad.dump(1);
    EXPECT_EQ(bad[0]["level"], level);
    EXPECT_EQ(bad[0]["check"], check);
    EXPECT_EQ(bad[0]["where"], where);
    EXPECT_THAT(bad[0]["found"].get<std::string>(), HasSubstr(found));
    EXPECT_NE(bad[0]["advice"], "");
    EXPECT_EQ(code_, code) << bad.dump(1);
  }

  const TestHosts hosts_{3};
  Job job_;
  std::optional<int> code_;
};

TEST_F(Doctor, FindsNothingWhereNothingIsWrong) {
  const nlohmann::json verdict = examine();
  EXPECT_EQ(code_, 0);
  for (const auto& finding : verdict["findings"]) EXPECT_EQ(finding["level"], "ok") << finding;
  EXPECT_EQ(verdict["findings"].back()["check"], "link");
}

TEST_F(Doctor, NamesAHostThatCannotBeReached) {
  hosts_.let_agent_first(2,
                         "echo 'ssh: connect to host h2 port 22: No route to host' >&2; exit 255");
  expect("fault", "reach", "h2", 4, "No route to host");
}

TEST_F(Doctor, NamesAHostThatHangs) {
  hosts_.let_agent_first(3, "exec sleep 60");
  expect("fault", "reach", "h3", 4, "no answer in time");
}

TEST_F(Doctor, NamesAClosedRangeOfPorts) {
  // Before the table by which a host knows its own addresses.
  hosts_.run(2, {"ip", "rule", "add", "priority", "10", "lookup", "local"});
  hosts_.run(2, {"ip", "rule", "del", "priority", "0"});
  hosts_.run(2, {"ip", "rule", "add", "priority", "5", "iif", "eth0", "ipproto", kTcp, "dport",
                 "20000-20010", "prohibit"});
  expect("fault", "ports", "h1, h3 -> h2", 4, "10.77.0.2 port 20000");
}

TEST_F(Doctor, NamesAnInterfaceThatIsNotThere) {
  job_.tables["network"] += "interface = \"eth0\"\n";
  hosts_.run(3, {"ip", "link", "set", "eth0", "down"});
  hosts_.run(3, {"ip", "link", "set", "eth0", "name", "lan0"});
  hosts_.run(3, {"ip", "link", "set", "lan0", "up"});
  expect("fault", "interface", "h3", 2, "found \"eth0\", expected one of this host's: lo");
}

TEST_F(Doctor, NamesAnInterfaceThatJoinsNobody) {
  job_.tables["network"] += "interface = \"eth1\"\n";
  for (const unsigned host : {1U, 2U, 3U}) {
    hosts_.run(host, {"ip", "link", "add", "eth1", "type", "veth", "peer", "name", "loose"});
    hosts_.run(host,
               {"ip", "address", "add", "10.79.0." + std::to_string(host) + "/32", "dev", "eth1"});
    hosts_.run(host, {"ip", "link", "set", "eth1", "up"});
  }
  const nlohmann::json verdict = examine();
  EXPECT_EQ(code_, 4);
  int named = 0;
  for (const auto& finding : verdict["findings"]) {
    if (finding["level"] == "ok") continue;
    EXPECT_EQ(finding["check"], "ports");
    EXPECT_THAT(finding["advice"].get<std::string>(), StartsWith("network.interface = \"eth1\""));
    ++named;
  }
  EXPECT_EQ(named, 3);
}

TEST_F(Doctor, NamesAHostWithoutTheProgram) {
  const std::string folder = fs::path(test_program()).parent_path();
  hosts_.run(2, {"mount", "-t", "tmpfs", "-o", "size=4k", "none", folder});
  expect("fault", "program", "h2", 2, test_program());
}

TEST_F(Doctor, NamesAnotherBuild) {
  const fs::path other = other_build(job_);
  hosts_.run(3, {"mount", "--bind", other, test_program()});
  expect("fault", "program", "h3", 2, "another build");
}

TEST_F(Doctor, NamesMissingAndOtherData) {
  const fs::path folder = fs::path(source_folder()) / "configs/modes/data";
  fs::create_directory(job_ / "data");
  fs::create_directory(job_ / "other");
  for (const char* name : {"data/line.csv", "other/line.csv"}) {
    fs::copy_file(folder / "line.csv", job_ / name);
  }
  job_.write("other/line.csv", contents_of(folder / "line.csv") + "1,2\n");
  job_.tables["data"] =
      "kind = \"csv\"\npath = \"" + (job_ / "data/line.csv").string() + "\"\nbatch = 8\n";
  hosts_.run(2, {"mount", "--bind", job_ / "other", job_ / "data"});
  expect("fault", "data", "h2", 3, "other data");
  hosts_.run(2, {"mount", "-t", "tmpfs", "none", job_ / "data"});
  expect("fault", "data", "h2", 3, "line.csv");
}

TEST_F(Doctor, NamesASlowLink) {
  hosts_.set_rate("100mbit");
  const nlohmann::json verdict = examine();
  EXPECT_EQ(code_, 0);
  int slow = 0;
  for (const auto& finding : verdict["findings"]) {
    if (finding["level"] == "ok") continue;
    EXPECT_EQ(finding["level"], "warning");
    EXPECT_EQ(finding["check"], "link");
    const double rate = std::stod(finding["found"].get<std::string>());
    EXPECT_GT(rate, 6) << finding;
    EXPECT_LT(rate, 12.6) << finding;
    ++slow;
  }
  EXPECT_EQ(slow, 6);
}

TEST_F(Doctor, NamesAClockThatIsWrong) {
  const auto set_clock = [&](const char* skew) {
    hosts_.let_agent_first(2, std::string("export PATH; set -- \"$1\" \"SHEAF_TEST_SKEW=") + skew +
                                  " LD_PRELOAD='" SHEAF_SKEWED_CLOCK "' ${*:2}\"");
  };
  set_clock("7");
  expect("warning", "clock", "h2", 0, " s ahead of the clock here");
  set_clock("-7");
  expect("warning", "clock", "h2", 0, " s behind the clock here");
}

TEST_F(Doctor, NamesAFullDisk) {
  const fs::path scratch = job_ / "scratch";
  fs::create_directory(scratch);
  hosts_.run(1, {"mount", "-t", "tmpfs", "-o", "size=64k", "none", scratch});
  job_.set_run(scratch / "run");
  expect("fault", "disk", "h1", 2, "No space left on device");
}

TEST_F(Doctor, NamesAFullFolderForTemporaryFiles) {
  const fs::path scratch = job_ / "scratch";
  fs::create_directory(scratch);
  hosts_.let_agent_first(3,
                         "export PATH; set -- \"$1\" \"TMPDIR='" + scratch.string() + "' ${*:2}\"");
  hosts_.run(3, {"mount", "-t", "tmpfs", "-o", "size=64k", "none", scratch});
  expect("fault", "disk", "h3", 2, scratch.string() + ": No space left on device");
}

}  // namespace
}  // namespace sheaf::harness
