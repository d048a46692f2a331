// Pair sums on a CPU: for every receiver i of an event, the sum over its senders j of
//
//     act_L(W_L ... act_1(W_1 act_0(receiver_i + sender_j + W_0 q_ij) + b_1) ... + b_L)
//
// and its derivatives. The optional q_ij are features of the pair's four-momenta; see `describe`. Pairs are processed
// in tiles of ROWS, which stay in the first-level cache, with the products of a tile accumulated in registers. The
// backward pass recomputes each tile. Compiled by compiled.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <vector>

#if defined(__AVX512F__)
constexpr int VECTOR_BYTES = 64, COLUMNS = 4; // 6 x 4 accumulators of 32 registers
#elif defined(__AVX__)
constexpr int VECTOR_BYTES = 32, COLUMNS = 2; // 6 x 2 of 16
#elif defined(__aarch64__)
constexpr int VECTOR_BYTES = 16, COLUMNS = 4; // 6 x 4 of 32
#else
constexpr int VECTOR_BYTES = 16, COLUMNS = 2;
#endif
constexpr int MICRO = 6;  // rows of accumulators
constexpr int ROWS = 48;  // pairs in a tile
constexpr int OF_PAIR = 4, OF_PARTICLE = 8; // features of a pair, and numbers of a particle from which they are computed
constexpr double LEAST_DELTA2 = 1e-6, LEAST_M2 = 1e-2; // as in kinematic_features.py
constexpr int TILES = 64; // tiles summed in the precision of the numbers, before their sum is added to one in double

namespace {

template <class T> struct Vector {
    typedef T type __attribute__((vector_size(VECTOR_BYTES), may_alias, aligned(VECTOR_BYTES)));
    static constexpr int LANES = VECTOR_BYTES / sizeof(T);
};

// What differs between the precisions: the bits of the format, 1/k! of the exponential series and ERFC, the expansion of
// log(erfc(x) / t) + x^2 in powers of 2t - 1 with t = 2 / (2 + x), fitted at Chebyshev's points; highest power first.
template <class T> struct Series;
template <> struct Series<float> {
    typedef int32_t bits __attribute__((vector_size(VECTOR_BYTES), may_alias));
    static constexpr int BIAS = 127, MANTISSA = 23;
    static constexpr float LEAST = -87, MOST = 88, ROUND = 0x1.8p23f, LN2 = 0x1.62e4p-1f, LN2_REST = 0x1.7f7d1cp-20f;
    static constexpr float EXP[] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 0.5f, 1, 1};
    static constexpr float ATANH[] = {1.f / 11, 1.f / 9, 1.f / 7, 1.f / 5, 1.f / 3, 1};
    static constexpr float ERFC[] = {0.00035555685f,  -0.00020874484f, -0.0020981557f, 0.0017782678f, 0.0087412052f,
                                     -0.0098748618f, -0.046885405f,   0.047343334f,   0.67264302f,   -0.67179408f};
};
template <> struct Series<double> {
    typedef int64_t bits __attribute__((vector_size(VECTOR_BYTES), may_alias));
    static constexpr int BIAS = 1023, MANTISSA = 52;
    static constexpr double LEAST = -708, MOST = 709, ROUND = 0x1.8p52, LN2 = 0x1.62e42fefap-1,
                            LN2_REST = 0x1.cf79abc9e3b39p-40;
    static constexpr double EXP[] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880,
                                     1. / 40320,      1. / 5040,      1. / 720,      1. / 120,     1. / 24,
                                     1. / 6,          0.5,            1,             1};
    static constexpr double ATANH[] = {1. / 23, 1. / 21, 1. / 19, 1. / 17, 1. / 15, 1. / 13,
                                       1. / 11, 1. / 9,  1. / 7,  1. / 5,  1. / 3,  1};
    static constexpr double ERFC[] = {
        -1.1141466421901909e-09, -1.2776506237493277e-08, 3.675878538183882e-08,   7.746001345360312e-08,
        -3.086559820402206e-07,  -4.1484920834124593e-08, 1.3137199073509803e-06,  -1.4094127307024207e-06,
        -2.994294118363313e-06,  8.662494482986981e-06,   1.6080205095439494e-07,  -3.023780825572967e-05,
        3.1737328155349395e-05,  7.141808767204543e-05,   -0.00017430116360991256, -9.373894209180262e-05,
        0.0006736785371369921,   -0.00014624628859718252, -0.0023458124784660516,  0.0017589335075480397,
        0.00882493855611383,     -0.00987268936410846,    -0.046895610231160824,   0.047343306841863754,
        0.6726432239776567,      -0.6717940840566922};
};

