/* Declarations that the files of the library share: how work is divided, checks, and the kernel tables. */
#ifndef NST_INTERNAL_H
#define NST_INTERNAL_H

#include "nanostep.h"
#include "prepared.h"
#include "subnormal.h"
#include "team.h"

/* Bytes of the widest vector of any instruction set, and of a cache line. Pieces of the workspace are aligned to it,
 * whichever set runs. */
#define NST_ALIGN ((size_t)64)

/* How work is divided. None of this depends on the instruction set, the precision or the number of threads. */
#define NST_GROUP         ((size_t)16) /* rows of a batch, or inputs of a layer, that form one unit of work */
#define NST_COLUMNS       ((size_t)4)  /* vectors of neurons that form a panel */
#define NST_BLOCKS        ((size_t)16) /* most parts of a large batch that are summed separately */
#define NST_MAX_TILE      ((size_t)128)
#define NST_MAX_LOOKAHEAD ((size_t)32) /* most neurons of a first layer with lookahead: nst_cursor has room for them */
#define NST_WIDE_BYTES    ((size_t)64 * 1024) /* weights of a layer from which on it is wide: they fill L1 */
#define NST_SMALL         ((size_t)16384)     /* most parameters of a small network */

/* Flop of an update above which a second thread is faster on every machine measured, some 40 us. It is used if the run
 * leaves the number of threads to the library. The barriers (0.2 us) matter less than the cache lines that threads
 * fetch from each other: 8-64-64-4 with a batch of 64, 2e6 flop, gains a quarter where two cores share a cache and
 * loses a tenth where they do not. Python measures at run time instead (nanostep.training.threads). */
#define NST_TEAM_FLOPS 4e6

#define NST_MAX_WIDTH ((size_t)INT32_MAX)

/* The odd constant and the finaliser of SplitMix64 (Steele, Lea & Flood, 2014, "Fast splittable pseudorandom number
 * generators"). */
#define NST_GAMMA UINT64_C(0x9E3779B97F4A7C15)

static inline uint64_t nst_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* *out = a * b, *out = a + b; 0 if the result does not fit. */
static inline int nst_multiply(size_t a, size_t b, size_t *out)
{
    *out = a * b;
    return a == 0 || *out / a == b;
}

static inline int nst_add(size_t a, size_t b, size_t *out)
{
    *out = a + b;
    return *out >= a;
}

/* Neurons of all layers. */
static inline size_t nst_neurons(const nst_architecture *net)
{
    size_t count = 0;
    for (size_t l = 1; l <= net->layers; l++)
        count += net->sizes[l];
    return count;
}

/* 1 if NST_BLOCKS copies of the gradient and of a tile's activations take little memory. */
static inline int nst_is_small(const nst_architecture *net)
{
    size_t parameters = 0;
    for (size_t l = 0; l < net->layers; l++) {
        if (net->sizes[l] > NST_SMALL || net->sizes[l + 1] > NST_SMALL)
            return 0;
        parameters += (net->sizes[l] + 1) * net->sizes[l + 1];
        if (parameters > NST_SMALL)
            return 0;
    }
    return 1;
}

/* Rows of a tile, which pass through all layers together. In small networks they are few enough that the activations of
 * a tile stay in L1 or L2 between forward and backward pass; in others they are more, because the weights are fetched
 * from L2 or beyond for every tile. */
static inline size_t nst_tile_rows(const nst_architecture *net)
{
    return nst_is_small(net) ? NST_MAX_TILE / 2 : NST_MAX_TILE;
}

/* 1 if an update is theta -= lr * gradient and nothing else. */
static inline int nst_is_plain(const nst_optimizer *o)
{
    return o->kind == NST_OPTIMIZER_SGD && o->momentum == 0 && o->weight_decay == 0 && o->l1 == 0 &&
           o->clip_norm == 0 && o->clip_value == 0;
}

/* A hyper-parameter of one network of a population: from the array `each` if there is one, otherwise `shared`. */
static inline double nst_hyper(const double *each, double shared, int64_t network)
{
    return each == NULL ? shared : each[network];
}

/* The hyper-parameters of one network of a population. */
static inline nst_optimizer nst_optimizer_of(const nst_optimizers *o, int64_t network)
{
    nst_optimizer own = o->shared;
    own.lr = nst_hyper(o->lr, own.lr, network);
    own.momentum = nst_hyper(o->momentum, own.momentum, network);
    own.dampening = nst_hyper(o->dampening, own.dampening, network);
    own.weight_decay = nst_hyper(o->weight_decay, own.weight_decay, network);
    own.alpha = nst_hyper(o->alpha, own.alpha, network);
    own.eps = nst_hyper(o->eps, own.eps, network);
    own.beta1 = nst_hyper(o->beta1, own.beta1, network);
    own.beta2 = nst_hyper(o->beta2, own.beta2, network);
    own.l1 = nst_hyper(o->l1, own.l1, network);
    own.clip_norm = nst_hyper(o->clip_norm, own.clip_norm, network);
    own.clip_value = nst_hyper(o->clip_value, own.clip_value, network);
    return own;
}

/* 1 if targets that are NaN count for nothing. */
static inline int nst_ignores_nan(const nst_architecture *net)
{
    return net->loss_options != NULL && net->loss_options->ignore_nan != 0;
}

