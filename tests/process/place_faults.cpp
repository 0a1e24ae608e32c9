// The run directory, the disk, the ports and the interface.
#include <arpa/inet.h>
#include <sys/mount.h>
#include <sys/socket.h>

#include <fstream>

#include "tests/process/fault_rows.h"

namespace sheaf::harness {
namespace {

namespace fs = std::filesystem;

// The run directory is a file system of its own, of a few pages.
void use_small_disk(Job& job, const char* bytes, unsigned long flags = 0) {
  fs::create_directories(job.run());
  const std::string options = std::string("size=") + bytes;
  if (::mount("tmpfs", job.run().c_str(), "tmpfs", flags, options.c_str()) != 0) {
    job.impossible = "only root may mount a file system";
    return;
  }
  const std::string path = job.run();
  job.held.push_back({nullptr, [path](void*) { ::umount2(path.c_str(), MNT_DETACH); }});
}

// Listens on a port of loopback that was free, and returns its number.
unsigned occupy_a_port(Job& job) {
  const auto socket =
      std::make_shared<Descriptor>(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  auto* name = static_cast<sockaddr*>(static_cast<void*>(&at));
  ::bind(socket->get(), name, size);
  ::listen(socket->get(), 1);
  ::getsockname(socket->get(), name, &size);
  job.held.push_back(socket);
  return ntohs(at.sin_port);
}

}  // namespace

std::vector<Fault> place_faults() {
  return {
      {.name = "RunDirectoryIsNotEmpty",
       .prepare =
           [](Job& job) {
             fs::create_directories(job.run());
             std::ofstream(job.run() / "notes.txt") << "mine";
           },
       .exit = 2,
       .says = {"run.dir:", "exists and is not empty", "choose another"}},
      {.name = "RunDirectoryLiesBelowAFile",
       .prepare = [](Job& job) { job.set_run(job.write("file", "") / "run"); },
       .exit = 2,
       .says = {"run.dir:", "cannot be created: Not a directory"}},
      {.name = "RunDirectoryIsReadOnly",
       .prepare = [](Job& job) { use_small_disk(job, "64k", MS_RDONLY); },
       .exit = 2,
       .says = {"run.dir:", "Read-only file system"}},
      {.name = "DiskIsFullWhenTheModelIsWritten",
       .prepare =
           [](Job& job) {
             use_small_disk(job, "128k");
             // 2 layers of 256: a model of 297 kB, and little else to be written.
             job.tables["model"] =
                 "loss = \"mse\"\nlayers = [{ kind = \"dense\", units = 256 },\n"
                 "  { kind = \"dense\", units = 256 }, { kind = \"dense\", units = 1 }]\n";
             job.tables["optimizer"] = "kind = \"sgd\"\nrate = 1e-5\n";
             job.tables["run"] += "steps = 20\n";
           },
       .exit = 3,
       .says = {"model.safetensors: cannot be written", "No space left on device", "needs ",
                "bytes are free"},
       .blame = Blame{{kNoRank}, "writing the model"}},
      {.name = "AllPortsAreTaken",
       .prepare =
           [](Job& job) {
             job.tables["network"] = "ports = \"" + std::to_string(occupy_a_port(job)) + "\"\n";
           },
       .exit = 4,
       .says = {"cannot listen on 127.0.0.1 port", "Address already in use",
                "change network.ports"},
       .blame = Blame{{kNoRank}, "starting"}},
      {.name = "PortsAreTooFew",  // the coordinator has one, the servers find none
       .prepare =
           [](Job& job) {
             // A port that was free a moment ago; one in use would be the row above.
             Job other;
             const unsigned port = occupy_a_port(other);
             job.tables["network"] = "ports = \"" + std::to_string(port) + "\"\n";
           },
       .exit = 4,
       .says = {"cannot listen on 127.0.0.1 port", "server "},
       .blame = Blame{{0, 1}, "binding its ports"}},
      {.name = "InterfaceDoesNotExist",
       .prepare = [](Job& job) { job.tables["network"] = "interface = \"ib7\"\n"; },
       .exit = 2,
       .says = {"network.interface: found \"ib7\"", "lo (127.0.0.1)"}},
  };
}

}  // namespace sheaf::harness
