// Preloaded into a program: its calendar time is SHEAF_TEST_SKEW seconds ahead of the machine's.
// What measures durations stays as it is.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>

extern "C" int clock_gettime(clockid_t clock, timespec* time) noexcept {
  const long failed = ::syscall(SYS_clock_gettime, clock, time);
  const char* skew = std::getenv("SHEAF_TEST_SKEW");
  if (failed == 0 && clock == CLOCK_REALTIME && skew != nullptr) time->tv_sec += std::atoi(skew);
  return static_cast<int>(failed);
}
