// The library's functions. No part of it depends on Python or on torch: plain pointers in, plain pointers out.
#include "depformer.h"
#include "layers.h"
#include "sampling.h"

using namespace antiphon;

namespace {

Workspace& work() {
    thread_local Workspace work;
    return work;
}

// For a call over rows that have adapters in these places, see RowsByPlace.
Workspace& work(const int64_t* places, int64_t rows) {
    work().adapted.set(places, rows);
    return work();
}

}  // namespace

extern "C" {

// Of all calls, `places` [rows] are those of the rows' adapters, −1 for none; null where no row has any.

// y [rows, outputs] = x [rows, inputs] · weightᵀ · scale.
void antiphon_matmul(const Matrix* matrix, const int64_t* places, const float* x, int64_t rows, int64_t digits,
                     int64_t threads, float* y) {
    multiply(threads, *matrix, x, rows, digits, work(places, rows), y);
}

// x [rows, dim] = the sum of the tables' vectors of tokens [rows, tables]; a negative token has none.
void antiphon_embed(const Table* tables, int64_t count, const int64_t* tokens, int64_t rows, int64_t dim, float* x) {
    std::fill(x, x + rows * dim, 0.0f);
    for (int64_t row = 0; row < rows; ++row) {
        for (int64_t i = 0; i < count; ++i) add_vector(tables[i], tokens[row * count + i], dim, x + row * dim);
    }
}

// Runs the layers on x [rows, dim], in place; rotation is [2, rows, width / 2] cosines and sines, or null.
void antiphon_layers(const Stack* stack, const KvPointers* kv, const KvSpan* spans, const int64_t* places,
                     const float* rotation, int64_t rows, int64_t threads, float* x) {
    run(*stack, *kv, spans, rotation, rows, threads, work(places, rows), x);
}

// tokens [rows], drawn from logits [rows, n]; keys, temperature and top_k are [rows].
void antiphon_draw(const float* logits, int64_t n, const int64_t* keys, const float* temperature, const int64_t* top_k,
                   int64_t rows, int64_t* tokens) {
    for (int64_t row = 0; row < rows; ++row) {
        tokens[row] = draw(logits + row * n, n, keys[row], temperature[row], top_k[row], work().candidates);
    }
}

// codes [codebooks, rows] after the text tokens [rows], and the logits [codebooks, rows, n] that they are drawn from;
// hidden is [rows, inputs], keys [rows, codebooks], temperature and top_k [rows]. A code of forced [rows, codebooks]
// that is not ungenerated takes the place of the drawn one; forced may be null.
void antiphon_codes(const Depformer* depformer, const KvPointers* kv, const int64_t* places, const float* hidden,
                    const int64_t* text, const int64_t* keys, const float* temperature, const int64_t* top_k,
                    const int64_t* forced, int64_t rows, int64_t threads, int64_t* codes, float* logits) {
    draw_codes(*depformer, *kv, hidden, text, keys, temperature, top_k, forced, rows, threads, work(places, rows),
               codes, logits);
}

}  // extern "C"