template <class T, class V, int N> inline V polynomial(const T (&coefficients)[N], V x) {
    V sum = V{} + coefficients[0];
    for (int k = 1; k < N; ++k) sum = sum * x + coefficients[k];
    return sum;
}

// e^x = 2^n e^r with n = round(x / ln 2): adding ROUND leaves n in the lowest bits, from which it moves to the exponent.
template <class T, class V> inline V exponential(V beyond) {
    using S = Series<T>;
    V x = beyond < S::LEAST ? V{} + S::LEAST : beyond;
    x = x > S::MOST ? V{} + S::MOST : x;
    const V rounded = x * T(1.4426950408889634) + S::ROUND, n = rounded - S::ROUND;
    const V r = x - n * S::LN2 - n * S::LN2_REST;
    const V inside = polynomial(S::EXP, r) * (V)(((typename S::bits)rounded + S::BIAS) << S::MANTISSA);
    return beyond < S::LEAST ? V{} : beyond > S::MOST ? V{} + std::numeric_limits<T>::infinity() : inside;
}

// The logarithm of positive numbers: n ln 2 + ln m with m from 1/sqrt(2) to sqrt(2), ln m = 2 atanh((m - 1) / (m + 1)).
template <class T, class V> inline V logarithm(V x) {
    using S = Series<T>;
    using I = typename S::bits;
    const V one = V{} + 1;
    const I fraction = ((I{} + 1) << S::MANTISSA) - 1;
    I n = ((I)x >> S::MANTISSA) - S::BIAS;
    V m = (V)(((I)x & fraction) | (I)one);
    const auto upper = m > T(1.4142135623730951);
    m = upper ? m * T(0.5) : m;
    n -= (I)upper; // a true comparison is -1
    const V s = (m - 1) / (m + 1), power = __builtin_convertvector(n, V);
    const V found = power * S::LN2 + (power * S::LN2_REST + 2 * s * polynomial(S::ATANH, s * s));
    return x < std::numeric_limits<T>::infinity() ? found : x; // NaN goes through
}

// The normal distribution's integral up to z.
template <class T, class V> inline V normal(V z) {
    const V x = (z < 0 ? -z : z) * T(0.7071067811865476), t = 2 / (2 + x);
    const V beyond = T(0.5) * t * exponential<T>(polynomial(Series<T>::ERFC, 2 * t - 1) - x * x);
    return z < 0 ? beyond : 1 - beyond;
}

enum Act { LINEAR, RELU, LEAKY_RELU, ELU, SELU, TANH, SIGMOID, SILU, MISH, GELU };
constexpr double SELU_SCALE = 1.0507009873554805, SELU_ALPHA = 1.6732632423543773;

// Whether the derivative is computed from the activation's input instead of its result.
inline bool from_input(Act act) { return act >= SILU; }

template <class T, class V> inline V sigmoid(V z) { return 1 / (1 + exponential<T>(-z)); }

template <class T, class V> inline V mish_slope(V z, V& e) {
    e = exponential<T>(z > 20 ? V{} + 20 : z);
    return e * (e + 2) / (e * (e + 2) + 2); // tanh(log(1 + e^z))
}