/* 1 if a run uses no option but the order of samples and learning rates. */
static inline int nst_is_simple(const nst_run *run)
{
    return run->dropout == NULL && run->layer_rates == NULL && run->smoothing == 0 && run->alpha == 0 &&
           run->log_clip_min == 0 && (run->scale == 0 || run->scale == 1);
}

/* Regime of an update from `rows` samples; plain, tiny, small: properties of optimiser and run, and of the network. */
static inline nst_regime nst_regime_of(int plain, int tiny, int small, size_t tile, size_t rows)
{
    if (plain && rows == 1)
        return tiny ? NST_REGIME_TINY : NST_REGIME_SAMPLES;
    return small && rows > tile ? NST_REGIME_BLOCKS : NST_REGIME_TILES;
}

/* Rows of a block, in the regime of blocks. */
static inline size_t nst_block_rows(size_t tile, size_t rows)
{
    const size_t tiles = (rows + tile - 1) / tile;
    return (tiles + NST_BLOCKS - 1) / NST_BLOCKS * tile;
}

/* -- Checks that do not depend on the precision -------------------------------------------------------------------- */

/* 1 if a number is finite and >= 0. */
int nst_is_amount(double value);

nst_status nst_check_architecture(const nst_architecture *net);
nst_status nst_check_loss(int32_t loss, const nst_loss_options *options, int32_t output, size_t outputs);
nst_status nst_check_optimizer(const nst_optimizer *optimizer, size_t slot_count);

/* Checks that slot_count fits the networks `index` of a population, and that their updates are plain if `plain` is
 * 1. */
nst_status nst_check_optimizers(const nst_optimizers *optimizers, const int64_t *index, size_t count, size_t slot_count,
                                int plain);
nst_status nst_check_run(const nst_architecture *net, const nst_run *run, const nst_cursor *cursor, size_t n);

/* -- Rows ---------------------------------------------------------------------------------------------------------- */

/* z and a hold all layers, one after the other; d holds the deltas of two. */
struct nst_row {
    nst_architecture net;     /* its arrays are copies, in the same memory */
    nst_loss_options options; /* a copy, if net has options */
    size_t real_size, parameters;
    void *z, *a, *d;
    size_t widest; /* elements of one layer's part of d */
};

nst_status nst_row_size(const nst_architecture *net, size_t real_size, size_t *bytes);
nst_status nst_row_open(const nst_architecture *net, size_t real_size, void *memory, size_t bytes, nst_row **row);

/* -- Prepared networks --------------------------------------------------------------------------------------------- */

#define NST_MAX_SLOTS ((size_t)3)

struct nst_prepared {
    const nst_architecture *from;
    const void *table; /* the kernels that have laid it out */
    void *memory;      /* of the caller */
    size_t bytes;
    void *net;       /* the packed form: K(net) in layout.inc */
    void *theta__p;  /* what its parameters are, in the public layout */
    int has_theta;   /* 0 before the first call */
    void *slots__sp; /* where the slots that are kept belong, in the public layout; null if there are none */
    size_t slot_count;
    uint64_t tapes; /* forward passes that were given a number */
    uint64_t tape;  /* the one whose activations are there, or 0 */
    int32_t isa;
};

/* -- Kernel tables ------------------------------------------------------------------------------------------------- */

/* Every function of nanostep_real.h and prepared_real.h that an instruction set implements. */
#define NST_KERNELS(X)            \
    X(activate)                   \
    X(activation_derivative)      \
    X(dense_forward)              \
    X(dense_backward_input)       \
    X(dense_backward_weights)     \
    X(loss_value)                 \
    X(loss_derivative)            \
    X(output_delta)               \
    X(update)                     \
    X(apply)                      \
    X(workspace_size)             \
    X(predict_row)                \
    X(step_row)                   \
    X(predict)                    \
    X(loss)                       \
    X(gradient)                   \
    X(jacobian)                   \
    X(vjp)                        \
    X(choose)                     \
    X(train)                      \
    X(prepared_size)              \
    X(prepared_open)              \
    X(prepared_update)            \
    X(prepared_store)             \
    X(prepared_predict)           \
    X(prepared_loss)              \
    X(prepared_gradient)          \
    X(prepared_vjp)               \
    X(population_workspace_size)  \
    X(population_train)           \
    X(population_evaluation_size) \
    X(population_predict)         \
    X(population_loss)

#define NST_F32_MEMBER(name) __typeof__(nst_f32_##name) *name;
#define NST_F64_MEMBER(name) __typeof__(nst_f64_##name) *name;

typedef struct nst_f32_table {
    NST_KERNELS(NST_F32_MEMBER)
} nst_f32_table;

typedef struct nst_f64_table {
    NST_KERNELS(NST_F64_MEMBER)
} nst_f64_table;

extern const nst_f32_table nst_f32_baseline, nst_f32_avx2, nst_f32_avx512;
extern const nst_f64_table nst_f64_baseline, nst_f64_avx2, nst_f64_avx512;

/* The table for a checked network, or for single operations (null); null if there is none (NST_E_ISA). */
const nst_f32_table *nst_f32_kernels(const nst_architecture *net);
const nst_f64_table *nst_f64_kernels(const nst_architecture *net);

#if defined(__x86_64__) && defined(__GNUC__)
#define NST_X86 1
#else
#define NST_X86 0
#endif

#endif
