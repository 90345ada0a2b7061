// The recurrence of a GRU over packed steps, forward and backward, for G directions side by side.
//
// The same formulas as `_Recurrence` in recurrence.py. What is gained: threads share out the texts of both directions and wait
// for each other only at the end, a cell reads and writes its numbers once, and W_hh is laid out once for the products
// of all steps. Loops are compiled for several processors, of which the best is chosen at run time, so that no flags for
// this machine's processor are needed. Nothing of PyTorch's is included: its headers alone take ten seconds to compile.

#include <cmath>
#include <memory>
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

// One text in one step. in, s (3d): the input's and the state's share; bias (d): b_hn; gates (3d): r, z, n; q, h (d).
template <typename T>
INLINE void cell(int64_t d, const T* __restrict in, const T* __restrict s, const T* __restrict bias,
                 const T* __restrict before, T* __restrict gates, T* __restrict q, T* __restrict h) {
  for (int64_t i = 0; i < d; ++i) {
    T r = sigmoid(in[i] + s[i]);
    T z = sigmoid(in[d + i] + s[d + i]);
    T own = s[2 * d + i] + bias[i];
    T n = hyperbolic(in[2 * d + i] + r * own);
    gates[i] = r;
    gates[d + i] = z;
    gates[2 * d + i] = n;
    q[i] = own;
    h[i] = n + z * (before[i] - n);
  }
}

// The way back: grad (d) of the state -> delta (3d) of s, last (d) of the new state's input, carry (d).
template <typename T>
INLINE void cell_back(int64_t d, const T* __restrict grad, const T* __restrict gates, const T* __restrict q,
                      const T* __restrict before, T* __restrict delta, T* __restrict last, T* __restrict carry) {
  for (int64_t i = 0; i < d; ++i) {
    T r = gates[i], z = gates[d + i], n = gates[2 * d + i], g = grad[i];
    T a = g * (T(1) - z) * (T(1) - n * n);
    delta[i] = a * q[i] * r * (T(1) - r);
    delta[d + i] = g * (before[i] - n) * z * (T(1) - z);
    delta[2 * d + i] = a * r;
    last[i] = a;
    carry[i] = g * z;
  }
}

EVERY_PROCESSOR void cell_f(int64_t d, const float* in, const float* s, const float* bias, const float* before,
                            float* gates, float* q, float* h) {
  cell<float>(d, in, s, bias, before, gates, q, h);
}
EVERY_PROCESSOR void cell_d(int64_t d, const double* in, const double* s, const double* bias, const double* before,
                            double* gates, double* q, double* h) {
  cell<double>(d, in, s, bias, before, gates, q, h);
}
EVERY_PROCESSOR void back_f(int64_t d, const float* grad, const float* gates, const float* q, const float* before,
                            float* delta, float* last, float* carry) {
  cell_back<float>(d, grad, gates, q, before, delta, last, carry);
}
EVERY_PROCESSOR void back_d(int64_t d, const double* grad, const double* gates, const double* q, const double* before,
                            double* delta, double* last, double* carry) {
  cell_back<double>(d, grad, gates, q, before, delta, last, carry);
}

void step(int64_t d, const float* a, const float* b, const float* c, const float* e, float* f, float* g, float* h) {
  cell_f(d, a, b, c, e, f, g, h);
}
void step(int64_t d, const double* a, const double* b, const double* c, const double* e, double* f, double* g,
          double* h) {
  cell_d(d, a, b, c, e, f, g, h);
}
void step_back(int64_t d, const float* a, const float* b, const float* c, const float* e, float* f, float* g,
               float* h) {
  back_f(d, a, b, c, e, f, g, h);
}
void step_back(int64_t d, const double* a, const double* b, const double* c, const double* e, double* f, double* g,
               double* h) {
  back_d(d, a, b, c, e, f, g, h);
}

