#include "common/base/error.h"

namespace sheaf {

std::string_view to_string(Fault fault) {
  switch (fault) {
    case Fault::internal: return "internal error";
    case Fault::config: return "usage or config";
    case Fault::data: return "data";
    case Fault::network: return "peers or network lost";
    case Fault::checkpoint: return "no valid checkpoint";
    case Fault::diverged: return "diverged";
    case Fault::privacy: return "privacy budget spent";
    case Fault::auth: return "authentication refused";
    case Fault::preempted: return "preempted";
    case Fault::interrupted: return "interrupted";
  }
  return "unknown fault";
}

void check_failed(const char* condition, std::source_location where) {
  throw Error(Fault::internal,
              fmt::format("invariant broken: {} ({}:{}); please report this", condition,
                          where.file_name(), where.line()),
              where);
}

std::pair<Fault, std::string> describe(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Error& e) {
    return {e.fault(), e.message()};
  } catch (const std::bad_alloc&) {
    return {Fault::internal, "out of memory"};
  } catch (const std::exception& e) {
    return {Fault::internal, e.what()};
  }
}

}  // namespace sheaf
