// What the doctor makes of what it has seen, without a host.
#include "launcher/doctor/diagnosis.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

namespace sheaf::launcher {
namespace {

using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr double kGigabit = 118e6;

ExaminedHost sound_host(const std::string& name, const std::string& address) {
  ExaminedHost host{.name = name};
  host.command = "ssh " + name + " /opt/sheaf probe";
  host.facts = {.name = name,
                .program = "0.1.0 (commit abc, g++)",
                .build = "0123456789abcdef",
                .numerics = "OpenBLAS, core Haswell",
                .time = 1e9,
                .cores = 4,
                .free_memory = 8'000'000'000,
                .temporary = "/tmp",
                .temporary_problem = ""};
  host.job = ProbeAnswer{.config = "c0", .data = "d0"};
  host.listens = ProbeAnswer{.listens = {address, 20000}, .beside = {address, 40000}};
  return host;
}

// Three hosts on which nothing is wrong.
Examination sound() {
  Examination e{.hosts = {sound_host("h1", "10.0.0.1"), sound_host("h2", "10.0.0.2"),
                          sound_host("h3", "10.0.0.3")}};
  e.hosts[0].starts = true;
  for (std::size_t from = 0; from < 3; ++from) {
    for (std::size_t to = 0; to < 3; ++to) {
      if (from != to) e.links.push_back({from, to});
    }
    e.transfers.push_back({from, (from + 1) % 3, kGigabit, kGigabit, ""});
  }
  e.program = "/opt/sheaf";
  e.mpirun = "/usr/bin/mpirun, Open MPI 4";
  e.ports = "20000-20010";
  e.model_bytes = 40'000'000;
  e.disk = ExaminedDisk{"runs/a", "", 50'000'000'000};
  return e;
}

// The findings that are not ok.
std::vector<Finding> troubles(const Examination& e) {
  std::vector<Finding> findings = judge(e);
  std::erase_if(findings, [](const Finding& f) { return f.level == Level::ok; });
  for (const Finding& f : findings) EXPECT_NE(f.advice, "") << f.check << ": " << f.found;
  return findings;
}

auto is(Level level, const char* check, const char* where, int code, const char* found) {
  return AllOf(Field(&Finding::level, level), Field(&Finding::check, check),
               Field(&Finding::where, where), Field(&Finding::code, code),
               Field(&Finding::found, HasSubstr(found)));
}

TEST(DiagnosisTest, SoundHostsHaveALineForEachCheck) {
  const std::vector<Finding> findings = judge(sound());
  EXPECT_THAT(findings, Each(Field(&Finding::level, Level::ok)));
  std::vector<std::string> checks;
  for (const Finding& finding : findings) checks.push_back(finding.check);
  EXPECT_THAT(checks, ElementsAre("mpirun", "reach", "program", "numerics", "job", "data", "disk",
                                  "memory", "clock", "interface", "ports", "link"));
  EXPECT_EQ(exit_code(findings), 0);
}

TEST(DiagnosisTest, NoMpirun) {
  Examination e = sound();
  e.mpirun_problem = "mpirun was not found in PATH";
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "mpirun", "h1", 2, "not found")));
}

TEST(DiagnosisTest, AHostThatCannotBeReached) {
  Examination e = sound();
  e.hosts[1].silence = Silence{false, 255, "ssh: Could not resolve hostname h2"};
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "reach", "h2", 4, "Could not resolve")));
  EXPECT_THAT(troubles(e)[0].advice, HasSubstr("ssh h2 /opt/sheaf probe"));
}

TEST(DiagnosisTest, AHostThatHangs) {
  Examination e = sound();
  e.hosts[2].silence = Silence{true, std::nullopt, ""};
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "reach", "h3", 4, "no answer in time")));
}

TEST(DiagnosisTest, AProbeThatEndsOtherwise) {
  Examination e = sound();
  e.hosts[2].silence = Silence{false, 134, "abort"};
  EXPECT_THAT(troubles(e),
              ElementsAre(is(Level::fault, "reach", "h3", 4, "(exit code 134): abort")));
}

