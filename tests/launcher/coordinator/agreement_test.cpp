#include "launcher/coordinator/agreement.h"

#include <gmock/gmock.h>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr ProcessId kServer{Role::server, 0};
constexpr ProcessId kFirst{Role::worker, 0};
constexpr ProcessId kSecond{Role::worker, 1};

// Two workers and a server that fit, on hosts a, b and s.
class AgreementTest : public testing::Test {
 protected:
  AgreementTest() {
    for (const auto& [process, host] :
         {std::pair{kServer, "s"}, std::pair{kFirst, "a"}, std::pair{kSecond, "b"}}) {
      wire::Registration& r = ranks_[process];
      r.info.host = host;
      r.numerics = "haswell";
      if (process.role == Role::server) continue;
      r.data_digest = "d1";
      r.layout.add("weight", {3, 2}, {});
    }
  }
  std::map<ProcessId, wire::Registration> ranks_;
};

TEST_F(AgreementTest, RanksThatFitAgree) {
  const Agreement agreement = compare(ranks_, true);
  EXPECT_FALSE(agreement.misfit);
  EXPECT_THAT(agreement.warnings, IsEmpty());
}

TEST_F(AgreementTest, OtherDataIsAFaultOfTheDataAndNamesBothHosts) {
  ranks_[kSecond].data_digest = "d2";
  const auto misfit = compare(ranks_, false).misfit;
  ASSERT_TRUE(misfit);
  EXPECT_EQ(misfit->process, kSecond);
  EXPECT_EQ(misfit->fault, static_cast<int>(Fault::data));
  EXPECT_THAT(misfit->text, HasSubstr("worker 1 on b reads other data than worker 0 on a"));
}

TEST_F(AgreementTest, AnotherModelIsAFault) {
  const auto misfit_with = [&](const std::string& name, std::vector<std::uint32_t> shape,
                               const params::Group& group) {
    ranks_[kSecond].layout = {};
    ranks_[kSecond].layout.add(name, std::move(shape), group);
    const auto misfit = compare(ranks_, false).misfit;
    return misfit ? misfit->text : "none";
  };
  params::Group frozen;
  frozen.rate_scale = 0;
  EXPECT_EQ(misfit_with("weight", {3, 2}, {}), "none");
  EXPECT_THAT(misfit_with("weight", {2, 3}, {}), HasSubstr("another model"));
  EXPECT_THAT(misfit_with("bias", {3, 2}, {}), HasSubstr("another model"));
  EXPECT_THAT(misfit_with("weight", {3, 2}, frozen), HasSubstr("another model"));
}

TEST_F(AgreementTest, OtherFloatBitsAreAWarningUnlessTheJobHasToBeDeterministic) {
  ranks_[kServer].numerics = "zen";
  const Agreement lenient = compare(ranks_, false);
  EXPECT_FALSE(lenient.misfit);
  EXPECT_THAT(lenient.warnings,
              ElementsAre(AllOf(HasSubstr("server 0 on s computes with zen, worker 0 on a with "
                                          "haswell"),
                                HasSubstr("not bit-exact"))));
  const auto misfit = compare(ranks_, true).misfit;
  ASSERT_TRUE(misfit);
  EXPECT_EQ(misfit->process, kServer);
  EXPECT_EQ(misfit->fault, static_cast<int>(Fault::config));
  EXPECT_THAT(misfit->text, HasSubstr("run.deterministic"));
}

TEST(WhatDiffersTest, IsTheModelItsFactorsOrTheStepsOfSingleTensors) {
  const params::Group averaged{.averaged = true}, descends{.own = {.rate = 1, .towards = 0}};
  params::Layout saved, factors, steps, other;
  for (params::Layout* layout : {&saved, &factors}) layout->add("weight", {3, 2}, {});
  saved.add("factors.left", {3, 1}, averaged);
  factors.add("factors.left", {3, 2}, averaged);
  steps.add("weight", {3, 2}, descends);
  other.add("weight", {4, 2}, {});
  EXPECT_THAT(what_differs(saved, factors), HasSubstr("the same model with other factors"));
  EXPECT_THAT(what_differs(saved, saved.parameters()), HasSubstr("other factors"));
  EXPECT_THAT(what_differs(saved.parameters(), steps),
              HasSubstr("single tensors take other steps"));
  EXPECT_THAT(what_differs(saved.parameters(), other),
              HasSubstr("another model than the job file says: 6 parameters in 1 tensors, found 8 "
                        "in 1"));
}

}  // namespace
}  // namespace sheaf::launcher