// Comparisons are such that NaN goes through, as in torch.
template <class T, class V> inline V apply(Act act, T slope, V z) {
    V e;
    switch (act) {
    case RELU: return z < 0 ? V{} : z;
    case LEAKY_RELU: return z < 0 ? slope * z : z;
    case ELU: return z > 0 ? z : slope * (exponential<T>(z) - 1);
    case SELU: return z > 0 ? T(SELU_SCALE) * z : T(SELU_SCALE * SELU_ALPHA) * (exponential<T>(z) - 1);
    case TANH: return 1 - 2 / (exponential<T>(2 * z) + 1);
    case SIGMOID: return sigmoid<T>(z);
    case SILU: return z * sigmoid<T>(z);
    case MISH: return z * mish_slope<T>(z, e);
    case GELU: return z * normal<T>(z);
    default: return z;
    }
}

// Gradient of an activation's input; `y` is the input or the result, see from_input.
template <class T, class V> inline V derive(Act act, T slope, V gradient, V y) {
    V e, s;
    switch (act) {
    case RELU: return y <= 0 ? V{} : gradient;
    case LEAKY_RELU: return y <= 0 ? slope * gradient : gradient;
    case ELU: return y > 0 ? gradient : gradient * (y + slope);
    case SELU: return gradient * (y > 0 ? V{} + T(SELU_SCALE) : y + T(SELU_SCALE * SELU_ALPHA));
    case TANH: return gradient * (1 - y * y);
    case SIGMOID: return gradient * y * (1 - y);
    case SILU: s = sigmoid<T>(y); return gradient * s * (1 + y * (1 - s));
    case MISH: s = mish_slope<T>(y, e); return gradient * (s + y * (1 - s * s) * (1 - 1 / (1 + e)));
    case GELU: return gradient * (normal<T>(y) + y * T(0.3989422804014327) * exponential<T>(T(-0.5) * y * y));
    default: return gradient;
    }
}

// Memory for numbers, aligned to vectors and initially zero.
template <class T> class Numbers {
    std::vector<T> held;
    T* start = nullptr;

  public:
    explicit Numbers(int64_t count = 0) : held(count + VECTOR_BYTES / sizeof(T)) {
        void* at = held.data();
        std::size_t space = held.size() * sizeof(T);
        start = static_cast<T*>(std::align(VECTOR_BYTES, count * sizeof(T), at, space));
    }
    T* get() const { return start; }
};

// One layer; its weight is laid out for both directions, with rows padded to whole vectors.
template <class T> struct Layer {
    int in, out, in_padded, out_padded;
    Numbers<T> forward, backward, bias; // (in, out_padded), (out, in_padded), (out_padded)
};

template <class T> struct Network {
    using V = typename Vector<T>::type;
    std::vector<int> widths, padded;
    std::vector<Act> acts;
    std::vector<T> slopes;
    std::vector<Layer<T>> layers;
    Layer<T> of_pairs; // from pair features to what is added to receiver + sender; without inputs if there are none

    Network(int depth, const int64_t* sizes, const int64_t* kinds, const double* slope, const T* pair_weight,
            const T* const* weights, bool both_ways) {
        constexpr int LANES = Vector<T>::LANES;
        for (int k = 0; k <= depth; ++k) {
            widths.push_back(sizes[k]);
            padded.push_back((sizes[k] + LANES - 1) / LANES * LANES);
            acts.push_back(static_cast<Act>(kinds[k]));
            slopes.push_back(slope[k]);
        }
        for (int k = 0; k < depth; ++k) {
            const int in = widths[k], out = widths[k + 1], in_padded = padded[k], out_padded = padded[k + 1];
            Layer<T> layer{in, out, in_padded, out_padded, Numbers<T>(int64_t(in) * out_padded),
                           Numbers<T>(both_ways ? int64_t(out) * in_padded : 0), Numbers<T>(out_padded)};
            for (int i = 0; i < in; ++i)
                for (int o = 0; o < out; ++o) layer.forward.get()[i * out_padded + o] = weights[2 * k][int64_t(o) * in + i];
            for (int o = 0; both_ways && o < out; ++o)
                std::copy_n(weights[2 * k] + int64_t(o) * in, in, layer.backward.get() + o * in_padded);
            std::copy_n(weights[2 * k + 1], out, layer.bias.get());
            layers.push_back(std::move(layer));
        }
        const int in = pair_weight ? OF_PAIR : 0;
        of_pairs = Layer<T>{in, widths[0], in, padded[0], Numbers<T>(in * padded[0]), Numbers<T>(), Numbers<T>()};
        for (int i = 0; i < in; ++i)
            for (int o = 0; o < widths[0]; ++o) of_pairs.forward.get()[i * padded[0] + o] = pair_weight[o * in + i];
    }
    int depth() const { return layers.size(); }
};

