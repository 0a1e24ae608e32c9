// Values of a chunk as a matrix M, and the product of two thin factors that comes near it: one step
// of the power method, P = M V made orthonormal, then Q = M' P, so that P Q' = P P' M, the part of
// M in the span of P (PowerSGD: Vogels, Karimireddy, Jaggi, NeurIPS 2019).
//
// A factor is `rank` runs of floats, one for each of its vectors: a left one has as many floats in
// a run as M has rows, a right one as many as it has columns. Sums go in a fixed order: a product
// of two rows in 16 lanes, value i in lane i % 16, and the lanes one after the other; a sum of rows
// from the first to the last. Sizes are those of the matrix unless said. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/random.h"

namespace sheaf::compression {

// How the part of a tensor that lies in a chunk is read: its values one after the other from column
// `first` of the first row on. What the first and the last row lack is 0.
struct Matrix {
  std::size_t size = 0;     // values
  std::size_t columns = 1;  // of the tensor
  std::size_t first = 0;    // below columns
  std::size_t begin = 0;    // where it begins in its chunk
  std::size_t rows() const { return size == 0 ? 0 : (first + size + columns - 1) / columns; }
  std::size_t end() const { return begin + size; }
  // Floats of both factors.
  std::size_t factor_floats(std::size_t rank) const { return rank * (rows() + columns); }
  bool operator==(const Matrix&) const = default;
};
// Of values whose tensor is not known: as many rows as columns, or one less.
Matrix square_matrix(std::size_t size);

// In these two `values` are those of the matrix.
// left = M right
void times_right(const Matrix& matrix, std::span<const float> values, std::span<const float> right,
                 std::span<float> left);
// right = M' left
void times_left(const Matrix& matrix, std::span<const float> values, std::span<const float> left,
                std::span<float> right);

// Makes the vectors of a factor orthonormal, from the first to the last (Gram and Schmidt, twice,
// in doubles). What is 0, or nothing beside those before it, becomes 0. REQUIRES: finite values.
void orthonormalise(std::span<float> factor, std::size_t rank);
// Vectors that are 0 are drawn anew, normal values from the stream: a product would never bring
// them back.
void draw_missing(std::span<float> factor, std::size_t rank, Stream& stream);

// The encoding of a chunk that has `matrices`, ascending, by the left factor of each, orthonormal
// vectors: the bytes of compressor powersgd in FORMAT.md, factors_bytes() of them. `left` holds all
// left factors, one after the other; `right` is left with M' left of each, cut to what no product
// makes infinite. Values outside of all matrices go as floats.
std::size_t factors_bytes(std::span<const Matrix> matrices, std::size_t rank, std::size_t values);
void encode_factors(std::span<const Matrix> matrices, std::span<const float> values,
                    std::size_t rank, std::span<const float> left, std::span<float> right,
                    std::span<std::byte> bytes);
// sum += left right' of each, and the floats, of such bytes. Refuses others with Fault::network,
// and adds nothing.
void decode_add_factors(std::span<const std::byte> bytes, std::size_t rank, std::span<float> sum);

}  // namespace sheaf::compression
