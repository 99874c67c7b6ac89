// What a decoding step and an update do besides matrix products, in float32 on a CPU: each kernel goes over its rows once, in
// parallel. Built and loaded by kernels.py; the same arithmetic in torch is in fused.py, sampler.py and decoder.py, which run
// where this cannot.

#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

using std::int64_t;

namespace {

// e^x for x <= 0, to about 1e-7 of itself; 0 below -87.
inline float exp_neg(float given) {
    const float x = std::max(given, -87.0f);
    const float n = std::nearbyint(x * 1.44269504f);
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const std::int32_t bits = (static_cast<std::int32_t>(n) + 127) << 23;
    float scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return given < -87.0f ? 0.0f : p * scale;
}

inline float inverse_rms(const float* x, int64_t n, float eps) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; ++i) sum += x[i] * x[i];
    return 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
}

// y = the head x (D), normalised with weight w where there is one, and turned by its position.
template <int D>
inline void turned(const float* x, const float* w, float eps, const float* cos, const float* sin, float* y) {
    constexpr int half = D / 2;
    float z[D];
    const float scale = w ? inverse_rms(x, D, eps) : 1.0f;
    for (int i = 0; i < D; ++i) z[i] = w ? x[i] * scale * w[i] : x[i];
    for (int i = 0; i < half; ++i) {
        y[i] = z[i] * cos[i] - z[i + half] * sin[i];
        y[i + half] = z[i + half] * cos[i + half] + z[i] * sin[i + half];
    }
}

template <int D>
inline float dot(const float* a, const float* b) {
    float sum = 0.0f;
#pragma omp simd reduction(+ : sum)
    for (int i = 0; i < D; ++i) sum += a[i] * b[i];
    return sum;
}

// One query head over `count` columns of keys and values: y = softmax(q k / sqrt(D)) v.
template <int D>
inline void attend_head(const float* q, const float* keys, const float* values, int64_t count, float* score, float* y) {
    const float scale = 1.0f / std::sqrt(static_cast<float>(D));
    float most = -INFINITY, total = 0.0f;
    for (int64_t c = 0; c < count; ++c) {
        score[c] = scale * dot<D>(q, keys + c * D);
        most = std::max(most, score[c]);
    }
#pragma omp simd reduction(+ : total)
    for (int64_t c = 0; c < count; ++c) {
        score[c] = exp_neg(score[c] - most);
        total += score[c];
    }
    float sum[D] = {};
    for (int64_t c = 0; c < count; ++c)
        for (int i = 0; i < D; ++i) sum[i] += score[c] * values[c * D + i];
    for (int i = 0; i < D; ++i) y[i] = sum[i] / total;
}

template <int D>
void attend_rows(const float* qkv, int64_t rows, int64_t heads, int64_t kv_heads, const float* norm, float eps, const float* cos,
                 const float* sin, const int64_t* position, float* keys, float* values, int64_t row_stride, int64_t head_stride,
                 int64_t at, float* y) {
    const int64_t group = heads / kv_heads, width = (heads + 2 * kv_heads) * D;
    const int64_t longest = 1 + *std::max_element(position, position + rows);
#pragma omp parallel
    {
        std::vector<float> score(longest);
#pragma omp for schedule(dynamic, 8)
        for (int64_t r = 0; r < rows; ++r) {
            const float* x = qkv + r * width;
            const float *c = cos + position[r] * D, *s = sin + position[r] * D;
            const int64_t first = at - position[r];
            for (int64_t g = 0; g < kv_heads; ++g) {
                float* k = keys + r * row_stride + g * head_stride;
                float* v = values + r * row_stride + g * head_stride;
                turned<D>(x + (heads + g) * D, norm ? norm + (heads + g) * D : nullptr, eps, c, s, k + at * D);
                std::memcpy(v + at * D, x + (heads + kv_heads + g) * D, D * sizeof(float));
                for (int64_t h = g * group; h < (g + 1) * group; ++h) {
                    float q[D];
                    turned<D>(x + h * D, norm ? norm + h * D : nullptr, eps, c, s, q);
                    attend_head<D>(q, k + first * D, v + first * D, position[r] + 1, score.data(), y + (r * heads + h) * D);
                }
            }
        }
    }
}

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

// Heads of one layer: qkv (rows, heads + 2 kv_heads, D) -> y (rows, heads, D). Writes each row's key and value into column
// `at` of keys and values; a row attends to the position[r] + 1 columns that end there. Returns 1 for a D it does not know.
int attend(const float* qkv, int64_t rows, int64_t heads, int64_t kv_heads, int64_t head_dim, const float* norm, float eps,
           const float* cos, const float* sin, const int64_t* position, float* keys, float* values, int64_t row_stride,
           int64_t head_stride, int64_t at, float* y) {
    auto run = [&](auto kernel) {
        kernel(qkv, rows, heads, kv_heads, norm, eps, cos, sin, position, keys, values, row_stride, head_stride, at, y);
        return 0;
    };
    switch (head_dim) {
        case 16: return run(attend_rows<16>);
        case 32: return run(attend_rows<32>);
        case 64: return run(attend_rows<64>);
        case 80: return run(attend_rows<80>);
        case 96: return run(attend_rows<96>);
        case 128: return run(attend_rows<128>);
        default: return 1;
    }
}

