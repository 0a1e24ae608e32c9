#include "launcher/rank/mpi_session.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "common/base/error.h"

namespace sheaf::launcher {
namespace {

constexpr int kTag = 7301;
constexpr std::size_t kTextBytes = 4096;  // every message has this size: nobody probes for lengths

std::string padded(const std::string& text) {
  check(text.size() < kTextBytes, "a bootstrap text fits its message");
  std::string bytes = text;
  bytes.resize(kTextBytes, '\0');
  return bytes;
}

std::string unpadded(const std::string& bytes) { return std::string(bytes.c_str()); }

// Tests the request until it is done. Polling, because MPI_Wait never returns if the peer is dead.
bool done_within(MPI_Request& request, std::chrono::steady_clock::time_point deadline) {
  int done = 0;
  while (true) {
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    if (done != 0) return true;
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace

MpiSession::MpiSession() {
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
    fail(Fault::network, "MPI_Init failed; is this process started by mpirun?");
  }
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
}

MpiSession::~MpiSession() { finalize(); }

std::string MpiSession::library() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  MPI_Get_library_version(text, &length);
  const std::string whole(text, static_cast<std::size_t>(length));
  return whole.substr(0, whole.find(','));
}

std::vector<std::string> MpiSession::gather(const std::string& mine, Duration limit) {
  const auto deadline = std::chrono::steady_clock::now() + limit;
  std::string bytes = padded(mine);
  constexpr int count = static_cast<int>(kTextBytes);
  if (rank_ != 0) {
    MPI_Request request{};
    MPI_Isend(bytes.data(), count, MPI_CHAR, 0, kTag, MPI_COMM_WORLD, &request);
    if (!done_within(request, deadline)) {
      fail(Fault::network, "rank 0 took nothing over MPI within {:.1f} s", seconds(limit));
    }
    return {};
  }
  std::vector<std::string> texts(static_cast<std::size_t>(size_), std::string(kTextBytes, '\0'));
  std::vector<MPI_Request> requests(static_cast<std::size_t>(size_));
  texts[0] = bytes;
  for (int r = 1; r < size_; ++r) {
    const auto i = static_cast<std::size_t>(r);
    MPI_Irecv(texts[i].data(), count, MPI_CHAR, r, kTag, MPI_COMM_WORLD, &requests[i]);
  }
  std::string missing;
  for (int r = 1; r < size_; ++r) {
    if (done_within(requests[static_cast<std::size_t>(r)], deadline)) continue;
    missing += fmt::format("{}{}", missing.empty() ? "" : ", ", r);
  }
  if (!missing.empty()) {
    fail(Fault::network, "ranks {} sent nothing over MPI within {:.1f} s", missing, seconds(limit));
  }
  for (std::string& text : texts) text = unpadded(text);
  return texts;
}

std::string MpiSession::broadcast(const std::string& text, Duration limit) {
  std::string bytes = padded(rank_ == 0 ? text : "");
  MPI_Request request{};
  MPI_Ibcast(bytes.data(), static_cast<int>(kTextBytes), MPI_CHAR, 0, MPI_COMM_WORLD, &request);
  if (!done_within(request, std::chrono::steady_clock::now() + limit)) {
    fail(Fault::network, "rank 0 sent nothing over MPI within {:.1f} s", seconds(limit));
  }
  return unpadded(bytes);
}

double MpiSession::allreduce_ms(std::size_t floats, int repeat) const {
  std::vector<float> mine(floats);
  std::vector<float> sum(floats);
  std::vector<double> times;
  for (int i = 0; i <= repeat; ++i) {
    std::fill(mine.begin(), mine.end(), static_cast<float>(i + rank_));
    MPI_Barrier(MPI_COMM_WORLD);
    const double begin = MPI_Wtime();
    MPI_Allreduce(mine.data(), sum.data(), static_cast<int>(floats), MPI_FLOAT, MPI_SUM,
                  MPI_COMM_WORLD);
    const double taken = MPI_Wtime() - begin;
    double slowest = 0;
    MPI_Reduce(&taken, &slowest, 1, MPI_DOUBLE, MPI_MAX, 0, MPI_COMM_WORLD);
    if (i > 0) times.push_back(1e3 * slowest);  // the first one makes buffers
  }
  std::nth_element(times.begin(), times.begin() + repeat / 2, times.end());
  return times[static_cast<std::size_t>(repeat / 2)];
}

void MpiSession::finalize() {
  if (!std::exchange(open_, false)) return;
  MPI_Finalize();
}

}  // namespace sheaf::launcher
