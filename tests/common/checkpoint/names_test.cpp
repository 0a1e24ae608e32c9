#include "common/checkpoint/names.h"

#include <gtest/gtest.h>

#include <limits>

namespace sheaf::checkpoint {
namespace {

TEST(NamesTest, FoldersAreNamedBySteps) {
  EXPECT_EQ(folder_name(120), "step-000000000120");
  EXPECT_EQ(folder_name(1'234'567'890'123), "step-1234567890123");
  for (const Step step : {Step{0}, Step{120}, std::numeric_limits<Step>::max()}) {
    EXPECT_EQ(step_of(folder_name(step)), step);
  }
  for (const char* name : {"", "step-", "step-120", "step-0000000000120", "step-00000000012x",
                           "step-000000000120.tmp", "step--00000000001", "step-00000000012 ",
                           "xstep-000000000120", "step-99999999999999999999"}) {
    EXPECT_EQ(step_of(name), std::nullopt) << name;
  }
}

TEST(NamesTest, OnlyOurFilesAreOurs) {
  EXPECT_EQ(data_file_name(12), "server-12.safetensors");
  for (const char* name :
       {"MANIFEST", "MANIFEST.tmp", "server-0.safetensors", "server-4294967295.safetensors",
        "server-0.safetensors.tmp", "worker-0.safetensors", "worker-7.safetensors.tmp"}) {
    EXPECT_TRUE(is_own_name(name)) << name;
  }
  for (const char* name :
       {"", ".tmp", "notes.txt", "MANIFEST2", "server-.safetensors", "server-00.safetensors",
        "server-0.safetensors.tmp.tmp", "server-4294967296.safetensors", "../MANIFEST",
        "server-0safetensors", "server-0.safetensor"}) {
    EXPECT_FALSE(is_own_name(name)) << name;
  }
  EXPECT_FALSE(is_data_file_name("MANIFEST"));
  EXPECT_FALSE(is_data_file_name("server-0.safetensors.tmp"));
}

}  // namespace
}  // namespace sheaf::checkpoint
