// Ranks that are wrong or missing.
#include <fstream>
#include <iterator>

#include "tests/harness/places.h"
#include "tests/process/fault_rows.h"

namespace sheaf::harness {
namespace {

namespace fs = std::filesystem;

constexpr const char* kShortStart = "beat = \"200ms\"\ndead = \"2s\"\nstart = \"2s\"\n";

// control.json as it will be, with another key. Its port and address come from the real one, so a
// copy is made by the seat itself when the job has started.
fs::path wrong_key_program(const Job& job) {
  const fs::path forged = job / "forged.json";
  const fs::path file =
      job.write("sheaf-wrong-key",
                "#!/bin/sh\n"
                "sed 's/\"key\": \"....\"*/\"key\": \"0123/' '" +
                    (job.run() / "control.json").string() + "' > '" + forged.string() + "'\n" +
                    "exec '" + test_program() + "' \"$@\"\n");
  fs::permissions(file, fs::perms::owner_all);
  return file;
}

}  // namespace

std::vector<Fault> start_faults() {
  return {
      {.name = "RankWithTheWrongKey",
       .prepare =
           [](Job& job) {
             job.tables["timeouts"] = kShortStart;
             job.seat("worker:1").program = wrong_key_program(job);
             job.seat("worker:1").control = job / "forged.json";
           },
       .exit = 4,
       .says = {"worker 1 (rank 3) has not arrived within 2.0 s", "wrong job key"},
       .blame = Blame{{3}, "starting"},
       .detection = Limit(2000)},
      {.name = "RankWithTheWrongKeyWhereAllIsEncrypted",
       .prepare =
           [](Job& job) {
             job.tables["timeouts"] = kShortStart;
             job.tables["network"] = "encryption = \"tls\"\n";
             job.seat("worker:1").program = wrong_key_program(job);
             job.seat("worker:1").control = job / "forged.json";
           },
       .exit = 4,
       .says = {"worker 1 (rank 3) has not arrived within 2.0 s", "it has another job key"},
       .blame = Blame{{3}, "starting"},
       .detection = Limit(2000)},
      {.name = "RankThatEncryptsAlone",
       .prepare =
           [](Job& job) {
             job.tables["timeouts"] = kShortStart;
             job.seat("worker:1").overrides = {"network.encryption=tls"};
           },
       .exit = 4,
       .says = {"worker 1 (rank 3) has not arrived within 2.0 s",
                "came encrypted, expected without encryption"},
       .blame = Blame{{3}, "starting"},
       .detection = Limit(2000)},
      {.name = "RankOfAnotherBuild",
       .prepare = [](Job& job) { job.seat("worker:0").program = other_build(job); },
       .exit = 8,
       .says = {"worker 0 (rank 2), starting", "other build of the program"},
       .blame = Blame{{2}, "starting"}},
      {.name = "RankWithAnotherConfig",
       .prepare = [](Job& job) { job.seat("server:1").overrides = {"optimizer.rate=0.5"}; },
       .exit = 8,
       .says = {"server 1 (rank 1), starting", "other config"},
       .blame = Blame{{1}, "starting"}},
      {.name = "RankThatNeverArrives",
       .prepare =
           [](Job& job) {
             job.tables["timeouts"] = kShortStart;
             job.remove_seat("server:1");
           },
       .exit = 4,
       .says = {"server 1 (rank 1) has not arrived within 2.0 s"},
       .blame = Blame{{1}, "starting"},
       .detection = Limit(2000)},
      {.name = "RankThatEndsAtOnce",
       .prepare =
           [](Job& job) {
             job.tables["timeouts"] = kShortStart;
             job.seat("worker:1").program = "/bin/false";
           },
       .exit = 4,
       .says = {"worker 1 (rank 3) has not arrived within 2.0 s"},
       .blame = Blame{{3}, "starting"},
       .detection = Limit(2000)},
      {.name = "ProgramIsNotThere",
       .prepare =
           [](Job& job) {
             for (Seat& seat : job.seats) seat.program = "/nowhere/sheaf";
           },
       .exit = 4,
       .says = {"mpirun ended (exit code 0) before the job did", "/nowhere/sheaf: not found"},
       .blame = Blame{{kNoRank}, "starting"}},
  };
}

}  // namespace sheaf::harness