// Texts do not touch each other in a recurrence. A slice of them is every S-th, so that each has long and short ones;
// each slice of each direction is computed from its first step to its last by one thread that waits for no other.
struct Slice {
  int64_t first, every;
  int64_t of(int64_t texts) const { return (texts - first + every - 1) / every; }
};

template <typename T>
void forward_slice(Slice slice, int64_t d, const T* inputs, const T* W, const T* bias,
                   const std::vector<int64_t>& sizes, T* h, T* gates, T* q) {
  const int64_t most = sizes.empty() ? 0 : std::max<int64_t>(slice.of(sizes[0]), 0), far = slice.every * d;
  std::vector<T> sums(most * 3 * d, T(0)), nothing(d, T(0));
  const int64_t bytes = widest();
  int64_t at = slice.first, last = slice.first;
  for (size_t t = 0; t < sizes.size(); ++t) {
    const int64_t texts = slice.of(sizes[t]);
    if (texts <= 0) break;
    if (t > 0) product<T, false>(bytes, texts, 3 * d, d, h + last * d, far, W, sums.data(), 3 * d);
    for (int64_t i = 0; i < texts; ++i) {
      const int64_t row = at + i * slice.every;
      const T* before = t > 0 ? h + last * d + i * far : nothing.data();
      step(d, inputs + row * 3 * d, sums.data() + i * 3 * d, bias, before, gates + row * 3 * d, q + row * d, h + row * d);
    }
    last = at;
    at += sizes[t];
  }
}

