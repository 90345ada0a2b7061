// The recurrence of a GRU over packed steps, forward and backward, for G directions side by side.
//
// The same formulas as `_Recurrence` in gru.py. What is gained: threads share out the texts of both directions and wait
// for each other only at the end, a cell reads and writes its numbers once, and W_hh is laid out once for the products
// of all steps. Loops are compiled for several processors, of which the best is chosen at run time, so that no flags for
// this machine's processor are needed.

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <tuple>
#include <vector>

#if defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && defined(__GNUC__) && __GNUC__ >= 12
#define EVERY_PROCESSOR __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#elif defined(__x86_64__) && defined(__linux__) && !defined(__clang__) && defined(__GNUC__)
#define EVERY_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EVERY_PROCESSOR
#endif
#define INLINE inline __attribute__((always_inline))

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

// Products of a few rows with one matrix, again and again: C (M, N) = A (M, K) B (K, N), or C += A B. A library packs B
// anew in every call, which costs as much as the product where M is small; here it is packed once, in panels of 128
// bytes a row, zeros after column N: (panels, K, columns of a panel).
template <typename T>
constexpr int64_t columns = 128 / sizeof(T);

at::Tensor pack(const at::Tensor& B, int64_t width) {
  const int64_t K = B.size(0), panels = (B.size(1) + width - 1) / width;
  at::Tensor whole = at::constant_pad_nd(B, {0, panels * width - B.size(1)});
  return whole.reshape({K, panels, width}).permute({1, 0, 2}).contiguous();
}

