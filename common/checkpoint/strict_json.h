// JSON from files that may be damaged or made to harm: nested no deeper than its format needs, no
// name twice in an object, no key that is not known. The objects allocate a small multiple of the
// text. Pure functions; everything that is refused is a std::invalid_argument that says where.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <string_view>

namespace sheaf::checkpoint {

// `where` begins every refusal: "the header". `max_depth` is that of the innermost value, where the
// outermost has 0.
nlohmann::json parse_strict_json(std::string_view text, std::string_view where, int max_depth);

// Text as JSON writes it, with its quotes.
inline std::string quoted(const std::string& text) { return nlohmann::json(text).dump(); }

// The fields of one object, each taken once by the name that its format gives it.
// Borrows the object.
class Fields {
 public:
  // `where` begins every refusal: "files[2]".
  Fields(const nlohmann::json& object, std::string where);

  const nlohmann::json& list(const char* key);
  const nlohmann::json& object(const char* key);
  std::string text(const char* key);
  std::uint64_t number(const char* key, std::uint64_t most);
  float real(const char* key);  // one that a float holds exactly
  double wide_real(const char* key);
  bool flag(const char* key);               // true, or not there
  std::uint32_t checksum(const char* key);  // 8 hexadecimal digits in lower case
  // Refuses what was not taken.
  void done() const;

 private:
  const nlohmann::json& take(const char* key);

  const nlohmann::json& object_;
  std::string where_;
  std::set<std::string, std::less<>> taken_;
};

}  // namespace sheaf::checkpoint
