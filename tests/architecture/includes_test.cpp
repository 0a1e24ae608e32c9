// The include graph of docs/architecture.md, checked over every #include line of the product.
#include <gmock/gmock.h>

#include <filesystem>

#include "tests/architecture/rules.h"

namespace sheaf::architecture {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string listed(const Faults& faults) {
  std::string text;
  for (const auto& fault : faults) text += "\n  " + fault;
  return text;
}

template <typename Rule>
Faults over(const std::vector<std::string>& folders, Rule rule) {
  Faults all;
  for (const auto& file : read_sources(folders)) {
    for (auto& fault : rule(file)) all.push_back(std::move(fault));
  }
  return all;
}

Faults layers_of(std::string path, std::string_view text) {
  return layer_faults(SourceFile(std::move(path), text));
}
Faults doors_of(std::string path, std::string_view text) {
  return door_faults(SourceFile(std::move(path), text));
}

TEST(IncludesTest, TheLayersHold) {
  const auto faults = over(kProduct, layer_faults);
  EXPECT_TRUE(faults.empty()) << listed(faults);
}

TEST(IncludesTest, EveryLibraryIsIncludedThroughItsDoor) {
  const auto faults = over(kProduct, door_faults);
  EXPECT_TRUE(faults.empty()) << listed(faults);
}

TEST(IncludesTest, IncludesStartAtTheRootAndOwnHeadersComeFirst) {
  const auto faults = over(kAllSources, [](const SourceFile& file) {
    const auto header = project_root() / file.folder() / (file.stem() + ".h");
    return include_style_faults(file, !file.is_header() && std::filesystem::exists(header));
  });
  EXPECT_TRUE(faults.empty()) << listed(faults);
}

TEST(IncludesTest, RoomsOfTheProductDoNotIncludeEachOtherInACircle) {
  EXPECT_EQ(room_cycle(read_sources(kProduct)), "");
}

// The rules themselves, on files that break them.

TEST(IncludeRulesTest, AFaultNamesFileLineAndRule) {
  EXPECT_THAT(layers_of("worker/worker.cpp", "\n#include \"server/server.h\"\n"),
              ElementsAre("worker/worker.cpp:2: includes \"server/server.h\"; "
                          "worker includes common and worker only"));
}

TEST(IncludeRulesTest, RolesAndLauncherStayOutOfCommon) {
  EXPECT_THAT(layers_of("common/a.h", "#include \"worker/worker.h\""), testing::SizeIs(1));
  EXPECT_THAT(layers_of("common/a.h", "#include \"launcher/rank/roles.h\""), testing::SizeIs(1));
  EXPECT_THAT(layers_of("common/a.h", "#include \"common/base/error.h\""), IsEmpty());
}

TEST(IncludeRulesTest, TheLauncherUsesTheDoorsOfTheRolesOnly) {
  EXPECT_THAT(layers_of("launcher/rank/roles.cpp", "#include \"server/server.h\""), IsEmpty());
  EXPECT_THAT(layers_of("launcher/rank/roles.cpp", "#include \"server/lane.h\""),
              testing::SizeIs(1));
}

TEST(IncludeRulesTest, ALibraryOutsideItsDoorIsAFault) {
  EXPECT_THAT(doors_of("launcher/rank/mpi_session.cpp", "#include <mpi.h>"), IsEmpty());
  EXPECT_THAT(doors_of("worker/worker.cpp", "#include <mpi.h>"),
              ElementsAre(HasSubstr("the door of this library is launcher/rank/mpi_session.cpp")));
  EXPECT_THAT(doors_of("server/lane.cpp", "#include <boost/asio/write.hpp>"), testing::SizeIs(1));
  EXPECT_THAT(doors_of("server/lane.cpp", "#include <gtest/gtest.h>"), testing::SizeIs(1));
}

TEST(IncludeRulesTest, AnUnknownLibraryIsAFaultAndASystemHeaderIsNot) {
  EXPECT_THAT(doors_of("server/lane.cpp", "#include <sys/mman.h>\n#include <vector>"), IsEmpty());
  EXPECT_THAT(doors_of("server/lane.cpp", "#include <absl/types/span.h>"),
              ElementsAre(HasSubstr("a new library needs a door")));
}

TEST(IncludeRulesTest, AnIncludeFromTheOwnFolderOrWithoutTheOwnHeaderIsAFault) {
  const SourceFile relative("server/lane.cpp", "#include \"lane.h\"");
  EXPECT_THAT(include_style_faults(relative, false), testing::SizeIs(1));
  const SourceFile late("server/lane.cpp", "#include <vector>\n#include \"server/lane.h\"");
  EXPECT_THAT(include_style_faults(late, true), testing::SizeIs(1));
  EXPECT_THAT(include_style_faults(late, false), IsEmpty());
}

TEST(IncludeRulesTest, ACircleOfRoomsIsFound) {
  const SourceFile a("common/a/modes/x.h", "#include \"common/b/y.h\"");
  const SourceFile b("common/b/y.h", "#include \"common/c/z.h\"");
  const SourceFile c("common/c/z.h", "#include \"common/a/w.h\"");
  EXPECT_EQ(room_cycle({a, b}), "");
  EXPECT_EQ(room_cycle({a, b, c}), "common/a -> common/b -> common/c -> common/a");
}

}  // namespace
}  // namespace sheaf::architecture