// c[rows, 0:n] = a[rows, 0:k] b[0:k, n columns of vectors], each row handed to `finish(row, column, vector)`.
template <int N, class T, class Finish>
inline __attribute__((always_inline)) void multiply_columns(const T* a, int stride_a, const T* b, int stride_b, int k,
                                                            int rows, int column, const Finish& finish) {
    using V = typename Vector<T>::type;
    for (int row = 0; row < rows; row += MICRO) {
        V sum[MICRO][N] = {};
        const T* from = a + row * stride_a;
        for (int i = 0; i < k; ++i) {
            V line[N];
            for (int c = 0; c < N; ++c) line[c] = reinterpret_cast<const V*>(b + int64_t(i) * stride_b)[column + c];
            for (int r = 0; r < MICRO; ++r)
                for (int c = 0; c < N; ++c) sum[r][c] += from[r * stride_a + i] * line[c];
        }
        for (int r = 0; r < MICRO; ++r)
            for (int c = 0; c < N; ++c) finish(row + r, column + c, sum[r][c]);
    }
}

// Rows are taken in groups of MICRO: the last group may reach past `rows`, into rows of a tile that nobody reads.
template <class T, class Finish>
inline void multiply(const T* a, int stride_a, const T* b, int stride_b, int k, int rows, const Finish& finish) {
    const int columns = stride_b / Vector<T>::LANES;
    int column = 0;
    for (; column + COLUMNS <= columns; column += COLUMNS)
        multiply_columns<COLUMNS>(a, stride_a, b, stride_b, k, rows, column, finish);
    for (; column + 2 <= columns; column += 2)
        multiply_columns<2>(a, stride_a, b, stride_b, k, rows, column, finish);
    for (; column < columns; ++column) multiply_columns<1>(a, stride_a, b, stride_b, k, rows, column, finish);
}

// total[0:k, columns] += a[rows, 0:k] transposed times b[rows, columns].
template <int M, int N, class T>
inline __attribute__((always_inline)) void add_products(const T* a, int stride_a, const T* b, int stride_b, int rows,
                                                        T* total) {
    using V = typename Vector<T>::type;
    V sum[M][N];
    for (int r = 0; r < M; ++r)
        for (int c = 0; c < N; ++c) sum[r][c] = reinterpret_cast<V*>(total + r * stride_b)[c];
    for (int row = 0; row < rows; ++row) {
        V line[N];
        for (int c = 0; c < N; ++c) line[c] = reinterpret_cast<const V*>(b + row * stride_b)[c];
        for (int r = 0; r < M; ++r)
            for (int c = 0; c < N; ++c) sum[r][c] += a[row * stride_a + r] * line[c];
    }
    for (int r = 0; r < M; ++r)
        for (int c = 0; c < N; ++c) reinterpret_cast<V*>(total + r * stride_b)[c] = sum[r][c];
}

template <class T>
void add_outer(const T* a, int stride_a, int k, const T* b, int stride_b, int rows, T* total) {
    constexpr int LANES = Vector<T>::LANES;
    const int columns = stride_b / LANES;
    for (int i = 0; i < k;) {
        const int step = i + MICRO <= k ? MICRO : 1;
        int column = 0;
        while (column < columns) {
            const T *x = a + i, *y = b + column * LANES;
            T* to = total + int64_t(i) * stride_b + column * LANES;
            if (column + COLUMNS <= columns) {
                step == MICRO ? add_products<MICRO, COLUMNS>(x, stride_a, y, stride_b, rows, to)
                              : add_products<1, COLUMNS>(x, stride_a, y, stride_b, rows, to);
                column += COLUMNS;
            } else {
                step == MICRO ? add_products<MICRO, 1>(x, stride_a, y, stride_b, rows, to)
                              : add_products<1, 1>(x, stride_a, y, stride_b, rows, to);
                ++column;
            }
        }
        i += step;
    }
}