// R rows of A with two vectors of columns of a panel. A's rows are `lda` apart, C's `ldc`; `wide` columns are kept.
template <typename T, int BYTES, int R, bool ADD>
INLINE void tile(int64_t K, const T* A, int64_t lda, const T* __restrict panel, T* C, int64_t ldc, int64_t wide) {
  constexpr int64_t lanes = BYTES / sizeof(T);
  typedef T Vector __attribute__((vector_size(BYTES), aligned(sizeof(T)), may_alias));
  Vector left[R] = {}, right[R] = {};
  for (int64_t k = 0; k < K; ++k) {
    const Vector* row = reinterpret_cast<const Vector*>(panel + k * columns<T>);
    const Vector first = row[0], second = row[1];
    for (int r = 0; r < R; ++r) {
      left[r] += first * A[r * lda + k];
      right[r] += second * A[r * lda + k];
    }
  }
  for (int r = 0; r < R; ++r) {
    T* row = C + r * ldc;
    T sums[2 * lanes];
    T* to = wide >= 2 * lanes && !ADD ? row : sums;
    *reinterpret_cast<Vector*>(to) = left[r];
    *reinterpret_cast<Vector*>(to + lanes) = right[r];
    if (to == row) continue;
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
INLINE void product_of(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, T* C, int64_t ldc) {
  constexpr int64_t step = 2 * BYTES / sizeof(T);
  for (int64_t n = 0; n < N; n += step) {
    const T* panel = B + n / columns<T> * columns<T> * K + n % columns<T>;
    tiles<T, BYTES, R, ADD>(M, K, A, lda, panel, C + n, ldc, N - n);
  }
}

template <typename T, bool ADD>
void product_16(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, T* C, int64_t ldc) {
  product_of<T, 16, 4, ADD>(M, N, K, A, lda, B, C, ldc);
}
#if defined(__x86_64__) && defined(__GNUC__)
template <typename T, bool ADD>
__attribute__((target("avx2,fma"))) void product_32(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda,
                                                    const T* B, T* C, int64_t ldc) {
  product_of<T, 32, 6, ADD>(M, N, K, A, lda, B, C, ldc);
}
template <typename T, bool ADD>
__attribute__((target("avx512f"))) void product_64(int64_t M, int64_t N, int64_t K, const T* A, int64_t lda,
                                                   const T* B, T* C, int64_t ldc) {
  product_of<T, 64, 12, ADD>(M, N, K, A, lda, B, C, ldc);
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

// A (M, K), rows `lda` apart; B packed; C (M, N), rows `ldc` apart.
template <typename T, bool ADD>
void product(int64_t bytes, int64_t M, int64_t N, int64_t K, const T* A, int64_t lda, const T* B, T* C, int64_t ldc) {
#if defined(__x86_64__) && defined(__GNUC__)
  if (bytes == 64) return product_64<T, ADD>(M, N, K, A, lda, B, C, ldc);
  if (bytes == 32) return product_32<T, ADD>(M, N, K, A, lda, B, C, ldc);
#endif
  product_16<T, ADD>(M, N, K, A, lda, B, C, ldc);
}

// C + A B with vectors of so many bytes, for tests of each: C (M, N), A (M, K), B (K, N).
at::Tensor add_product(const at::Tensor& C, const at::Tensor& A, const at::Tensor& B, int64_t bytes) {
  TORCH_CHECK(bytes == 16 || bytes == 32 || bytes == 64, "bytes: expected 16, 32 or 64, got ", bytes);
  TORCH_CHECK(bytes <= widest(), "bytes: expected at most ", widest(), " on this processor, got ", bytes);
  at::Tensor out = C.clone(at::MemoryFormat::Contiguous), rows = A.contiguous();
  AT_DISPATCH_FLOATING_TYPES(A.scalar_type(), "add_product", [&] {
    const at::Tensor packed = pack(B, columns<scalar_t>);
    product<scalar_t, true>(bytes, A.size(0), B.size(1), A.size(1), rows.const_data_ptr<scalar_t>(), A.size(1),
                            packed.const_data_ptr<scalar_t>(), out.mutable_data_ptr<scalar_t>(), B.size(1));
  });
  return out;
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

// Calls `work(direction, slice)` for all of them, in as many threads as there are.
template <typename Work>
void in_slices(int64_t G, const std::vector<int64_t>& sizes, const Work& work) {
  const int64_t texts = sizes.empty() ? 0 : sizes[0];
  const int64_t wanted = (at::get_num_threads() + G - 1) / std::max<int64_t>(G, 1);
  const int64_t S = std::max<int64_t>(1, std::min<int64_t>(wanted, texts / 4));
  at::parallel_for(0, G * S, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) work(i / S, Slice{i % S, S});
  });
}

// inputs (G, P, 3d), W_hh (G, 3d, d), b_hn (G, d) -> h (G, P, d), gates (G, P, 3d), q (G, P, d)
std::tuple<at::Tensor, at::Tensor, at::Tensor> gru_forward(const at::Tensor& inputs_, const at::Tensor& W_hh,
                                                           const at::Tensor& b_hn_, at::IntArrayRef sizes_) {
  at::NoGradGuard no_grad;
  const at::Tensor inputs = inputs_.contiguous(), b_hn = b_hn_.contiguous();
  const std::vector<int64_t> sizes(sizes_.begin(), sizes_.end());
  const int64_t G = inputs.size(0), P = inputs.size(1), d = W_hh.size(2);
  at::Tensor h = at::empty({G, P, d}, inputs.options()), gates = at::empty_like(inputs);
  at::Tensor q = at::empty({G, P, d}, inputs.options());
  AT_DISPATCH_FLOATING_TYPES(inputs.scalar_type(), "gru_forward", [&] {
    std::vector<at::Tensor> W;
    for (int64_t g = 0; g < G; ++g) W.push_back(pack(W_hh[g].t(), columns<scalar_t>));
    const scalar_t *in = inputs.const_data_ptr<scalar_t>(), *bias = b_hn.const_data_ptr<scalar_t>();
    scalar_t *ph = h.mutable_data_ptr<scalar_t>(), *pg = gates.mutable_data_ptr<scalar_t>();
    scalar_t* pq = q.mutable_data_ptr<scalar_t>();
    in_slices(G, sizes, [&](int64_t g, Slice slice) {
      forward_slice<scalar_t>(slice, d, in + g * P * 3 * d, W[g].const_data_ptr<scalar_t>(), bias + g * d, sizes,
                              ph + g * P * d, pg + g * P * 3 * d, pq + g * P * d);
    });
  });
  return {h, gates, q};
}

// grad, q, h (G, P, d), gates (G, P, 3d), W_hh (G, 3d, d) -> gradients of inputs (G, P, 3d), W_hh and b_hn (G, d)
std::tuple<at::Tensor, at::Tensor, at::Tensor> gru_backward(const at::Tensor& grad_, const at::Tensor& gates,
                                                            const at::Tensor& q, const at::Tensor& h,
                                                            const at::Tensor& W_hh, at::IntArrayRef sizes_) {
  at::NoGradGuard no_grad;
  const at::Tensor grad = grad_.clone(at::MemoryFormat::Contiguous);
  const std::vector<int64_t> sizes(sizes_.begin(), sizes_.end());
  const int64_t G = h.size(0), P = h.size(1), d = h.size(2);
  at::Tensor delta = at::empty_like(gates), last = at::empty_like(h), before = at::empty_like(h);
  AT_DISPATCH_FLOATING_TYPES(h.scalar_type(), "gru_backward", [&] {
    std::vector<at::Tensor> W;
    for (int64_t g = 0; g < G; ++g) W.push_back(pack(W_hh[g], columns<scalar_t>));
    const scalar_t *pg = gates.const_data_ptr<scalar_t>(), *pq = q.const_data_ptr<scalar_t>();
    const scalar_t* ph = h.const_data_ptr<scalar_t>();
    scalar_t *pgrad = grad.mutable_data_ptr<scalar_t>(), *pd = delta.mutable_data_ptr<scalar_t>();
    scalar_t *pl = last.mutable_data_ptr<scalar_t>(), *pb = before.mutable_data_ptr<scalar_t>();
    in_slices(G, sizes, [&](int64_t g, Slice slice) {
      const int64_t one = g * P * d, three = 3 * one;
      backward_slice<scalar_t>(slice, d, pgrad + one, pg + three, pq + one, ph + one,
                               W[g].const_data_ptr<scalar_t>(), sizes, P, pd + three, pl + one, pb + one);
    });
  });
  const at::Tensor grad_W = at::bmm(delta.transpose(1, 2), before);
  at::Tensor own = delta.narrow(2, 2 * d, d);
  const at::Tensor grad_b = own.sum(1);
  own.copy_(last);
  return {delta, grad_W, grad_b};
}

}  // namespace

TORCH_LIBRARY(itin, library) {
  library.def("gru_forward(Tensor inputs, Tensor W_hh, Tensor b_hn, int[] sizes) -> (Tensor, Tensor, Tensor)");
  library.def(
      "gru_backward(Tensor grad, Tensor gates, Tensor q, Tensor h, Tensor W_hh, int[] sizes) -> (Tensor, Tensor, "
      "Tensor)");
  library.def("add_product(Tensor C, Tensor A, Tensor B, int bytes) -> Tensor");
  library.def("widest() -> int", widest);
}

TORCH_LIBRARY_IMPL(itin, CPU, library) {
  library.impl("gru_forward", gru_forward);
  library.impl("gru_backward", gru_backward);
  library.impl("add_product", add_product);
}
