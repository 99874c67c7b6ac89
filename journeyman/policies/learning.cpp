// What an update does besides matrix products and attention, in float32 on a CPU: each kernel goes over its rows once, in
// parallel. Built and loaded by kernels.py and made differentiable by compiled.py; where this cannot run, torch's own operations
// do the same.

#include "kernels.h"

namespace {

// Sums over rows that each thread makes for itself, added in the order of the threads so that they repeat bit by bit.
struct Sums {
    int64_t n;
    std::vector<float> all;
    explicit Sums(int64_t n) : n(n), all(n * omp_get_max_threads()) {}
    float* own() { return all.data() + n * omp_get_thread_num(); }
    void add_to(float* y, int64_t from, int64_t count) const {
        for (size_t t = 0; t < all.size(); t += n)
            for (int64_t i = 0; i < count; ++i) y[i] += all[t + from + i];
    }
};

// dx of y = x * r * w with r = 1 / rms(x), for one row; dw is added to. Without w: dx = dy.
inline void rms_back(const float* x, const float* dy, int64_t n, const float* w, float eps, float* dx, float* dw) {
    if (!w) {
        std::copy(dy, dy + n, dx);
        return;
    }
    const float r = inverse_rms(x, n, eps);
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += dy[i] * w[i] * x[i];
    const float back = sum * r * r * r / static_cast<float>(n);
#pragma omp simd
    for (int64_t i = 0; i < n; ++i) {
        dw[i] += dy[i] * x[i] * r;
        dx[i] = r * w[i] * dy[i] - back * x[i];
    }
}

struct Strides {  // of a (B, H, T, D) tensor whose last dimension is dense
    int64_t row, head, time;
    float* at(float* x, int64_t b, int64_t h, int64_t t) const { return x + b * row + h * head + t * time; }
};

}  // namespace

extern "C" {

// dx (rows, n) and dw (n, added to) of y = x / rms(x) * weight.
void rms_norm_backward(const float* x, const float* dy, int64_t rows, int64_t n, const float* weight, float eps, float* dx, float* dw) {
    Sums sums(n);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) rms_back(x + r * n, dy + r * n, n, weight, eps, dx + r * n, sums.own());
    sums.add_to(dw, 0, n);
}

// qkv (N, heads + 2 kv, D) -> q (rows, heads, time, D), k and v (rows, kv, time, D), all dense, in every place of each token
// (token n stands at slots[offsets[n]] ... slots[offsets[n + 1] - 1] of the rows * time padded ones); q and
// k normalised by head with weights wq and wk (D) where there are any, and turned by position, of which cos and sin (., D) are.
void heads(const float* qkv, int64_t N, const int64_t* offsets, const int64_t* slots, const int64_t* position, int64_t time,
           int64_t heads, int64_t kv, int64_t D, const float* wq, const float* wk, float eps, const float* cos, const float* sin,
           float* q, float* k, float* v) {
    const int64_t every = heads + 2 * kv, half = D / 2;
#pragma omp parallel
    {
        std::vector<float> turned(D);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < N; ++n) {
            const float *c = cos + position[n] * D, *s = sin + position[n] * D;
            for (int64_t h = 0; h < every; ++h) {
                const float *x = qkv + (n * every + h) * D, *w = h < heads ? wq : wk, *from = x;
                if (h < heads + kv) {
                    const float scale = w ? inverse_rms(x, D, eps) : 1.0f;
                    float* y = turned.data();
#pragma omp simd
                    for (int64_t i = 0; i < half; ++i) {
                        const float low = x[i] * scale * (w ? w[i] : 1.0f), high = x[i + half] * scale * (w ? w[i + half] : 1.0f);
                        y[i] = low * c[i] - high * s[i];
                        y[i + half] = high * c[i + half] + low * s[i + half];
                    }
                    from = y;
                }
                float* to = h < heads ? q : h < heads + kv ? k : v;
                const int64_t own = h < heads ? h : (h - heads) % kv, count = h < heads ? heads : kv;
                for (int64_t o = offsets[n]; o < offsets[n + 1]; ++o) {
                    const int64_t b = slots[o] / time, t = slots[o] % time;
                    std::memcpy(to + ((b * count + own) * time + t) * D, from, D * sizeof(float));
                }
            }
        }
    }
}