// The pairs of a range of receivers, a tile at a time: (receiver, sender) of each row.
struct Pairs {
    const int64_t* ptr;
    int64_t event, receiver, end, sender; // the next pair

    Pairs(const int64_t* ptr, int64_t events, int64_t begin, int64_t end) : ptr(ptr), receiver(begin), end(end) {
        event = std::upper_bound(ptr, ptr + events + 1, begin) - ptr - 1;
        sender = begin < end ? ptr[event] : 0;
    }
    int take(int64_t* receivers, int64_t* senders) {
        int rows = 0;
        while (rows < ROWS && receiver < end) {
            if (sender == ptr[event + 1]) {
                if (++receiver == end) break;
                while (receiver >= ptr[event + 1]) ++event;
                sender = ptr[event];
            } else if (sender == receiver) {
                ++sender;
            } else {
                receivers[rows] = receiver;
                senders[rows++] = sender++;
            }
        }
        return rows;
    }
};

// Gradients of a layer: of the last tiles, and of all.
template <class T> struct Gradients {
    Numbers<T> weight, bias; // (in, out_padded), (out_padded)
    std::vector<double> all_weight, all_bias;

    explicit Gradients(const Layer<T>& layer)
        : weight(int64_t(layer.in) * layer.out_padded), bias(layer.out_padded),
          all_weight(int64_t(layer.in) * layer.out_padded), all_bias(layer.out_padded) {}
    void flush() {
        for (std::size_t i = 0; i < all_weight.size(); ++i) all_weight[i] += weight.get()[i];
        for (std::size_t i = 0; i < all_bias.size(); ++i) all_bias[i] += bias.get()[i];
        std::fill_n(weight.get(), all_weight.size(), 0);
        std::fill_n(bias.get(), all_bias.size(), 0);
    }
};