// y (rows, n) = x / rms(x), times weight where there is one.
void rms_norm(const float* x, int64_t rows, int64_t n, const float* weight, float eps, float* y) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        const float* from = x + r * n;
        const float scale = inverse_rms(from, n, eps);
        if (weight) {
            for (int64_t i = 0; i < n; ++i) y[r * n + i] = from[i] * scale * weight[i];
        } else {
            for (int64_t i = 0; i < n; ++i) y[r * n + i] = from[i] * scale;
        }
    }
}

// y (rows, n) = silu(gate) * up, of gate_up (rows, 2 n).
void swiglu(const float* gate_up, int64_t rows, int64_t n, float* y) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        const float *gate = gate_up + 2 * r * n, *up = gate + n;
        for (int64_t i = 0; i < n; ++i) {
            const float e = exp_neg(-std::fabs(gate[i]));  // sigmoid without overflow
            y[r * n + i] = gate[i] * (gate[i] >= 0 ? 1.0f : e) / (1.0f + e) * up[i];
        }
    }
}

// For each row of logits (rows, n) at its temperature: the token at u of the cumulative mass (temperature 0: the likeliest, scored
// at temperature 1) and its log-probability. logits is overwritten. A row that is not finite gives log-probability NaN.
void draw(float* logits, int64_t rows, int64_t n, const float* u, const float* temperature, int64_t* token, float* logp) {
    constexpr int64_t block = 64;
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        float* x = logits + r * n;
        const float scale = temperature[r] > 0 ? 1.0f / temperature[r] : 1.0f;
        float most = -INFINITY, total = 0.0f;
#pragma omp simd reduction(max : most)
        for (int64_t i = 0; i < n; ++i) most = std::max(most, x[i]);
        int64_t chosen = std::find(x, x + n, most) - x;
        const float peak = x[std::min(chosen, n - 1)];
        std::vector<float> mass((n + block - 1) / block);
        for (size_t b = 0; b < mass.size(); ++b) {
            float sum = 0.0f;
            const int64_t to = std::min<int64_t>((b + 1) * block, n);
#pragma omp simd reduction(+ : sum)
            for (int64_t i = b * block; i < to; ++i) {
                const float e = exp_neg((x[i] - peak) * scale);
                x[i] = e;
                sum += e;
            }
            mass[b] = sum;
            total += sum;
        }
        if (temperature[r] > 0) {
            float left = u[r] * total;
            size_t b = 0;
            while (b + 1 < mass.size() && left >= mass[b]) left -= mass[b++];
            int64_t last = -1;  // the last token with mass, where rounding leaves some of `left` over
            chosen = -1;
            for (int64_t i = b * block; i < std::min<int64_t>((b + 1) * block, n) && chosen < 0; ++i) {
                if (x[i] > 0) last = i;
                if (left < x[i]) chosen = i;
                left -= x[i];
            }
            if (chosen < 0) chosen = last;
        }
        const bool fine = std::isfinite(total) && total > 0 && chosen >= 0 && chosen < n;
        token[r] = fine ? chosen : 0;
        logp[r] = fine ? std::log(x[chosen]) - std::log(total) : NAN;
    }
}

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

// Rows of x as whole numbers of -127 to 127 times a scale each.
void quantise(const float* x, int64_t rows, int64_t n, std::int8_t* y, float* scale) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        const float* from = x + r * n;
        float most = 0.0f;
#pragma omp simd reduction(max : most)
        for (int64_t i = 0; i < n; ++i) most = std::max(most, std::fabs(from[i]));
        const float unit = most > 0.0f ? most / 127.0f : 1.0f, inverse = 1.0f / unit;
        scale[r] = unit;
#pragma omp simd
        for (int64_t i = 0; i < n; ++i) y[r * n + i] = static_cast<std::int8_t>(std::nearbyint(from[i] * inverse));
    }
}

// y (rows, n) = (add ? y : 0) + x * row * column, of whole numbers x.
void rescale(const std::int32_t* x, int64_t rows, int64_t n, const float* row, const float* column, int64_t add, float* y) {
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < rows; ++r) {
        const float unit = row[r];
        float* to = y + r * n;
        const std::int32_t* from = x + r * n;
        if (add) {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) to[i] += static_cast<float>(from[i]) * unit * column[i];
        } else {
#pragma omp simd
            for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]) * unit * column[i];
        }
    }
}

}  // extern "C"
