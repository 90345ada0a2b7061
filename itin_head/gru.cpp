// The recurrence of a GRU over packed steps, forward and backward, for G directions side by side.
//
// The same formulas as `_Recurrence` in gru.py. What is gained: each direction runs on a thread of its own, without
// waiting for the other within a step, and a cell reads and writes its numbers once. Matrix products are ATen's.
// The cell's loops are compiled for several processors, of which the best is chosen when the library is loaded, so that
// no flags for this machine's processor are needed.

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

template <typename T>
void forward_one(const at::Tensor& inputs, const at::Tensor& W, const at::Tensor& b_hn,
                 const std::vector<int64_t>& sizes, at::Tensor h, at::Tensor gates, at::Tensor q) {
  const int64_t d = W.size(0), B = sizes.empty() ? 0 : sizes[0];
  at::Tensor s = at::zeros({B, 3 * d}, inputs.options());
  const at::Tensor nothing = at::zeros({d}, inputs.options());
  const T *in = inputs.const_data_ptr<T>(), *bias = b_hn.const_data_ptr<T>(), *zero = nothing.const_data_ptr<T>();
  T *ph = h.mutable_data_ptr<T>(), *pg = gates.mutable_data_ptr<T>(), *pq = q.mutable_data_ptr<T>();
  const T* ps = s.const_data_ptr<T>();
  int64_t at = 0, last = 0;
  for (size_t t = 0; t < sizes.size(); ++t) {
    const int64_t b = sizes[t];
    if (t > 0) {
      at::Tensor out = s.narrow(0, 0, b);
      at::mm_out(out, h.narrow(0, last, b), W);
    }
    for (int64_t i = 0; i < b; ++i) {
      const T* before = t > 0 ? ph + (last + i) * d : zero;
      step(d, in + (at + i) * 3 * d, ps + i * 3 * d, bias, before, pg + (at + i) * 3 * d, pq + (at + i) * d,
           ph + (at + i) * d);
    }
    last = at;
    at += b;
  }
}

template <typename T>
void backward_one(at::Tensor grad, const at::Tensor& gates, const at::Tensor& q, const at::Tensor& h,
                  const at::Tensor& W_hh, const std::vector<int64_t>& sizes, at::Tensor delta, at::Tensor grad_W,
                  at::Tensor grad_b) {
  const int64_t d = W_hh.size(1), B = sizes.empty() ? 0 : sizes[0], P = h.size(0);
  at::Tensor carry = at::zeros({B, d}, h.options());
  at::Tensor last_one = at::empty({P, d}, h.options());
  at::Tensor before_all = at::empty({P, d}, h.options());
  const at::Tensor nothing = at::zeros({d}, h.options());
  const T *pg = gates.const_data_ptr<T>(), *pq = q.const_data_ptr<T>(), *ph = h.const_data_ptr<T>();
  const T* zero = nothing.const_data_ptr<T>();
  T *pgrad = grad.mutable_data_ptr<T>(), *pd = delta.mutable_data_ptr<T>(), *pc = carry.mutable_data_ptr<T>();
  T *pl = last_one.mutable_data_ptr<T>(), *pb = before_all.mutable_data_ptr<T>();
  int64_t at = P, later = 0;  // later: texts in the step after this one, which have a carry
  for (int64_t t = static_cast<int64_t>(sizes.size()) - 1; t >= 0; --t) {
    const int64_t b = sizes[t];
    at -= b;
    const int64_t first = t > 0 ? at - sizes[t - 1] : 0;
    for (int64_t i = 0; i < later; ++i) {
      T* row = pgrad + (at + i) * d;
      const T* more = pc + i * d;
      for (int64_t k = 0; k < d; ++k) row[k] += more[k];
    }
    for (int64_t i = 0; i < b; ++i) {
      const T* before = t > 0 ? ph + (first + i) * d : zero;
      std::copy(before, before + d, pb + (at + i) * d);
      step_back(d, pgrad + (at + i) * d, pg + (at + i) * 3 * d, pq + (at + i) * d, before, pd + (at + i) * 3 * d,
                pl + (at + i) * d, pc + i * d);
    }
    if (t > 0) carry.narrow(0, 0, b).addmm_(delta.narrow(0, at, b), W_hh);
    later = b;
  }
  at::mm_out(grad_W, delta.t(), before_all);
  at::sum_out(grad_b, delta.narrow(1, 2 * d, d), 0);
  delta.narrow(1, 2 * d, d).copy_(last_one);
}