// The work of one thread.
template <class T> struct Worker {
    using V = typename Vector<T>::type;
    static constexpr int LANES = Vector<T>::LANES;
    const Network<T>& net;
    const T* halves;
    const double* momenta; // eta, phi, pT, ln pT, px, py, pz, E of each particle; null without pair features
    std::vector<Numbers<T>> tiles, inputs; // results and inputs of each activation
    Numbers<T> described, arguments;       // features of the pairs (ROWS, OF_PAIR), and the arguments of logarithms
    int64_t receiver[ROWS], sender[ROWS];

    Worker(const Network<T>& net, const T* halves, const double* momenta)
        : net(net), halves(halves), momenta(momenta), described(ROWS * OF_PAIR), arguments(3 * ROWS) {
        for (int width : net.padded) {
            tiles.emplace_back(int64_t(ROWS) * width);
            inputs.emplace_back(int64_t(ROWS) * width);
        }
    }

    const T* for_derivative(int k) const { return (from_input(net.acts[k]) ? inputs : tiles)[k].get(); }

    // ln(Delta R), ln(kT), ln(z) and ln(m^2) of the pairs. The mass is a difference of large numbers: it needs doubles.
    void describe(int rows) {
        T* of = arguments.get();
        for (int row = 0; row < rows; ++row) {
            const double *a = momenta + OF_PARTICLE * receiver[row], *b = momenta + OF_PARTICLE * sender[row];
            const double eta = a[0] - b[0], turn = a[1] - b[1];
            const double phi = turn - 6.283185307179586 * std::nearbyint(turn * 0.15915494309189535);
            const double x = a[4] + b[4], y = a[5] + b[5], z = a[6] + b[6], e = a[7] + b[7];
            const double delta2 = eta * eta + phi * phi, m2 = e * e - (x * x + y * y + z * z);
            of[row] = delta2 < LEAST_DELTA2 ? LEAST_DELTA2 : delta2;
            of[ROWS + row] = a[2] + b[2];
            of[2 * ROWS + row] = m2 < LEAST_M2 ? LEAST_M2 : m2;
        }
        for (int i = 0; i < 3 * ROWS / LANES; ++i)
            reinterpret_cast<V*>(of)[i] = logarithm<T>(reinterpret_cast<V*>(of)[i]);
        for (int row = 0; row < rows; ++row) {
            const T softer = std::min(momenta[OF_PARTICLE * receiver[row] + 3], momenta[OF_PARTICLE * sender[row] + 3]);
            T* q = described.get() + OF_PAIR * row;
            q[0] = T(0.5) * of[row];
            q[1] = softer + q[0];
            q[2] = softer - of[ROWS + row];
            q[3] = of[2 * ROWS + row];
        }
    }

    // Fill the tiles with the activated layers of the pairs.
    void compute(int rows) {
        const int width = net.widths[0], stride = net.padded[0];
        T* first = tiles[0].get();
        if (momenta) describe(rows);
        for (int row = 0; row < rows; ++row) {
            const T *a = halves + 2 * receiver[row] * width, *b = halves + (2 * sender[row] + 1) * width;
            T* to = first + row * stride;
            for (int c = 0; c < width; ++c) to[c] = a[c] + b[c];
            if (momenta == nullptr) continue;
            const T *q = described.get() + OF_PAIR * row, *w = net.of_pairs.forward.get();
            for (int c = 0; c < width; ++c)
                to[c] += q[0] * w[c] + q[1] * w[stride + c] + q[2] * w[2 * stride + c] + q[3] * w[3 * stride + c];
        }
        V *vectors = reinterpret_cast<V*>(first), *before = reinterpret_cast<V*>(inputs[0].get());
        if (from_input(net.acts[0])) std::copy_n(vectors, rows * stride / LANES, before);
        if (net.acts[0] != LINEAR)
            for (int i = 0; i < rows * stride / LANES; ++i)
                vectors[i] = apply<T>(net.acts[0], net.slopes[0], vectors[i]);
        for (int k = 0; k < net.depth(); ++k) {
            const Layer<T>& layer = net.layers[k];
            const Act act = net.acts[k + 1];
            const T slope = net.slopes[k + 1];
            const V* bias = reinterpret_cast<const V*>(layer.bias.get());
            T *to = tiles[k + 1].get(), *before = from_input(act) ? inputs[k + 1].get() : nullptr;
            const int out = layer.out_padded;
            multiply(tiles[k].get(), layer.in_padded, layer.forward.get(), out, layer.in, rows,
                     [=](int row, int column, V sum) {
                         sum += bias[column];
                         if (before) reinterpret_cast<V*>(before + row * out)[column] = sum;
                         reinterpret_cast<V*>(to + row * out)[column] = apply<T>(act, slope, sum);
                     });
        }
    }

    void forward(Pairs pairs, T* sums) {
        const int width = net.widths.back(), stride = net.padded.back();
        while (int rows = pairs.take(receiver, sender)) {
            compute(rows);
            for (int row = 0; row < rows; ++row) {
                const T* from = tiles.back().get() + row * stride;
                T* to = sums + receiver[row] * width;
                for (int c = 0; c < width; ++c) to[c] += from[c];
            }
        }
    }

    // Senders may also belong to another thread: `to_senders` is this thread's share, starting at particle `first`.
    // The gradients of the layers are followed by that of the pair features.
    void backward(Pairs pairs, const T* gradient, T* to_halves, T* to_senders, int64_t first,
                  std::vector<Gradients<T>>& to_layers) {
        const int depth = net.depth();
        int tile = 0;
        std::vector<Numbers<T>> down; // gradients of the input of each layer's activation
        for (int width : net.padded) down.emplace_back(int64_t(ROWS) * width);
        while (int rows = pairs.take(receiver, sender)) {
            compute(rows);
            const int width = net.widths[depth], stride = net.padded[depth];
            for (int row = 0; row < rows; ++row)
                std::copy_n(gradient + receiver[row] * width, width, down[depth].get() + row * stride);
            V* d = reinterpret_cast<V*>(down[depth].get());
            const V* y = reinterpret_cast<const V*>(for_derivative(depth));
            for (int i = 0; i < rows * stride / LANES; ++i)
                d[i] = derive<T>(net.acts[depth], net.slopes[depth], d[i], y[i]);
            for (int k = depth - 1; k >= 0; --k) {
                const Layer<T>& layer = net.layers[k];
                const T* from = down[k + 1].get();
                add_outer(tiles[k].get(), layer.in_padded, layer.in, from, layer.out_padded, rows,
                          to_layers[k].weight.get());
                V* bias = reinterpret_cast<V*>(to_layers[k].bias.get());
                for (int row = 0; row < rows; ++row)
                    for (int c = 0; c < layer.out_padded / LANES; ++c)
                        bias[c] += reinterpret_cast<const V*>(from + row * layer.out_padded)[c];
                const Act act = net.acts[k];
                const T slope = net.slopes[k];
                const int in = layer.in_padded;
                const T* y = for_derivative(k);
                T* to = down[k].get();
                multiply(from, layer.out_padded, layer.backward.get(), in, layer.out, rows,
                         [=](int row, int column, V sum) {
                             const V result = reinterpret_cast<const V*>(y + row * in)[column];
                             reinterpret_cast<V*>(to + row * in)[column] = derive<T>(act, slope, sum, result);
                         });
            }
            if (momenta)
                add_outer(described.get(), OF_PAIR, OF_PAIR, down[0].get(), net.padded[0], rows,
                          to_layers.back().weight.get());
            const int in = net.widths[0];
            for (int row = 0; row < rows; ++row) {
                const T* from = down[0].get() + row * net.padded[0];
                T *a = to_halves + 2 * receiver[row] * in, *b = to_senders + (sender[row] - first) * in;
                for (int c = 0; c < in; ++c) {
                    a[c] += from[c];
                    b[c] += from[c];
                }
            }
            if (++tile % TILES == 0)
                for (auto& gradients : to_layers) gradients.flush();
        }
        for (auto& gradients : to_layers) gradients.flush();
    }
};