TEST(DiagnosisTest, AHostWithoutTheProgram) {
  for (const int code : {126, 127}) {
    Examination e = sound();
    e.hosts[1].silence = Silence{false, code, "sh: /opt/sheaf: not found"};
    EXPECT_THAT(troubles(e),
                ElementsAre(is(Level::fault, "program", "h2", 2, "/opt/sheaf: not found")));
  }
}

TEST(DiagnosisTest, AnotherBuild) {
  Examination e = sound();
  e.hosts[1].facts.build = "fedcba9876543210";
  EXPECT_THAT(troubles(e),
              ElementsAre(is(Level::fault, "program", "h2", 2, "build id fedcba98; here")));
}

TEST(DiagnosisTest, OtherNumericsAreRefusedOnlyWhereBitsArePromised) {
  Examination e = sound();
  e.hosts[2].facts.numerics = "OpenBLAS, core SkylakeX";
  EXPECT_THAT(troubles(e),
              ElementsAre(is(Level::warning, "numerics", "h3", 0, "not be bit-exact")));
  e.deterministic = true;
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "numerics", "h3", 2, "run.deterministic")));
}

TEST(DiagnosisTest, MissingAndOtherFiles) {
  Examination e = sound();
  e.hosts[1].job = ProbeAnswer{.problem = "/data/x: No such file", .fault = 3};
  e.hosts[2].job = ProbeAnswer{.config = "c0", .data = "d1"};
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "data", "h2", 3, "/data/x"),
                                       is(Level::fault, "data", "h3", 3, "other data")));
  EXPECT_EQ(exit_code(judge(e)), 3);
  e.hosts[1].job = ProbeAnswer{.problem = "job.toml cannot be read", .fault = 2};
  e.hosts[2].job = ProbeAnswer{.config = "c1", .data = "d0"};
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "job", "h2", 2, "cannot be read"),
                                       is(Level::fault, "job", "h3", 2, "another content")));
}

TEST(DiagnosisTest, AHostWithoutRanksNeedsNoData) {
  Examination e = sound();
  e.hosts[2].has_ranks = false;
  e.hosts[2].job = ProbeAnswer{.problem = "/data/x: No such file", .fault = 3};
  EXPECT_THAT(troubles(e), IsEmpty());
}

TEST(DiagnosisTest, ClocksThatDisagreeForSure) {
  Examination e = sound();
  e.hosts[1].clock_offset = 5;
  e.hosts[1].clock_error = 0.1;
  e.hosts[2].clock_offset = -3;
  e.hosts[2].clock_error = 0.1;
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::warning, "clock", "h2", 0, "5.0 s ahead of"),
                                       is(Level::warning, "clock", "h3", 0, "3.0 s behind")));
  e.hosts[1].clock_error = e.hosts[2].clock_error = 4.5;  // the answer was slow: nothing is known
  EXPECT_THAT(troubles(e), IsEmpty());
}

TEST(DiagnosisTest, TooLittleMemoryOrTooFewCores) {
  Examination e = sound();
  e.hosts[1].memory = 9'000'000'000;
  e.hosts[1].ranks = 3;
  e.hosts[2].ranks = 5;
  EXPECT_THAT(troubles(e),
              ElementsAre(is(Level::warning, "memory", "h2", 0, "3 ranks"),
                          is(Level::warning, "memory", "h3", 0, "5 ranks share 4 cores")));
}

TEST(DiagnosisTest, FullDisks) {
  Examination e = sound();
  e.hosts[1].facts.temporary_problem = "No space left on device";
  e.disk->problem = "No space left on device";
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "disk", "h2", 2, "/tmp: No space"),
                                       is(Level::fault, "disk", "h1", 2, "runs/a: No space")));
  e = sound();
  e.disk->free = 60'000'000;
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::warning, "disk", "h1", 0, "60.0 MB free")));
}

TEST(DiagnosisTest, AnInterfaceThatIsNotThere) {
  Examination e = sound();
  e.hosts[2].listens = ProbeAnswer{
      .problem = "network.interface: found \"ib0\", expected one of this host's: lo", .fault = 2};
  std::erase_if(e.links, [](const ExaminedLink& l) { return l.to == 2; });
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "interface", "h3", 2, "found \"ib0\"")));
}

