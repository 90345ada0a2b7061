// Products of a few rows with one matrix, again and again: C (M, N) = A (M, K) B (K, N), or C += A B. A library packs B
// anew in every call, which costs as much as the product where M is small; here it is packed once, in panels of 128
// bytes a row, zeros after column N: (panels, K, columns of a panel).
#pragma once

#include <algorithm>
#include <cstdint>

#define INLINE inline __attribute__((always_inline))

namespace {

template <typename T>
constexpr int64_t columns = 128 / sizeof(T);

template <typename T>
int64_t panels_of(int64_t N) { return (N + columns<T> - 1) / columns<T>; }

// Panel number p of B (K, N), whose rows and columns are so many elements apart.
template <typename T>
void pack(int64_t p, int64_t K, int64_t N, const T* B, int64_t row, int64_t column, T* to) {
  const int64_t first = p * columns<T>, here = std::min<int64_t>(columns<T>, N - first);
  to += p * K * columns<T>;
  for (int64_t k = 0; k < K; ++k)
    for (int64_t n = 0; n < columns<T>; ++n) *to++ = n < here ? B[k * row + (first + n) * column] : T(0);
}

constexpr int64_t AHEAD = 4096;  // bytes of a panel that are asked for before they are read

// R rows of A with two vectors of columns of a panel. A's rows are `lda` apart, C's `ldc`; `wide` columns are kept.
template <typename T, int BYTES, int R, bool ADD>
INLINE void tile(int64_t K, const T* A, int64_t lda, const T* __restrict panel, T* C, int64_t ldc, int64_t wide) {
  constexpr int64_t lanes = BYTES / sizeof(T);
  typedef T Vector __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
  Vector left[R], right[R];
  for (int r = 0; r < R; ++r) left[r] = right[r] = Vector{};  // for `= {}` GCC fills memory, not registers
  for (int64_t k = 0; k < K; ++k) {
    const Vector* row = reinterpret_cast<const Vector*>(panel + k * columns<T>);
    const Vector first = row[0], second = row[1];
    __builtin_prefetch(reinterpret_cast<const char*>(row) + AHEAD);  // a large matrix comes from the last cache
    __builtin_prefetch(reinterpret_cast<const char*>(row) + AHEAD + 64);
    for (int r = 0; r < R; ++r) {
      left[r] += first * A[r * lda + k];
      right[r] += second * A[r * lda + k];
    }
  }
  for (int r = 0; r < R; ++r) {
    T* row = C + r * ldc;
    if (wide >= 2 * lanes) {
      Vector* whole = reinterpret_cast<Vector*>(row);
      whole[0] = ADD ? whole[0] + left[r] : left[r];
      whole[1] = ADD ? whole[1] + right[r] : right[r];
      continue;
    }
    T sums[2 * lanes];
    *reinterpret_cast<Vector*>(sums) = left[r];
    *reinterpret_cast<Vector*>(sums + lanes) = right[r];
    for (int64_t i = 0; i < 2 * lanes && i < wide; ++i) row[i] = ADD ? row[i] + sums[i] : sums[i];
  }
}

// As many rows as fit, R at a time, then fewer at a time.
template <typename T, int BYTES, int R, bool ADD>
INLINE void tiles(int64_t M, int64_t K, const T* A, int64_t lda, const T* panel, T* C, int64_t ldc, int64_t wide) {
  for (; M >= R; M -= R, A += R * lda, C += R * ldc) tile<T, BYTES, R, ADD>(K, A, lda, panel, C, ldc, wide);
  if constexpr (R > 1) {
    constexpr int fewer = R > 8 ? 8 : R > 4 ? 4 : R / 2;
    tiles<T, BYTES, fewer, ADD>(M, K, A, lda, panel, C, ldc, wide);
  }
}

template <typename T, int BYTES, int R, bool ADD>
INLINE void product_of(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, int64_t rows, T* C,
                       int64_t ldc) {
  constexpr int64_t step = 2 * BYTES / sizeof(T);
  for (int64_t n = 0; n < N; n += step) {
    const T* panel = B + n / columns<T> * columns<T> * rows + n % columns<T>;
    tiles<T, BYTES, R, ADD>(M, K, A, lda, panel, C + n, ldc, N - n);
  }
}

template <typename T, bool ADD>
void product_16(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, int64_t rows, T* C,
                int64_t ldc) {
  product_of<T, 16, 4, ADD>(M, N, K, A, lda, B, rows, C, ldc);
}
#if defined(__x86_64__) && defined(__GNUC__)
template <typename T, bool ADD>
__attribute__((target("avx2,fma"))) void product_32(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda,
                                                    const T* B, int64_t rows, T* C, int64_t ldc) {
  product_of<T, 32, 6, ADD>(M, N, K, A, lda, B, rows, C, ldc);
}
template <typename T, bool ADD>
__attribute__((target("avx512f"))) void product_64(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda,
                                                   const T* B, int64_t rows, T* C, int64_t ldc) {
  product_of<T, 64, 12, ADD>(M, N, K, A, lda, B, rows, C, ldc);
}
#endif

// Bytes of the widest vectors that this processor has.
int64_t widest() {
#if defined(__x86_64__) && defined(__GNUC__)
  if (__builtin_cpu_supports("avx512f")) return 64;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return 32;
#endif
  return 16;
}

// A (M, K), rows `lda` apart; B packed: K rows from its first on of panels of `rows` rows; C (M, N), rows `ldc` apart.
template <typename T, bool ADD>
void product(int64_t bytes, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, int64_t rows, T* C,
             int64_t ldc) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (bytes == 64) return product_64<T, ADD>(M, N, K, A, lda, B, rows, C, ldc);
  if (bytes == 32) return product_32<T, ADD>(M, N, K, A, lda, B, rows, C, ldc);
#endif
  product_16<T, ADD>(M, N, K, A, lda, B, rows, C, ldc);
}

}  // namespace
