// The IDX format: yann.lecun.com/exdb/mnist. All files are made here, byte by byte.
#include <gmock/gmock.h>

#include "tests/worker/data/support.h"

namespace sheaf::worker {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string header(std::uint32_t magic, const std::vector<std::uint32_t>& sizes) {
  std::string bytes = big_endian(magic);
  for (const std::uint32_t size : sizes) bytes += big_endian(size);
  return bytes;
}

// `count` images of 2 x 3: image i has bytes 10 i, 10 i + 1, …
std::string images(std::uint32_t count) {
  std::string bytes = header(0x803, {count, 2, 3});
  for (std::uint32_t i = 0; i < count; ++i) {
    for (std::uint32_t k = 0; k < 6; ++k) bytes += static_cast<char>(10 * i + k);
  }
  return bytes;
}

// Labels 0, 1, 2, 0, 1, …
std::string labels(std::uint32_t count) {
  std::string bytes = header(0x801, {count});
  for (std::uint32_t i = 0; i < count; ++i) bytes += static_cast<char>(i % 3);
  return bytes;
}

class IdxTest : public testing::Test {
 protected:
  ConfiguredSource open() const { return make_source("idx", "path = \"" + folder_.path() + "\""); }
  // What reading everything throws.
  std::string fault() const {
    return data_fault([this] {
      const auto source = open();
      source->rows(SourcePart::train);
      read_all(*source);
    });
  }
  void write_train(std::string_view image_bytes, std::string_view label_bytes) const {
    folder_.write("train-images-idx3-ubyte", image_bytes);
    folder_.write("train-labels-idx1-ubyte", label_bytes);
  }

