#include "tests/cluster/serial_powersgd.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "common/base/random.h"

namespace sheaf::threads {

SerialPowerSgd::SerialPowerSgd(const params::Layout& layout, const params::ChunkMap& chunks,
                               std::size_t rank, std::size_t least, std::uint64_t seed, bool lags)
    : rank_(rank), seed_(seed), lags_(lags) {
  for (std::size_t c = 0; c < chunks.size(); ++c) {
    for (const params::Tensor& t : layout.tensors()) {
      const std::size_t begin = std::max(chunks[c].offset, t.offset);
      const std::size_t end = std::min(chunks[c].end(), t.offset + t.size);
      if (begin >= end || t.shape.size() < 2 || t.size < least) continue;
      Table table{c, begin, end - begin, t.size / t.shape[0], 0, 0, {}, {}};
      table.first = (begin - t.offset) % table.columns;
      table.rows = (table.first + table.size - 1) / table.columns + 1;
      if (2 * rank * (table.rows + table.columns) >= table.size) continue;
      table.right.assign(rank, std::vector<float>(table.columns));
      table.left.assign(rank, std::vector<float>(table.rows));
      tables_.push_back(table);
    }
  }
}

bool SerialPowerSgd::has(std::size_t chunk) const {
  return std::ranges::find(tables_, chunk, &Table::chunk) != tables_.end();
}

// Calls body(place, row, column) for each value, in order.
template <typename Body>
void SerialPowerSgd::each(const Table& t, Body body) {
  for (std::size_t i = 0; i < t.size; ++i) {
    body(t.offset + i, (t.first + i) / t.columns, (t.first + i) % t.columns);
  }
}

SerialPowerSgd::Vectors SerialPowerSgd::orthonormal(const Vectors& vectors) {
  std::vector<std::vector<double>> done;
  Vectors result;
  for (const auto& vector : vectors) {
    std::vector<double> v(vector.begin(), vector.end());
    const auto along = [&](const std::vector<double>& other) {
      double sum = 0;
      for (std::size_t i = 0; i < v.size(); ++i) sum += other[i] * v[i];
      return sum;
    };
    const double before = std::sqrt(along(v));
    for (int twice = 0; twice < 2; ++twice) {
      for (const auto& other : done) {
        const double a = along(other);
        for (std::size_t i = 0; i < v.size(); ++i) v[i] -= a * other[i];
      }
    }
    const double after = std::sqrt(along(v));
    for (double& x : v) x = after > before / 1048576 ? x / after : 0;
    done.push_back(v);
    result.emplace_back(v.begin(), v.end());
  }
  return result;
}

void SerialPowerSgd::average(const std::vector<Sum>& of_partitions, std::uint64_t examples,
                             const TreeSum& sum, Vectors& into) const {
  const Sum all = sum(of_partitions);
  const auto scale = static_cast<float>(1 / static_cast<double>(examples));
  std::size_t i = 0;
  for (auto& vector : into) {
    for (float& x : vector) {
      const float mean = scale * (*all)[i++];
      x = lags_ ? x + (mean - x) : mean;
    }
  }
}

void SerialPowerSgd::take(Step step, std::uint64_t examples, const TreeSum& sum,
                          std::vector<Sum>& wanted) {
  std::map<std::size_t, Stream> streams;  // one for each chunk
  for (Table& t : tables_) {
    Vectors v = t.right;
    Stream& stream =
        streams.try_emplace(t.chunk, seed_, Purpose::selection, step, 0, t.chunk).first->second;
    for (auto& vector : v) {
      if (std::ranges::count(vector, 0.0F) != static_cast<std::ptrdiff_t>(vector.size())) continue;
      for (float& x : vector) x = static_cast<float>(stream.normal());
    }
    v = orthonormal(v);

    // M V, a row's products in 16 lanes from the first value of the row that there is.
    std::vector<Sum> lefts;
    for (const Sum& m : wanted) {
      lefts.emplace_back();
      if (!m) continue;
      lefts.back().emplace(rank_ * t.rows);
      for (std::size_t k = 0; k < rank_; ++k) {
        std::vector<std::vector<float>> lanes(t.rows, std::vector<float>(16));
        each(t, [&](std::size_t at, std::size_t row, std::size_t column) {
          const std::size_t begin = row == 0 ? t.first : 0;
          lanes[row][(column - begin) % 16] += (*m)[at] * v[k][column];
        });
        for (std::size_t row = 0; row < t.rows; ++row) {
          for (const float lane : lanes[row]) (*lefts.back())[k * t.rows + row] += lane;
        }
      }
    }
    average(lefts, examples, sum, t.left);
    const Vectors p = orthonormal(t.left);

    std::vector<Sum> rights;
    for (Sum& m : wanted) {
      rights.emplace_back();
      if (!m) continue;
      rights.back().emplace(rank_ * t.columns);
      std::vector<float>& q = *rights.back();
      for (std::size_t k = 0; k < rank_; ++k) {
        each(t, [&](std::size_t at, std::size_t row, std::size_t column) {
          q[k * t.columns + column] += p[k][row] * (*m)[at];
        });
      }
      each(t, [&](std::size_t at, std::size_t row, std::size_t column) {
        float value = 0;
        for (std::size_t k = 0; k < rank_; ++k) value += p[k][row] * q[k * t.columns + column];
        (*m)[at] = 0.0F + value;
      });
    }
    average(rights, examples, sum, t.right);
  }
}

}  // namespace sheaf::threads
