// A small sound job for tests, as lines that a test can change.
#pragma once

#include <cstddef>
#include <string>
#include <utility>
#include <vector>

namespace sheaf::launcher {

inline std::vector<std::string> job_lines() {
  return {
      "[run]",                                       // 1
      "name = \"job\"",                              // 2
      "workers = 2",                                 // 3
      "servers = 1",                                 // 4
      "[data]",                                      // 5
      "kind = \"synthetic_linear\"",                 // 6
      "examples = 1000",                             // 7
      "slope = 3.0",                                 // 8
      "batch = 64",                                  // 9
      "[model]",                                     // 10
      "loss = \"mse\"",                              // 11
      "layers = [{ kind = \"dense\", units = 1 }]",  // 12
      "[optimizer]",                                 // 13
      "kind = \"sgd\"",                              // 14
      "rate = 0.1",                                  // 15
  };
}

// The job with line `number` (from 1) replaced; `text` may hold several lines, or none.
inline std::string job_with(std::size_t number = 0, const std::string& text = {}) {
  std::string job;
  std::size_t at = 0;
  for (const std::string& line : job_lines()) job += (++at == number ? text : line) + "\n";
  return job;
}

}  // namespace sheaf::launcher