  TempFolder folder_;
};

TEST_F(IdxTest, PlainFilesAreRead) {
  write_train(images(4), labels(4));
  const auto source = open();
  EXPECT_EQ(source->schema(), (Schema{6, 1, true}));
  EXPECT_EQ(source->rows(SourcePart::train), 4U);
  EXPECT_EQ(source->rows(SourcePart::test), 0U);
  const Examples examples = read_all(*source);
  EXPECT_THAT(
      rows_of(examples),
      ElementsAre(ElementsAre(0, 1, 2, 3, 4, 5, 0), ElementsAre(10, 11, 12, 13, 14, 15, 1),
                  ElementsAre(20, 21, 22, 23, 24, 25, 2), ElementsAre(30, 31, 32, 33, 34, 35, 0)));
  EXPECT_EQ(source->locate(SourcePart::train, 2), folder_ / "train-labels-idx1-ubyte: example 2");
  EXPECT_EQ(source->default_normalisation(), Normalisation::unit);
}

TEST_F(IdxTest, GzipGivesTheSameExamples) {
  write_train(images(25), labels(25));
  const auto plain = rows_of(read_all(*open()));
  const TempFolder packed;
  packed.write_gzip("train-images-idx3-ubyte.gz", images(25));
  packed.write_gzip("train-labels-idx1-ubyte.gz", labels(25));
  const auto source = make_source("idx", "path = \"" + packed.path() + "\"");
  EXPECT_EQ(rows_of(read_all(*source)), plain);
}

TEST_F(IdxTest, ATestSetInTheFolderIsFound) {
  write_train(images(4), labels(4));
  folder_.write("t10k-images-idx3-ubyte", images(2));
  folder_.write_gzip("t10k-labels-idx1-ubyte.gz", labels(2));
  const auto source = open();
  EXPECT_EQ(source->rows(SourcePart::test), 2U);
  EXPECT_EQ(read_all(*source, SourcePart::test).size(), 2U);
  EXPECT_THAT(
      source->files(),
      ElementsAre(folder_ / "train-images-idx3-ubyte", folder_ / "train-labels-idx1-ubyte",
                  folder_ / "t10k-images-idx3-ubyte", folder_ / "t10k-labels-idx1-ubyte.gz"));
}

TEST_F(IdxTest, FilesMayBeNamed) {
  const std::string toml = "train_images = \"" + folder_.write("x", images(3)) +
                           "\"\ntrain_labels = \"" + folder_.write("y", labels(3)) + "\"\n";
  const auto train_only = make_source("idx", toml);
  EXPECT_EQ(train_only->rows(SourcePart::train), 3U);
  EXPECT_EQ(train_only->rows(SourcePart::test), 0U);
  const auto both =
      make_source("idx", toml + "test_images = \"" + folder_.write("tx", images(2)) +
                             "\"\ntest_labels = \"" + folder_.write("ty", labels(2)) + "\"\n");
  EXPECT_EQ(both->rows(SourcePart::test), 2U);
}

TEST_F(IdxTest, ConfigFaultsAreFoundWithoutFiles) {
  EXPECT_THAT(config_faults("idx", ""), ElementsAre(HasSubstr("data.path")));
  EXPECT_THAT(config_faults("idx", "train_images = \"x\""),
              ElementsAre(HasSubstr("data.train_labels")));
  EXPECT_THAT(config_faults("idx", "path = \"p\"\ntest_labels = \"x\""),
              ElementsAre(HasSubstr("data.test_images")));
  EXPECT_THAT(config_faults("idx", "path = \"p\""), IsEmpty());
}

TEST_F(IdxTest, AMissingFileIsNamed) {
  EXPECT_THAT(fault(), AllOf(HasSubstr(folder_.path()), HasSubstr("train-images-idx3-ubyte"),
                             HasSubstr("data.path")));
  folder_.write("train-images-idx3-ubyte", images(1));
  EXPECT_THAT(fault(), HasSubstr("found no file train-labels-idx1-ubyte"));
  EXPECT_THAT(data_fault([] {
                make_source("idx", "train_images = \"/no/x\"\ntrain_labels = \"/no/y\"")->schema();
              }),
              HasSubstr("/no/x: cannot be opened: No such file or directory"));
}

TEST_F(IdxTest, HalfATestSetIsRefused) {
  write_train(images(2), labels(2));
  folder_.write("t10k-images-idx3-ubyte", images(2));
  EXPECT_THAT(data_fault([this] { open()->rows(SourcePart::test); }),
              HasSubstr("found no file t10k-labels-idx1-ubyte"));
}

TEST_F(IdxTest, AWrongMagicNumberIsRefused) {
  write_train(labels(6), labels(6));
  EXPECT_THAT(fault(), HasSubstr("train-images-idx3-ubyte: found magic number 0x00000801, "
                                 "expected 0x00000803"));
  write_train(images(6), images(6));
  EXPECT_THAT(fault(), HasSubstr("train-labels-idx1-ubyte: found magic number 0x00000803, "
                                 "expected 0x00000801"));
  write_train(header(0xD03, {1, 2, 3}), labels(1));  // 0x0D: floats
  EXPECT_THAT(fault(), HasSubstr("0x00000d03"));
}

TEST_F(IdxTest, CountsThatDifferAreRefused) {
  write_train(images(5), labels(4));
  EXPECT_THAT(fault(), AllOf(HasSubstr("has 5 images"), HasSubstr("has 4 labels")));
}

TEST_F(IdxTest, ATruncatedFileIsRefused) {
  write_train(images(5).substr(0, 16 + 6 * 5 - 1), labels(5));
  EXPECT_THAT(fault(), AllOf(HasSubstr("train-images-idx3-ubyte"), HasSubstr("truncated")));
  write_train(images(5).substr(0, 7), labels(5));
  EXPECT_THAT(fault(), HasSubstr("ends after 7 bytes in the middle of the IDX header"));
  write_train("", labels(5));
  EXPECT_THAT(fault(), HasSubstr("ends after 0 bytes"));
}

TEST_F(IdxTest, ATruncatedGzipIsRefusedWhereverItIsCut) {
  folder_.write("train-labels-idx1-ubyte", labels(200));
  const std::string whole = gzip(images(200));
  // In the gzip header, in the data, and in the checksum behind it.
  for (const std::size_t size : {std::size_t{12}, whole.size() / 2, whole.size() - 3}) {
    folder_.write("train-images-idx3-ubyte.gz", whole.substr(0, size));
    EXPECT_THAT(fault(), AllOf(HasSubstr("train-images-idx3-ubyte.gz"), HasSubstr("truncated")))
        << size;
  }
}

TEST_F(IdxTest, DamagedGzipIsRefused) {
  folder_.write("train-labels-idx1-ubyte", labels(200));
  std::string damaged = gzip(images(200));
  damaged[damaged.size() - 6] = static_cast<char>(damaged[damaged.size() - 6] ^ 1);  // checksum
  folder_.write("train-images-idx3-ubyte.gz", damaged);
  EXPECT_THAT(fault(), AllOf(HasSubstr("cannot be read"), HasSubstr("incorrect data check")));
}

TEST_F(IdxTest, MoreThanTheHeaderSaysIsRefused) {
  write_train(images(5) + "more", labels(5));
  EXPECT_THAT(fault(), HasSubstr("found more"));
}

TEST_F(IdxTest, EmptyDataIsRefused) {
  write_train(images(0), labels(0));
  EXPECT_THAT(fault(), HasSubstr("found no examples"));
}

TEST_F(IdxTest, AHeaderThatLiesAboutItsSizeAllocatesNothing) {
  write_train(header(0x803, {60000, 65535, 65535}), labels(5));
  EXPECT_THAT(fault(), HasSubstr("the file has 16"));
  write_train(header(0x804, {0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF}), labels(5));
  EXPECT_THAT(fault(), HasSubstr("the header is damaged"));
  write_train(header(0x803, {5, 0, 3}), labels(5));
  EXPECT_THAT(fault(), HasSubstr("found 0 values along dimension 2"));
}

TEST_F(IdxTest, TestImagesOfAnotherShapeAreRefused) {
  write_train(images(5), labels(5));
  folder_.write("t10k-images-idx3-ubyte", header(0x803, {1, 2, 2}) + "abcd");
  folder_.write("t10k-labels-idx1-ubyte", labels(1));
  EXPECT_THAT(data_fault([this] { open()->rows(SourcePart::test); }),
              HasSubstr("found 4 values per image, expected 6"));
}

TEST_F(IdxTest, AFolderInPlaceOfAFileIsRefused) {
  std::filesystem::create_directory(folder_ / "train-images-idx3-ubyte");
  folder_.write("train-labels-idx1-ubyte", labels(5));
  EXPECT_THAT(fault(), HasSubstr("expected a file, found a folder"));
}

}  // namespace
}  // namespace sheaf::worker