// grad (P, d) is changed; delta (P, 3d) is that of s, last (P, d) the new state's input's, before (P, d) the states that
// the steps began with.
template <typename T>
void backward_slice(Slice slice, int64_t d, T* grad, const T* gates, const T* q, const T* h, const T* W,
                    const std::vector<int64_t>& sizes, int64_t P, T* delta, T* last, T* before) {
  const int64_t most = sizes.empty() ? 0 : std::max<int64_t>(slice.of(sizes[0]), 0), far = slice.every * 3 * d;
  std::vector<T> carry(most * d, T(0)), nothing(d, T(0));
  const int64_t bytes = widest();
  int64_t at = P + slice.first, later = 0;  // later: texts in the step after this one, which have a carry
  for (int64_t t = static_cast<int64_t>(sizes.size()) - 1; t >= 0; --t) {
    at -= sizes[t];
    const int64_t texts = slice.of(sizes[t]);
    if (texts <= 0) continue;
    for (int64_t i = 0; i < texts; ++i) {
      const int64_t row = at + i * slice.every;
      const T* began = t > 0 ? h + (row - sizes[t - 1]) * d : nothing.data();
      std::copy(began, began + d, before + row * d);
      if (i < later)
        for (int64_t k = 0; k < d; ++k) grad[row * d + k] += carry[i * d + k];
      step_back(d, grad + row * d, gates + row * 3 * d, q + row * d, began, delta + row * 3 * d, last + row * d,
                carry.data() + i * d);
    }
    if (t > 0) product<T, true>(bytes, texts, d, 3 * d, delta + at * 3 * d, far, W, carry.data(), d);
    later = texts;
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

// Calls `work(direction, slice)` for all of them.
template <typename Work>
void in_slices(int64_t threads, int64_t G, const std::vector<int64_t>& sizes, const Work& work) {
  const int64_t texts = sizes.empty() ? 0 : sizes[0];
  const int64_t wanted = (threads + G - 1) / std::max<int64_t>(G, 1);
  const int64_t S = std::max<int64_t>(1, std::min<int64_t>(wanted, texts / 4));
  in_threads(threads, G * S, [&](int64_t i) { work(i / S, Slice{i % S, S}); });
}

// All panels of G matrices (K, N); each begins `matrix` elements after the one before.
template <typename T>
std::unique_ptr<T[]> pack_all(int64_t threads, int64_t G, int64_t K, int64_t N, const T* B, int64_t matrix, int64_t row,
                              int64_t column) {
  const int64_t panels = panels_of<T>(N);
  std::unique_ptr<T[]> packed(new T[G * panels * K * columns<T>]);
  in_threads(threads, G * panels, [&](int64_t i) {
    const int64_t g = i / panels;
    pack<T>(i % panels, K, N, B + g * matrix, row, column, packed.get() + g * panels * K * columns<T>);
  });
  return packed;
}

template <typename T>
void forward(int64_t threads, int64_t G, int64_t P, int64_t d, const std::vector<int64_t>& sizes, const T* inputs,
             const T* W_hh, const T* b_hn, T* h, T* gates, T* q) {
  const auto W = pack_all<T>(threads, G, d, 3 * d, W_hh, 3 * d * d, 1, d);  // transposed
  const int64_t one = panels_of<T>(3 * d) * d * columns<T>;
  in_slices(threads, G, sizes, [&](int64_t g, Slice slice) {
    const int64_t at = g * P * d;
    forward_slice<T>(slice, d, inputs + 3 * at, W.get() + g * one, b_hn + g * d, sizes, h + at, gates + 3 * at, q + at);
  });
}

template <typename T>
void backward(int64_t threads, int64_t G, int64_t P, int64_t d, const std::vector<int64_t>& sizes, T* grad,
              const T* gates, const T* q, const T* h, const T* W_hh, T* delta, T* last, T* before) {
  const auto W = pack_all<T>(threads, G, 3 * d, d, W_hh, 3 * d * d, d, 1);
  const int64_t one = panels_of<T>(d) * 3 * d * columns<T>;
  in_slices(threads, G, sizes, [&](int64_t g, Slice slice) {
    const int64_t at = g * P * d;
    backward_slice<T>(slice, d, grad + at, gates + 3 * at, q + at, h + at, W.get() + g * one, sizes, P, delta + 3 * at,
                      last + at, before + at);
  });
}

}  // namespace

// What Python calls, in float and double. sizes: texts in each of `steps` steps; all arrays are contiguous.
#define FOR_TYPE(T, name)                                                                                              \
  /* inputs (G, P, 3d), W_hh (G, 3d, d), b_hn (G, d) -> h (G, P, d), gates (G, P, 3d), q (G, P, d) */                  \
  void gru_forward_##name(int64_t threads, int64_t G, int64_t P, int64_t d, const int64_t* sizes, int64_t steps,       \
                          const T* inputs, const T* W_hh, const T* b_hn, T* h, T* gates, T* q) {                       \
    forward<T>(threads, G, P, d, {sizes, sizes + steps}, inputs, W_hh, b_hn, h, gates, q);                             \
  }                                                                                                                    \
  /* grad, q, h (G, P, d), gates (G, P, 3d), W_hh (G, 3d, d) -> delta (G, P, 3d), last and before (G, P, d); */        \
  /* grad is changed */                                                                                                \
  void gru_backward_##name(int64_t threads, int64_t G, int64_t P, int64_t d, const int64_t* sizes, int64_t steps,      \
                           T* grad, const T* gates, const T* q, const T* h, const T* W_hh, T* delta, T* last,          \
                           T* before) {                                                                                \
    backward<T>(threads, G, P, d, {sizes, sizes + steps}, grad, gates, q, h, W_hh, delta, last, before);               \
  }                                                                                                                    \
  /* C (M, N) += A (M, K) B (K, N) with vectors of so many bytes, for tests of each */                                 \
  void add_product_##name(int64_t bytes, int64_t M, int64_t N, int64_t K, const T* A, const T* B, T* C) {              \
    const auto packed = pack_all<T>(1, 1, K, N, B, 0, N, 1);                                                           \
    product<T, true>(bytes, M, N, K, A, K, packed.get(), C, N);                                                        \
  }

extern "C" {
int64_t widest_vector() { return widest(); }
FOR_TYPE(float, f)
FOR_TYPE(double, d)
}