// inputs (G, P, 3d), W (G, d, 3d), b_hn (G, d) -> h (G, P, d), gates (G, P, 3d), q (G, P, d)
std::tuple<at::Tensor, at::Tensor, at::Tensor> gru_forward(const at::Tensor& inputs_, const at::Tensor& W,
                                                           const at::Tensor& b_hn_, at::IntArrayRef sizes_) {
  at::NoGradGuard no_grad;
  const at::Tensor inputs = inputs_.contiguous(), b_hn = b_hn_.contiguous();
  const std::vector<int64_t> sizes(sizes_.begin(), sizes_.end());
  const int64_t G = inputs.size(0), P = inputs.size(1), d = W.size(1);
  at::Tensor h = at::empty({G, P, d}, inputs.options()), gates = at::empty_like(inputs);
  at::Tensor q = at::empty({G, P, d}, inputs.options());
  AT_DISPATCH_FLOATING_TYPES(inputs.scalar_type(), "gru_forward", [&] {
    at::parallel_for(0, G, 1, [&](int64_t begin, int64_t end) {
      at::NoGradGuard in_this_thread;
      for (int64_t g = begin; g < end; ++g)
        forward_one<scalar_t>(inputs[g], W[g], b_hn[g], sizes, h[g], gates[g], q[g]);
    });
  });
  return {h, gates, q};
}

// grad, q, h (G, P, d), gates (G, P, 3d), W_hh (G, 3d, d) -> gradients of inputs (G, P, 3d), W_hh and b_hn (G, d)
std::tuple<at::Tensor, at::Tensor, at::Tensor> gru_backward(const at::Tensor& grad_, const at::Tensor& gates,
                                                            const at::Tensor& q, const at::Tensor& h,
                                                            const at::Tensor& W_hh, at::IntArrayRef sizes_) {
  at::NoGradGuard no_grad;
  const at::Tensor grad = grad_.clone();
  const std::vector<int64_t> sizes(sizes_.begin(), sizes_.end());
  const int64_t G = h.size(0), d = h.size(2);
  at::Tensor delta = at::empty_like(gates), grad_W = at::empty(W_hh.sizes(), W_hh.options());
  at::Tensor grad_b = at::empty({G, d}, h.options());
  AT_DISPATCH_FLOATING_TYPES(h.scalar_type(), "gru_backward", [&] {
    at::parallel_for(0, G, 1, [&](int64_t begin, int64_t end) {
      at::NoGradGuard in_this_thread;
      for (int64_t g = begin; g < end; ++g) {
        at::Tensor own_W = grad_W[g], own_b = grad_b[g];
        backward_one<scalar_t>(grad[g], gates[g], q[g], h[g], W_hh[g], sizes, delta[g], own_W, own_b);
      }
    });
  });
  return {delta, grad_W, grad_b};
}

}  // namespace

TORCH_LIBRARY(itin, library) {
  library.def("gru_forward(Tensor inputs, Tensor W, Tensor b_hn, int[] sizes) -> (Tensor, Tensor, Tensor)");
  library.def(
      "gru_backward(Tensor grad, Tensor gates, Tensor q, Tensor h, Tensor W_hh, int[] sizes) -> (Tensor, Tensor, "
      "Tensor)");
}

TORCH_LIBRARY_IMPL(itin, CPU, library) {
  library.impl("gru_forward", gru_forward);
  library.impl("gru_backward", gru_backward);
}