TEST(DiagnosisTest, PortsThatAreAllTaken) {
  Examination e = sound();
  e.hosts[2].listens =
      ProbeAnswer{.problem = "cannot listen on 10.0.0.3 port 1-2: in use", .fault = 4};
  std::erase_if(e.links, [](const ExaminedLink& l) { return l.to == 2; });
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "interface", "h3", 4, "cannot listen")));
}

TEST(DiagnosisTest, AClosedRangeOfPortsIsToldFromAnInterfaceThatJoinsNobody) {
  Examination e = sound();
  for (ExaminedLink& link : e.links) {
    if (link.to == 1) link.problem = "Connection timed out";
  }
  ASSERT_THAT(troubles(e), ElementsAre(is(Level::fault, "ports", "h1, h3 -> h2", 4,
                                          "10.0.0.2 port 20000: Connection timed out")));
  EXPECT_THAT(troubles(e)[0].advice, HasSubstr("open 20000-20010"));
  for (ExaminedLink& link : e.links) link.beside = link.problem;
  EXPECT_THAT(troubles(e)[0].advice, HasSubstr("network.interface = \"auto\" must be one"));
}

TEST(DiagnosisTest, SlowLinks) {
  Examination e = sound();
  e.transfers[1].a_to_b = 2e6;
  ASSERT_THAT(troubles(e), ElementsAre(is(Level::warning, "link", "h2 -> h3", 0, "2.00 MB/s")));
  EXPECT_THAT(troubles(e)[0].found, HasSubstr("40.0 MB take 20.0 s per step"));
  e.transfers[1].a_to_b = kSlowLink;
  EXPECT_THAT(troubles(e), IsEmpty());
  e.transfers[0].problem = "Connection reset by peer";
  EXPECT_THAT(troubles(e), ElementsAre(is(Level::fault, "link", "h1 <-> h2", 4, "reset by peer")));
}

TEST(DiagnosisTest, TheLowestCodeOfAllFaultsIsThatOfTheProgram) {
  Examination e = sound();
  e.hosts[1].silence = Silence{true, std::nullopt, ""};
  EXPECT_EQ(exit_code(judge(e)), 4);
  e.hosts[2].job = ProbeAnswer{.problem = "no data", .fault = 3};
  EXPECT_EQ(exit_code(judge(e)), 3);
  e.disk->problem = "full";
  EXPECT_EQ(exit_code(judge(e)), 2);
}

TEST(DiagnosisTest, OneHostHasNoLinks) {
  Examination e = sound();
  e.hosts.resize(1);
  e.links.clear();
  e.transfers.clear();
  EXPECT_THAT(troubles(e), IsEmpty());
  EXPECT_EQ(judge(e).back().check, "interface");
}

TEST(DiagnosisTest, WhatWasNotExaminedIsSaid) {
  Examination e = sound();
  e.notes = {"only this host was examined; write the others into a hostfile"};
  const std::vector<Finding> findings = judge(e);
  EXPECT_EQ(findings.back().level, Level::warning);
  EXPECT_EQ(exit_code(findings), 0);
}

TEST(DiagnosisTest, AFindingIsALineAndAnObject) {
  Examination e = sound();
  e.hosts[1].silence = Silence{false, 255, "no route"};
  const std::vector<Finding> findings = judge(e);
  const std::string text = findings_text(findings);
  EXPECT_EQ(static_cast<std::size_t>(std::ranges::count(text, '\n')), findings.size());
  EXPECT_THAT(text,
              HasSubstr("fault    reach      h2: cannot be reached: no route; let this work"));
  const auto json = nlohmann::json::parse(findings_json(findings));
  EXPECT_EQ(json["exit"], 4);
  EXPECT_EQ(json["findings"].size(), findings.size());
  EXPECT_EQ(json["findings"][1]["check"], "reach");
  EXPECT_EQ(json["findings"][1]["level"], "fault");
  EXPECT_EQ(json["findings"][1]["where"], "h2");
}

}  // namespace
}  // namespace sheaf::launcher
