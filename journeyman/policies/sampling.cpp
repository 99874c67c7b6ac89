// What a decoding step does besides matrix products, in float32 on a CPU: each kernel goes over its rows once, in parallel.
// Built and loaded by kernels.py; the same arithmetic in torch is in fused.py, sampler.py and decoder.py, which run where this
// cannot. An update uses rms_norm and swiglu too; its own kernels are in learning.cpp.

#include "kernels.h"

namespace {

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

typedef float Lanes __attribute__((vector_size(64)));
typedef float Memory __attribute__((vector_size(64), aligned(4), may_alias));  // the same, anywhere in memory

inline Lanes load(const float* x) { return *reinterpret_cast<const Memory*>(x); }

// The sums of 16 vectors, in their order: each step adds halves of two and puts them side by side.
inline Lanes sums_of(const Lanes* x) {
#define ADDED(a, b, low, high) (__builtin_shufflevector(a, b, low) + __builtin_shufflevector(a, b, high))
#define LOW8 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23
#define HIGH8 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31
#define LOW4 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27
#define HIGH4 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31
#define LOW2 0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29
#define HIGH2 2, 3, 6, 7, 10, 11, 14, 15, 18, 19, 22, 23, 26, 27, 30, 31
#define LOW1 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define HIGH1 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
    Lanes a[8], b[4], c[2];
    for (int i = 0; i < 8; ++i) a[i] = ADDED(x[2 * i], x[2 * i + 1], LOW8, HIGH8);
    for (int i = 0; i < 4; ++i) b[i] = ADDED(a[2 * i], a[2 * i + 1], LOW4, HIGH4);
    for (int i = 0; i < 2; ++i) c[i] = ADDED(b[2 * i], b[2 * i + 1], LOW2, HIGH2);
    return ADDED(c[0], c[1], LOW1, HIGH1);
}

// Where the keys and values of a row stand: the first `lent` columns in another row that began with the same prompt, so that
// siblings read them from caches and not each its own from memory, the others in the row itself.
struct Columns {
    const float *keys, *values, *lent_keys, *lent_values;
    int64_t count, lent;
    const float* key(int64_t c, int64_t D) const { return (c < lent ? lent_keys : keys) + c * D; }
    const float* value(int64_t c, int64_t D) const { return (c < lent ? lent_values : values) + c * D; }
};

// G query heads (G, D) over the columns that they share: y = softmax(q k / sqrt(D)) v. score holds G rows of the number of columns
// rounded up to 16.
template <int D, int G>
inline void attend_heads(const float* q, const Columns& at, float* score, float* y) {
    const int64_t count = at.count;
    constexpr int parts = D / 16;
    const int64_t wide = (count + 15) / 16 * 16;
    const float scale = 1.0f / std::sqrt(static_cast<float>(D));
    for (int64_t from = 0; from < count; from += 16)
        for (int g = 0; g < G; ++g) {
            Lanes product[16];
            for (int c = 0; c < 16; ++c) {
                const float* key = at.key(std::min<int64_t>(from + c, count - 1), D);
                product[c] = load(q + g * D) * load(key);
                for (int i = 1; i < parts; ++i) product[c] += load(q + g * D + 16 * i) * load(key + 16 * i);
            }
            *reinterpret_cast<Memory*>(score + g * wide + from) = sums_of(product) * scale;
        }
    float total[G];
    for (int g = 0; g < G; ++g) {
        float *own = score + g * wide, most = -INFINITY, sum = 0.0f;
#pragma omp simd reduction(max : most)
        for (int64_t c = 0; c < count; ++c) most = std::max(most, own[c]);
#pragma omp simd reduction(+ : sum)
        for (int64_t c = 0; c < count; ++c) {
            own[c] = exp_neg(own[c] - most);
            sum += own[c];
        }
        total[g] = sum;
    }
    constexpr int sets = G * parts <= 8 ? 2 : 1;  // of accumulators, so that additions need not wait for each other
    Lanes sum[sets][G][parts] = {};
    for (int64_t c = 0; c < count; ++c) {
        const float* values = at.value(c, D);
        for (int i = 0; i < parts; ++i) {
            const Lanes value = load(values + 16 * i);
            for (int g = 0; g < G; ++g) sum[c % sets][g][i] += score[g * wide + c] * value;
        }
    }
    for (int g = 0; g < G; ++g)
        for (int i = 0; i < parts; ++i) {
            for (int s = 1; s < sets; ++s) sum[0][g][i] += sum[s][g][i];
            *reinterpret_cast<Memory*>(y + g * D + 16 * i) = sum[0][g][i] / total[g];
        }
}

// `heads` query heads over one key head, as many at a time as registers hold.
template <int D>
inline void attend_group(const float* q, int64_t heads, const Columns& at, float* score, float* y) {
    constexpr int64_t most = D <= 64 ? 4 : 2;
    for (int64_t h = 0; h < heads;) {
        const int64_t now = std::min(heads - h, most);
        const float* from = q + h * D;
        float* to = y + h * D;
        if (now == 1) attend_heads<D, 1>(from, at, score, to);
        if (now == 2) attend_heads<D, 2>(from, at, score, to);
        if (now == 3) attend_heads<D, 3>(from, at, score, to);
        if (now == 4) attend_heads<D, 4>(from, at, score, to);
        h += now;
    }
}

template <int D>
void attend_rows(const float* qkv, int64_t rows, int64_t heads, int64_t kv_heads, const float* norm, float eps, const float* cos,
                 const float* sin, const int64_t* position, const int64_t* lender, const int64_t* lent, float* keys, float* values,
                 int64_t row_stride, int64_t head_stride, int64_t at, float* y) {
    const int64_t group = heads / kv_heads, width = (heads + 2 * kv_heads) * D;
    const int64_t longest = 1 + *std::max_element(position, position + rows);
#pragma omp parallel
    {
        std::vector<float> score(4 * (longest + 15)), q(group * D);
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
                for (int64_t h = g * group; h < (g + 1) * group; ++h)
                    turned<D>(x + h * D, norm ? norm + h * D : nullptr, eps, c, s, q.data() + (h - g * group) * D);
                float* to = y + (r * heads + g * group) * D;
                const int64_t from = lender[r] * row_stride + g * head_stride + (at - position[lender[r]]) * D;
                const Columns columns{k + first * D, v + first * D, keys + from, values + from, position[r] + 1, lent[r]};
                attend_group<D>(q.data(), group, columns, score.data(), to);
            }
        }
    }
}

}  // namespace

extern "C" {

// Heads of one layer: qkv (rows, heads + 2 kv_heads, D) -> y (rows, heads, D). Writes each row's key and value into column
// `at` of keys and values; a row attends to the position[r] + 1 columns that end there, and reads the first lent[r] of them from
// row lender[r], where they are the same (lent[r] = 0: none). Returns 1 for a D it does not know.
int attend(const float* qkv, int64_t rows, int64_t heads, int64_t kv_heads, int64_t head_dim, const float* norm, float eps,
           const float* cos, const float* sin, const int64_t* position, const int64_t* lender, const int64_t* lent, float* keys,
           float* values, int64_t row_stride, int64_t head_stride, int64_t at, float* y) {
    auto run = [&](auto kernel) {
        kernel(qkv, rows, heads, kv_heads, norm, eps, cos, sin, position, lender, lent, keys, values, row_stride, head_stride, at, y);
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
