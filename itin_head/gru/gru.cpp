// The recurrence of a GRU over packed steps, forward and backward, for G directions side by side.
//
// The same formulas as `_Recurrence` in recurrence.py. What is gained: threads share out the texts of both directions and wait
// for each other only at the end, a cell reads and writes its numbers once, and W_hh is laid out once for the products
// of all steps. Loops are compiled for several processors, of which the best is chosen at run time, so that no flags for
// this machine's processor are needed. Nothing of PyTorch's is included: its headers alone take ten seconds to compile.

#include <cmath>
#include <memory>
#include <numeric>
#include <vector>

#include "products.hpp"

#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 12
#define EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && defined(__GNUC__)
#define EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EVERY_PROCESSOR
#endif

namespace {

// e^x to 2 units in the last place, in a form that compilers turn into vector instructions: x = k ln 2 + r.
INLINE float exponential(float x) {
  x = x > 88.f ? 88.f : x;
  x = x < -87.f ? -87.f : x;
  const float magic = 12582912.f;  // 1.5 * 2^23: adding and subtracting it rounds to an integer
  float k = (x * 1.44269504f + magic) - magic;
  float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.f;
  union {
    int32_t i;
    float f;
  } power;
  power.i = (static_cast<int32_t>(k) + 127) << 23;  // 2^k
  return p * power.f;
}
INLINE double exponential(double x) { return std::exp(x); }

template <typename T>
INLINE T sigmoid(T x) {
  return T(1) / (T(1) + exponential(-x));
}
INLINE float hyperbolic(float x) { return 2.f / (1.f + exponential(-2.f * x)) - 1.f; }
INLINE double hyperbolic(double x) { return std::tanh(x); }

// One text in one step. gates (3d): the input's share of the sums of r, z and n, then r, z and n themselves; s (3d): the
// state's share; bias (d): b_hn; q (d): what r is multiplied by; h (d): the new state.
template <typename T>
INLINE void cell(int64_t d, T* __restrict gates, const T* __restrict s, const T* __restrict bias,
                 const T* __restrict before, T* __restrict q, T* __restrict h) {
  for (int64_t i = 0; i < d; ++i) {
    T r = sigmoid(gates[i] + s[i]);
    T z = sigmoid(gates[d + i] + s[d + i]);
    T own = s[2 * d + i] + bias[i];
    T n = hyperbolic(gates[2 * d + i] + r * own);
    gates[i] = r;
    gates[d + i] = z;
    gates[2 * d + i] = n;
    q[i] = own;
    h[i] = n + z * (before[i] - n);
  }
}

// The way back: grad (d) of the state and carry (d), its gradient from the next step -> delta (3d) of the input's share,
// own (d) of q, carry (d) without W_hh's part; sums (4d) += delta and own.
template <typename T>
INLINE void cell_back(int64_t d, const T* __restrict grad, const T* __restrict gates, const T* __restrict q,
                      const T* __restrict before, T* __restrict delta, T* __restrict own, T* __restrict carry,
                      T* __restrict sums) {
  for (int64_t i = 0; i < d; ++i) {
    T r = gates[i], z = gates[d + i], n = gates[2 * d + i], g = grad[i] + carry[i];
    T a = g * (T(1) - z) * (T(1) - n * n);
    T dr = a * q[i] * r * (T(1) - r), dz = g * (before[i] - n) * z * (T(1) - z);
    delta[i] = dr;
    delta[d + i] = dz;
    delta[2 * d + i] = a;
    own[i] = a * r;
    carry[i] = g * z;
    sums[i] += dr;
    sums[d + i] += dz;
    sums[2 * d + i] += a;
    sums[3 * d + i] += a * r;
  }
}

#define FOR_EVERY_PROCESSOR(T, name)                                                                                   \
  EVERY_PROCESSOR void cell_##name(int64_t d, T* gates, const T* s, const T* bias, const T* before, T* q, T* h) {      \
    cell<T>(d, gates, s, bias, before, q, h);                                                                          \
  }                                                                                                                    \
  EVERY_PROCESSOR void back_##name(int64_t d, const T* grad, const T* gates, const T* q, const T* before, T* delta,    \
                                   T* own, T* carry, T* sums) {                                                        \
    cell_back<T>(d, grad, gates, q, before, delta, own, carry, sums);                                                  \
  }                                                                                                                    \
  void step(int64_t d, T* gates, const T* s, const T* bias, const T* before, T* q, T* h) {                             \
    cell_##name(d, gates, s, bias, before, q, h);                                                                      \
  }                                                                                                                    \
  void step_back(int64_t d, const T* grad, const T* gates, const T* q, const T* before, T* delta, T* own, T* carry,    \
                 T* sums) {                                                                                            \
    back_##name(d, grad, gates, q, before, delta, own, carry, sums);                                                   \
  }
