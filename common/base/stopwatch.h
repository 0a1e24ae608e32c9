// Time as two clocks see it. Thread-safe.
#pragma once

namespace sheaf {

// Seconds on the wall's clock, and on that of the calling thread alone.
struct Elapsed {
  double wall = 0;
  double processor = 0;
  // What the thread was busy for. The wall's clock counts what others did on its core, too, and a
  // processor's clock may be coarse; neither counts less than the work.
  double busy() const { return wall < processor ? wall : processor; }
};

inline Elapsed operator+(const Elapsed& a, const Elapsed& b) {
  return {a.wall + b.wall, a.processor + b.processor};
}
inline Elapsed operator-(const Elapsed& a, const Elapsed& b) {
  return {a.wall - b.wall, a.processor - b.processor};
}

// What both clocks say now, since some moment that does not change.
Elapsed clocks();

template <typename Body>
Elapsed time_of(Body body) {
  const Elapsed begin = clocks();
  body();
  return clocks() - begin;
}

}  // namespace sheaf