// The first receiver of each thread, such that all threads have about as many pairs.
std::vector<int64_t> shares(int64_t events, const int64_t* ptr, int threads) {
    int64_t all = 0;
    for (int64_t e = 0; e < events; ++e) all += (ptr[e + 1] - ptr[e]) * (ptr[e + 1] - ptr[e]);
    std::vector<int64_t> begin(1, 0);
    int64_t before = 0;
    for (int64_t e = 0; e < events; ++e) {
        const int64_t n = ptr[e + 1] - ptr[e];
        while (int(begin.size()) < threads && before + n * n > all / threads * int64_t(begin.size()))
            begin.push_back(ptr[e] + (all / threads * int64_t(begin.size()) - before) / n);
        before += n * n;
    }
    begin.resize(threads, ptr[events]);
    begin.push_back(ptr[events]);
    return begin;
}

// Arguments from Python: sizes, a slope for each activation, and pointers to the tensors.
template <class T> struct Arguments {
    const int threads;
    const int64_t events;
    const int depth;
    const int64_t *widths, *acts, *ptr;
    const double* momenta;   // see Worker; null together with the weight of the pair features
    const T* halves;         // of each particle as receiver, then as sender
    const T* pair_weight;
    const T* const* weights; // weight and bias of each layer
    T* const* results;       // the remaining tensors

    Arguments(const int64_t* sizes, void* const* tensors)
        : threads(sizes[0]), events(sizes[1]), depth(sizes[2]), widths(sizes + 3), acts(widths + depth + 1),
          ptr(static_cast<const int64_t*>(tensors[0])), momenta(static_cast<const double*>(tensors[1])),
          halves(static_cast<const T*>(tensors[2])), pair_weight(static_cast<const T*>(tensors[3])),
          weights(reinterpret_cast<const T* const*>(tensors + 4)),
          results(reinterpret_cast<T* const*>(tensors + 4 + 2 * depth)) {}
};