FOR_EVERY_PROCESSOR(float, f)
FOR_EVERY_PROCESSOR(double, d)

// Texts do not touch each other in a recurrence. A slice of them is every S-th, so that each has long and short ones;
// each slice of each direction is computed from its first step to its last by one thread that waits for no other.
struct Slice {
  int64_t first, every;
  int64_t of(int64_t texts) const { return (texts - first + every - 1) / every; }
};

// Asks for numbers that the next cell reads, so that they arrive while this one is computed.
template <typename T>
INLINE void ahead(const T* numbers, int64_t count) {
  for (int64_t i = 0; i < count; i += 64 / sizeof(T)) __builtin_prefetch(numbers + i);
}

template <typename T>
void forward_slice(Slice slice, int64_t d, const T* W, const T* bias, const std::vector<int64_t>& sizes, T* h, T* gates,
                   T* q) {
  const int64_t most = sizes.empty() ? 0 : std::max<int64_t>(slice.of(sizes[0]), 0), far = slice.every * d;
  std::vector<T> sums(most * 3 * d, T(0)), nothing(d, T(0));
  const int64_t bytes = widest();
  int64_t at = slice.first, last = slice.first;
  for (size_t t = 0; t < sizes.size(); ++t) {
    const int64_t texts = slice.of(sizes[t]);
    if (texts <= 0) break;
    if (t > 0) product<T, false>(bytes, texts, 3 * d, d, h + last * d, far, W, d, sums.data(), 3 * d);
    for (int64_t i = 0; i < texts; ++i) {
      const int64_t row = at + i * slice.every;
      if (i + 1 < texts) ahead(gates + (row + slice.every) * 3 * d, 3 * d);
      const T* before = t > 0 ? h + last * d + i * far : nothing.data();
      step(d, gates + row * 3 * d, sums.data() + i * 3 * d, bias, before, q + row * d, h + row * d);
    }
    last = at;
    at += sizes[t];
  }
}

// delta (P, 3d) is that of the inputs' share, own (P, d) that of q, before (P, d) the states that the steps began with,
// sums (4d) what delta and own add up to.
template <typename T>
void backward_slice(Slice slice, int64_t d, const T* grad, const T* gates, const T* q, const T* h, const T* W,
                    const std::vector<int64_t>& sizes, T* delta, T* own, T* before, T* sums) {
  const int64_t most = sizes.empty() ? 0 : std::max<int64_t>(slice.of(sizes[0]), 0), far = slice.every;
  std::vector<T> carry(most * d, T(0)), nothing(d, T(0));
  const int64_t bytes = widest();
  int64_t at = std::accumulate(sizes.begin(), sizes.end(), slice.first);
  for (int64_t t = static_cast<int64_t>(sizes.size()) - 1; t >= 0; --t) {
    at -= sizes[t];
    const int64_t texts = slice.of(sizes[t]);
    if (texts <= 0) continue;
    for (int64_t i = 0; i < texts; ++i) {
      const int64_t row = at + i * far;
      if (i + 1 < texts) {
        ahead(gates + (row + far) * 3 * d, 3 * d);
        ahead(grad + (row + far) * d, d);
        ahead(q + (row + far) * d, d);
      }
      const T* began = t > 0 ? h + (row - sizes[t - 1]) * d : nothing.data();
      std::copy(began, began + d, before + row * d);
      step_back(d, grad + row * d, gates + row * 3 * d, q + row * d, began, delta + row * 3 * d, own + row * d,
                carry.data() + i * d, sums);
    }
    if (t > 0) {  // q's gradient is that of the new state's share of W_hh
      product<T, true>(bytes, texts, d, 2 * d, delta + at * 3 * d, far * 3 * d, W, 3 * d, carry.data(), d);
      product<T, true>(bytes, texts, d, d, own + at * d, far * d, W + 2 * d * columns<T>, 3 * d, carry.data(), d);
    }
  }
}

// Calls `work(i)` for i below `count`, in so many threads: PyTorch's own, where it has those of OpenMP.
template <typename Work>
void in_threads(int64_t threads, int64_t count, const Work& work) {
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
#endif
  for (int64_t i = 0; i < count; ++i) work(i);
}

