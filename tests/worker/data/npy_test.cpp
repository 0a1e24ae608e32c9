// The NPY format: numpy.lib.format. Headers are written as NumPy 1.24 writes them.
#include <gmock/gmock.h>

#include <limits>

#include "tests/worker/data/support.h"

namespace sheaf::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

std::string npy(std::string_view descr, std::string_view shape, std::string_view content,
                int version = 1, std::string_view fortran = "False") {
  std::string header = "{'descr': " + std::string(descr) +
                       ", 'fortran_order': " + std::string(fortran) +
                       ", 'shape': " + std::string(shape) + ", }";
  const std::size_t length_bytes = version == 1 ? 2 : 4;
  while ((8 + length_bytes + header.size() + 1) % 64 != 0) header += ' ';
  header += '\n';
  std::string bytes = "\x93NUMPY" + std::string(1, static_cast<char>(version)) + '\0';
  for (std::size_t i = 0; i < length_bytes; ++i) {
    bytes += static_cast<char>(header.size() >> (8 * i) & 0xFF);
  }
  return bytes + header + std::string(content);
}

class NpyTest : public testing::Test {
 protected:
  ConfiguredSource open(std::string_view inputs, std::string_view targets) const {
    return make_source("npy", "inputs = \"" + folder_.write("x.npy", inputs) + "\"\ntargets = \"" +
                                  folder_.write("y.npy", targets) + "\"\n");
  }
  std::vector<std::vector<float>> rows(std::string_view inputs, std::string_view targets) const {
    const auto source = open(inputs, targets);
    const Examples examples = read_all(*source);
    EXPECT_EQ(source->rows(SourcePart::train), examples.size());
    return rows_of(examples);
  }
  std::string fault(std::string_view inputs) const {
    return data_fault([&] { rows(inputs, targets_); });
  }

  TempFolder folder_;
  const std::string targets_ = npy("'<i8'", "(2,)", bytes_of<std::int64_t>({0, 1}));
};

TEST_F(NpyTest, EachTypeIsRead) {
  const auto expected = ElementsAre(ElementsAre(1, 2, 0), ElementsAre(3, 4, 1));
  EXPECT_THAT(rows(npy("'<f4'", "(2, 2)", bytes_of<float>({1, 2, 3, 4})), targets_), expected);
  EXPECT_THAT(rows(npy("'<f8'", "(2, 2)", bytes_of<double>({1, 2, 3, 4})), targets_), expected);
  EXPECT_THAT(rows(npy("'<i4'", "(2, 2)", bytes_of<std::int32_t>({1, 2, 3, 4})), targets_),
              expected);
  EXPECT_THAT(rows(npy("'<i8'", "(2, 2)", bytes_of<std::int64_t>({1, 2, 3, 4})), targets_),
              expected);
  EXPECT_THAT(rows(npy("'|u1'", "(2, 2)", bytes_of<std::uint8_t>({1, 2, 3, 4})), targets_),
              expected);
}

TEST_F(NpyTest, EachVersionIsRead) {
  for (const int version : {1, 2, 3}) {
    EXPECT_THAT(rows(npy("'<f4'", "(2, 1)", bytes_of<float>({1, -2}), version), targets_),
                ElementsAre(ElementsAre(1, 0), ElementsAre(-2, 1)));
  }
}

TEST_F(NpyTest, FurtherDimensionsAreFlattened) {
  const auto source = open(npy("'|u1'", "(2, 2, 3)", std::string(12, 'a')),
                           npy("'<f4'", "(2, 2)", bytes_of<float>({1, 2, 3, 4})));
  EXPECT_EQ(source->schema(), (Schema{6, 2, true}));
  EXPECT_EQ(source->locate(SourcePart::train, 1), folder_ / "y.npy: row 1");
  EXPECT_EQ(source->default_normalisation(), Normalisation::none);
}

TEST_F(NpyTest, ATestSetIsRead) {
  const std::string x = folder_.write("x.npy", npy("'<f4'", "(2,)", bytes_of<float>({1, 2})));
  const std::string y = folder_.write("y.npy", targets_);
  const std::string tx = folder_.write("tx.npy", npy("'<f4'", "(1,)", bytes_of<float>({7})));
  const std::string ty = folder_.write("ty.npy", npy("'<f8'", "(1,)", bytes_of<double>({1})));
  const auto source =
      make_source("npy", "inputs = \"" + x + "\"\ntargets = \"" + y + "\"\ntest_inputs = \"" + tx +
                             "\"\ntest_targets = \"" + ty + "\"\n");
  EXPECT_EQ(source->rows(SourcePart::test), 1U);
  EXPECT_THAT(rows_of(read_all(*source, SourcePart::test)), ElementsAre(ElementsAre(7, 1)));
  EXPECT_THAT(source->files(), ElementsAre(x, y, tx, ty));
  const auto wide = make_source(
      "npy", "inputs = \"" + x + "\"\ntargets = \"" + y + "\"\ntest_inputs = \"" +
                 folder_.write("w.npy", npy("'<f4'", "(1, 3)", bytes_of<float>({7, 8, 9}))) +
                 "\"\ntest_targets = \"" + ty + "\"\n");
  EXPECT_THAT(data_fault([&] { wide->rows(SourcePart::test); }),
              HasSubstr("found 3 inputs and 1 targets per row, expected 1 and 1"));
}