// results: the sums
template <class T> void forward(const Arguments<T>& a, const double* slopes) {
    const Network<T> net(a.depth, a.widths, a.acts, slopes, a.pair_weight, a.weights, false);
    const auto begin = shares(a.events, a.ptr, a.threads);
#pragma omp parallel for num_threads(a.threads) schedule(static, 1)
    for (int t = 0; t < a.threads; ++t)
        Worker<T>(net, a.halves, a.momenta).forward(Pairs(a.ptr, a.events, begin[t], begin[t + 1]), a.results[0]);
}

// results: the given gradient of the sums, then those of the halves, the weight of the pair features, and the weights
template <class T> void backward(const Arguments<T>& a, const double* slopes) {
    const Network<T> net(a.depth, a.widths, a.acts, slopes, a.pair_weight, a.weights, true);
    const int64_t *ptr = a.ptr, *last = ptr + a.events + 1;
    const T* gradient = a.results[0];
    T* to_halves = a.results[1];
    T* const* to_weights = a.results + 3;
    const int threads = a.threads, width = net.widths[0];
    const auto begin = shares(a.events, ptr, threads);
    std::vector<std::vector<Gradients<T>>> to_layers(threads);
    std::vector<std::vector<T>> to_senders(threads);
    std::vector<int64_t> first(threads, 0);
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int t = 0; t < threads; ++t) {
        for (const auto& layer : net.layers) to_layers[t].emplace_back(layer);
        to_layers[t].emplace_back(net.of_pairs);
        if (begin[t] == begin[t + 1]) continue;
        const int64_t from = std::upper_bound(ptr, last, begin[t]) - ptr - 1;
        const int64_t to = std::upper_bound(ptr, last, begin[t + 1] - 1) - ptr;
        first[t] = ptr[from];
        to_senders[t].resize((ptr[to] - ptr[from]) * width);
        Worker<T>(net, a.halves, a.momenta)
            .backward(Pairs(ptr, a.events, begin[t], begin[t + 1]), gradient, to_halves, to_senders[t].data(), first[t],
                      to_layers[t]);
    }
    for (int t = 0; t < threads; ++t) { // in this order, so that two runs agree
        T* to = to_halves + 2 * first[t] * width + width;
        for (std::size_t i = 0; i < to_senders[t].size(); ++i) to[i / width * 2 * width + i % width] += to_senders[t][i];
    }
    for (int k = 0; k <= net.depth(); ++k) {
        const bool of_pairs = k == net.depth();
        const Layer<T>& layer = of_pairs ? net.of_pairs : net.layers[k];
        Gradients<T>& total = to_layers[0][k];
        for (int t = 1; t < threads; ++t) {
            for (std::size_t i = 0; i < total.all_weight.size(); ++i) total.all_weight[i] += to_layers[t][k].all_weight[i];
            for (int o = 0; o < layer.out; ++o) total.all_bias[o] += to_layers[t][k].all_bias[o];
        }
        T* const to_weight = of_pairs ? a.results[2] : to_weights[2 * k];
        for (int o = 0; o < layer.out; ++o)
            for (int i = 0; i < layer.in; ++i)
                to_weight[int64_t(o) * layer.in + i] = total.all_weight[i * layer.out_padded + o];
        for (int o = 0; o < layer.out && !of_pairs; ++o) to_weights[2 * k + 1][o] = total.all_bias[o];
    }
}

} // namespace

#define EXPORT(T, NAME)                                                                                                \
    extern "C" void forward_##NAME(const int64_t* sizes, const double* slopes, void* const* tensors) {                \
        forward<T>(Arguments<T>(sizes, tensors), slopes);                                                              \
    }                                                                                                                  \
    extern "C" void backward_##NAME(const int64_t* sizes, const double* slopes, void* const* tensors) {               \
        backward<T>(Arguments<T>(sizes, tensors), slopes);                                                             \
    }

EXPORT(float, float32)
EXPORT(double, float64)