// So many slices of each of G directions that every thread has one.
int64_t slices_of(int64_t threads, int64_t G, const std::vector<int64_t>& sizes) {
  const int64_t texts = sizes.empty() ? 0 : sizes[0];
  return std::max<int64_t>(1, std::min<int64_t>((threads + G - 1) / std::max<int64_t>(G, 1), texts / 4));
}

// The panels of G matrices (K, N), whose rows and columns are so many elements apart.
template <typename T>
std::vector<std::unique_ptr<T[]>> pack_all(int64_t threads, int64_t G, int64_t K, int64_t N, const T* const* B,
                                           int64_t row, int64_t column) {
  const int64_t panels = panels_of<T>(N);
  std::vector<std::unique_ptr<T[]>> packed(G);
  for (auto& one : packed) one.reset(new T[panels * K * columns<T>]);
  in_threads(threads, G * panels, [&](int64_t i) {
    pack<T>(i % panels, K, N, B[i / panels], row, column, packed[i / panels].get());
  });
  return packed;
}

template <typename T>
void forward(int64_t threads, int64_t G, int64_t d, const std::vector<int64_t>& sizes, const T* const* W_hh,
             const T* const* b_hn, T* const* h, T* const* gates, T* const* q) {
  const auto W = pack_all<T>(threads, G, d, 3 * d, W_hh, 1, d);  // transposed
  const int64_t S = slices_of(threads, G, sizes);
  in_threads(threads, G * S, [&](int64_t i) {
    const int64_t g = i / S;
    forward_slice<T>({i % S, S}, d, W[g].get(), b_hn[g], sizes, h[g], gates[g], q[g]);
  });
}

template <typename T>
void backward(int64_t threads, int64_t G, int64_t d, const std::vector<int64_t>& sizes,
              const T* const* W_hh, const T* const* grad, const T* const* gates, const T* const* q, const T* const* h,
              T* const* delta, T* const* own, T* const* before, T* const* sums) {
  const auto W = pack_all<T>(threads, G, 3 * d, d, W_hh, d, 1);
  const int64_t S = slices_of(threads, G, sizes);
  std::vector<T> parts(G * S * 4 * d, T(0));
  in_threads(threads, G * S, [&](int64_t i) {
    const int64_t g = i / S;
    backward_slice<T>({i % S, S}, d, grad[g], gates[g], q[g], h[g], W[g].get(), sizes, delta[g], own[g], before[g],
                      parts.data() + i * 4 * d);
  });
  for (int64_t i = 0; i < G * S; ++i)
    for (int64_t k = 0; k < 4 * d; ++k) sums[i / S][k] += parts[i * 4 * d + k];
}

}  // namespace

// What Python calls, in float and double. sizes: texts in each of `steps` steps, P in all; each array is given as G
// pointers, to a contiguous array for each direction.
#define FOR_TYPE(T, name)                                                                                              \
  /* W_hh (3d, d), b_hn (d), gates (P, 3d): the inputs' share of the sums -> h (P, d), gates: r, z and n, q (P, d) */  \
  void gru_forward_##name(int64_t threads, int64_t G, int64_t d, const int64_t* sizes, int64_t steps,                  \
                          const T* const* W_hh, const T* const* b_hn, T* const* h, T* const* gates, T* const* q) {     \
    forward<T>(threads, G, d, {sizes, sizes + steps}, W_hh, b_hn, h, gates, q);                                        \
  }                                                                                                                    \
  /* W_hh, grad (P, d), gates, q, h -> delta (P, 3d) of the inputs' share, own (P, d) of q, before (P, d): the states  \
     that the steps began with, sums (4d) += the sums of delta and own */                                              \
  void gru_backward_##name(int64_t threads, int64_t G, int64_t d, const int64_t* sizes, int64_t steps,                 \
                           const T* const* W_hh, const T* const* grad, const T* const* gates, const T* const* q,       \
                           const T* const* h, T* const* delta, T* const* own, T* const* before, T* const* sums) {      \
    backward<T>(threads, G, d, {sizes, sizes + steps}, W_hh, grad, gates, q, h, delta, own, before, sums);          \
  }                                                                                                                    \
  /* C (M, N) += A (M, K) B (K, N) with vectors of so many bytes, for tests of each */                                 \
  void add_product_##name(int64_t bytes, int64_t M, int64_t N, int64_t K, const T* A, const T* B, T* C) {              \
    const auto packed = pack_all<T>(1, 1, K, N, &B, N, 1);                                                             \
    product<T, true>(bytes, M, N, K, A, K, packed[0].get(), K, C, N);                                               \
  }

extern "C" {
int64_t widest_vector() { return widest(); }
FOR_TYPE(float, f)
FOR_TYPE(double, d)
}