TEST_F(NpyTest, OtherTypesAreRefusedByName) {
  EXPECT_THAT(fault(npy("'>f4'", "(2,)", std::string(8, 'a'))),
              AllOf(HasSubstr("x.npy: found values of type '>f4'"), HasSubstr("astype")));
  EXPECT_THAT(fault(npy("'<f2'", "(2,)", std::string(4, 'a'))), HasSubstr("'<f2'"));
  EXPECT_THAT(fault(npy("'|b1'", "(2,)", std::string(2, 'a'))), HasSubstr("'|b1'"));
  EXPECT_THAT(fault(npy("[('a', '<f4'), ('b', '<i8')]", "(2,)", std::string(24, 'a'))),
              HasSubstr("found values of type [("));
}

TEST_F(NpyTest, FortranOrderIsRefused) {
  EXPECT_THAT(fault(npy("'<f4'", "(2, 2)", std::string(16, 'a'), 1, "True")),
              HasSubstr("numpy.ascontiguousarray"));
}

TEST_F(NpyTest, DamagedHeadersAreRefused) {
  EXPECT_THAT(fault("1,2\n3,4\n5,6\n"), HasSubstr("does not begin with \\x93NUMPY"));
  EXPECT_THAT(fault("\x93NUM"), HasSubstr("ends after 4 bytes"));
  EXPECT_THAT(fault(npy("'<f4'", "(2,)", "", 4)), HasSubstr("found .npy version 4"));
  EXPECT_THAT(fault(npy("'<f4'", "()", "abcd")), HasSubstr("found a single value"));
  EXPECT_THAT(fault(npy("'<f4'", "(2, x)", "abcd")), HasSubstr("expected whole numbers"));
  EXPECT_THAT(fault(npy("'<f4'", "(99999999999999, 99999999999999)", "abcd")),
              HasSubstr("the header is damaged"));
  EXPECT_THAT(fault(std::string("\x93NUMPY\x01\0\x02\0{}", 12)),
              HasSubstr("expected 'descr' in the .npy header"));
  EXPECT_THAT(fault(std::string("\x93NUMPY\x02\0\xFF\xFF\xFF\x7F", 12)),
              HasSubstr("found a .npy header of 2147483647 bytes"));
}

TEST_F(NpyTest, ATruncatedFileIsRefused) {
  const std::string whole = npy("'<f4'", "(2, 2)", bytes_of<float>({1, 2, 3, 4}));
  EXPECT_THAT(fault(whole.substr(0, whole.size() - 1)), HasSubstr("truncated"));
  EXPECT_THAT(fault(whole.substr(0, 40)), HasSubstr("in the middle of the .npy header"));
  EXPECT_THAT(fault(whole + "more"), HasSubstr("found more"));
}

TEST_F(NpyTest, CountsThatDifferAreRefused) {
  EXPECT_THAT(fault(npy("'<f4'", "(3,)", bytes_of<float>({1, 2, 3}))),
              AllOf(HasSubstr("x.npy has 3 rows"), HasSubstr("y.npy has 2")));
}

TEST_F(NpyTest, AnEmptyArrayIsRefused) {
  EXPECT_THAT(data_fault([&] { rows(npy("'<f4'", "(0, 2)", ""), npy("'<f4'", "(0,)", "")); }),
              HasSubstr("x.npy: found an array without values"));
  EXPECT_THAT(fault(npy("'<f4'", "(2, 0)", "")), HasSubstr("found an array without values"));
}

TEST_F(NpyTest, ValuesThatAreNoFiniteFloatsAreRefused) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  EXPECT_THAT(fault(npy("'<f8'", "(2, 2)", bytes_of<double>({1, 2, kNan, 4}))),
              HasSubstr("x.npy: row 1, value 0: found nan"));
  EXPECT_THAT(fault(npy("'<f8'", "(2,)", bytes_of<double>({1, 1e300}))),
              HasSubstr("x.npy: row 1, value 0: found 1e+300"));
}

TEST_F(NpyTest, AMissingFileIsNamed) {
  EXPECT_THAT(data_fault([] {
                make_source("npy", "inputs = \"/no/x.npy\"\ntargets = \"/no/y.npy\"")->schema();
              }),
              HasSubstr("/no/x.npy: cannot be opened: No such file or directory"));
}

TEST_F(NpyTest, ConfigFaultsAreFoundWithoutFiles) {
  EXPECT_THAT(config_faults("npy", ""),
              ElementsAre(HasSubstr("data.inputs"), HasSubstr("data.targets")));
  EXPECT_THAT(config_faults("npy", "inputs = \"x\"\ntargets = \"y\"\ntest_inputs = \"z\""),
              ElementsAre(HasSubstr("data.test_targets")));
}

}  // namespace
}  // namespace sheaf::worker