// dqkv of `heads` from the gradients of q, k and v (strides in elements: row, head, time for each), summed over the places of each
// token; dwq and dwk (D) are added to.
void heads_backward(const float* qkv, int64_t N, const int64_t* offsets, const int64_t* slots, const int64_t* position, int64_t time,
                    int64_t heads, int64_t kv, int64_t D, const float* wq, const float* wk, float eps, const float* cos,
                    const float* sin, float* dq, float* dk, float* dv, const int64_t* strides, float* dqkv, float* dwq, float* dwk) {
    const int64_t every = heads + 2 * kv, half = D / 2;
    const Strides of_q{strides[0], strides[1], strides[2]}, of_k{strides[3], strides[4], strides[5]};
    const Strides of_v{strides[6], strides[7], strides[8]};
    Sums sums(2 * D);
#pragma omp parallel
    {
        std::vector<float> sum(D), z(D);
#pragma omp for schedule(static)
        for (int64_t n = 0; n < N; ++n) {
            const float *c = cos + position[n] * D, *s = sin + position[n] * D;
            for (int64_t h = 0; h < every; ++h) {
                const int64_t at = (n * every + h) * D;
                const bool query = h < heads, value = h >= heads + kv;
                const Strides& of = query ? of_q : value ? of_v : of_k;
                float *from = query ? dq : value ? dv : dk, *dy = value ? dqkv + at : sum.data();
                std::fill(dy, dy + D, 0.0f);
                for (int64_t o = offsets[n]; o < offsets[n + 1]; ++o) {
                    const float* one = of.at(from, slots[o] / time, query ? h : (h - heads) % kv, slots[o] % time);
                    for (int64_t i = 0; i < D; ++i) dy[i] += one[i];
                }
                if (value) continue;
#pragma omp simd
                for (int64_t i = 0; i < half; ++i) {
                    z[i] = dy[i] * c[i] + dy[i + half] * s[i + half];
                    z[i + half] = dy[i + half] * c[i + half] - dy[i] * s[i];
                }
                rms_back(qkv + at, z.data(), D, query ? wq : wk, eps, dqkv + at, sums.own() + (query ? 0 : D));
            }
        }
    }
    if (wq) sums.add_to(dwq, 0, D);
    if (wk) sums.add_to(dwk, D, D);
}

// The gradient (rows, 2 n) of gate and up from that of silu(gate) * up (rows, n).
void swiglu_backward(const float* gate_up, const float* dy, int64_t rows, int64_t n, float* dx) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        const float *gate = gate_up + 2 * r * n, *up = gate + n, *from = dy + r * n;
        float* to = dx + 2 * r * n;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const float e = exp_neg(-std::fabs(gate[i]));
            const float sigmoid = (gate[i] >= 0 ? 1.0f : e) / (1.0f + e);
            to[i] = from[i] * up[i] * sigmoid * (1.0f + gate[i] * (1.0f - sigmoid));
            to[n + i] = from[i] * gate[i] * sigmoid;
        }
    }
}

// For each row z of logits (rows, n) / temperature: log softmax(z)[token], the entropy of softmax(z) and log sum exp z.
void log_prob(const float* logits, int64_t rows, int64_t n, const int64_t* token, const float* temperature, float* logp,
              float* entropy, float* normaliser) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        const float* x = logits + r * n;
        const float scale = 1.0f / temperature[r];
        float most = -INFINITY, total = 0.0f, weighted = 0.0f;
#pragma omp simd reduction(max : most)
        for (int64_t i = 0; i < n; ++i) most = std::max(most, x[i]);
#pragma omp simd reduction(+ : total, weighted)
        for (int64_t i = 0; i < n; ++i) {
            const float z = (x[i] - most) * scale, e = exp_neg(z);
            total += e;
            weighted += e > 0.0f ? e * z : 0.0f;
        }
        const float left = std::log(total);
        logp[r] = (x[token[r]] - most) * scale - left;
        entropy[r] = left - weighted / total;
        normaliser[r] = most * scale + left;
    }
}

// The gradient (rows, n) of the logits from those of log-probability and entropy (null: none).
void log_prob_backward(const float* logits, int64_t rows, int64_t n, const int64_t* token, const float* temperature,
                       const float* entropy, const float* normaliser, const float* dlogp, const float* dentropy, float* dx) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        const float* x = logits + r * n;
        float* y = dx + r * n;
        const float scale = 1.0f / temperature[r], flat = dlogp[r] * scale, spread = dentropy ? dentropy[r] * scale : 0.0f;
        const float shift = normaliser[r], whole = entropy[r];
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) {
            const float z = std::max(x[i] * scale - shift, -1e30f);  // finite, so that 0 * z is 0
            y[i] = -exp_neg(z) * (flat + spread * (z + whole));
        }
        y[token[r]] += flat;
    }
}

}  // extern "C"
