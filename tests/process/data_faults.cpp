#include "tests/process/fault_rows.h"

namespace sheaf::harness {
namespace {

const std::vector<int> kWorkers{2, 3};
// Headers are read before anything is started; contents, by each worker, its own part.
const Blame kLoading{kWorkers, "loading data"};

std::string big_endian(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift & 0xFFU);
  return bytes;
}

std::string images(std::uint32_t count, std::uint32_t magic = 0x803) {
  return big_endian(magic) + big_endian(count) + big_endian(2) + big_endian(2) +
         std::string(std::size_t{count} * 4, '\x40');
}

std::string labels(std::uint32_t count, char label = 1) {
  return big_endian(0x801) + big_endian(count) + std::string(count, label);
}

// RFC 1952 and 1951: a member with one stored block that promises `bytes` and holds half of them.
std::string half_gzip(const std::string& bytes) {
  const auto size = static_cast<std::uint16_t>(bytes.size());
  const auto inverse = static_cast<std::uint16_t>(~size);
  std::string text("\x1f\x8b\x08\0\0\0\0\0\0\x03\x01", 11);
  for (const std::uint16_t word : {size, inverse}) {
    text += static_cast<char>(word & 0xFFU);
    text += static_cast<char>(word >> 8);
  }
  return text + bytes.substr(0, bytes.size() / 2);
}

void use_idx(Job& job, const std::string& train_images, const std::string& train_labels,
             const std::string& images_name = "train-images-idx3-ubyte") {
  job.write(images_name, train_images);
  job.write("train-labels-idx1-ubyte", train_labels);
  job.write("t10k-images-idx3-ubyte", images(10));
  job.write("t10k-labels-idx1-ubyte", labels(10));
  job.tables["data"] = "kind = \"idx\"\npath = \"" + job.folder().string() + "\"\nbatch = 10\n";
  job.tables["model"] =
      "loss = \"softmax_cross_entropy\"\nlayers = [{ kind = \"dense\", units = 3 }]\n";
}

void use_csv(Job& job, const std::string& text) {
  const std::string file = job.write("data.csv", text);
  job.tables["data"] = "kind = \"csv\"\npath = \"" + file + "\"\nbatch = 2\n";
  job.tables["model"] = "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 1 }]\n";
}

}  // namespace

std::vector<Fault> data_faults() {
  return {
      {.name = "FileIsMissing",
       .prepare =
           [](Job& job) {
             use_idx(job, images(50), labels(50));
             std::filesystem::remove(job / "train-labels-idx1-ubyte");
           },
       .exit = 3,
       .says = {"found no file train-labels-idx1-ubyte", "set data.path to the folder"}},
      {.name = "GzipIsTruncated",
       .prepare =
           [](Job& job) {
             use_idx(job, half_gzip(images(50)), labels(50), "train-images-idx3-ubyte.gz");
           },
       .exit = 3,
       .says = {"train-images-idx3-ubyte.gz", "compressed data ends too early", "copy it again"},
       .blame = kLoading},
      {.name = "WrongIdxMagic",
       .prepare = [](Job& job) { use_idx(job, images(50, 0x12345678), labels(50)); },
       .exit = 3,
       .says = {"train-images-idx3-ubyte", "magic"}},
      {.name = "ImagesAndLabelsDiffer",
       .prepare = [](Job& job) { use_idx(job, images(50), labels(49)); },
       .exit = 3,
       .says = {"train-labels-idx1-ubyte", "49", "50"}},
      {.name = "LabelIsOutOfRange",
       .prepare = [](Job& job) { use_idx(job, images(50), labels(50, 7)); },
       .exit = 3,
       .says = {"train-labels-idx1-ubyte", "7", "0..2"},
       .blame = kLoading},
      {.name = "NotANumberInCsv",
       .prepare = [](Job& job) { use_csv(job, "x,y\n1,2\n3,nan\n5,6\n7,8\n"); },
       .exit = 3,
       .says = {"data.csv:3:2", "nan"},
       .blame = kLoading},
      {.name = "TextInCsv",
       .prepare = [](Job& job) { use_csv(job, "x,y\n1,2\n3,4\nfive,6\n7,8\n"); },
       .exit = 3,
       .says = {"data.csv:4:1", "five"},
       .blame = kLoading},
      {.name = "NoData",
       .prepare = [](Job& job) { use_csv(job, ""); },
       .exit = 3,
       .says = {"data.csv", "empty"}},
      {.name = "NoRows",
       .prepare = [](Job& job) { use_idx(job, images(0), labels(0)); },
       .exit = 3,
       .says = {"train-images-idx3-ubyte"}},
      // Two images differ in size: what only the files can tell is the fault of the data.
      {.name = "TestImagesHaveAnotherSize",
       .prepare =
           [](Job& job) {
             use_idx(job, images(50), labels(50));
             job.write("t10k-images-idx3-ubyte", big_endian(0x803) + big_endian(4) + big_endian(2) +
                                                     big_endian(5) + std::string(40, '\x40'));
             job.write("t10k-labels-idx1-ubyte", labels(4));
           },
       .exit = 3,
       .says = {"t10k-images-idx3-ubyte: found 10 values per image", "expected 4"},
       .blame = kLoading},
  };
}

}  // namespace sheaf::harness
