/* nanostep: trains small dense neural networks on the CPU by repeated SGD steps.
 *
 * The one public header. Two precisions live side by side: nst_f32_* works on float, nst_f64_* on double; their
 * prototypes are written once, in nanostep_real.h.
 *
 * Conventions. Layer l computes z = W a + b and a = f(z). theta is one flat array: for each layer W (out x in,
 * row-major), then b. Array names carry their axes: x__bi is (batch, inputs). Arrays are contiguous and belong to the
 * caller, and so does the workspace; a *_size function says how large it must be. The arrays of one call must not
 * overlap unless stated otherwise. Every function returns a status and, unless that is NST_OK, has written nothing
 * (exceptions are stated). The library allocates nothing, prints nothing, never exits, and keeps no state but the
 * choice of instruction set. Threads run only in a pool that the caller starts and stops, in memory that the caller
 * owns. Calls from several threads are safe as long as they write to different arrays; they may share a pool. */
#ifndef NANOSTEP_H
#define NANOSTEP_H

#include <stddef.h>
#include <stdint.h>

#define NANOSTEP_VERSION "0.1.0"

#if defined(NST_SHARED) && defined(_WIN32)
#define NST_API __declspec(dllimport)
#elif defined(__GNUC__)
#define NST_API __attribute__((visibility("default")))
#else
#define NST_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* cdef: begin (bindings/build_ffi.py also reads the text between these marks) */

typedef enum nst_status {
    NST_OK = 0,
    NST_E_NULL,       /* a required pointer is null */
    NST_E_SIZE,       /* a size is zero or out of range */
    NST_E_OVERFLOW,   /* a size computed from the arguments does not fit into size_t */
    NST_E_ACTIVATION, /* unknown activation, or one that is not allowed in this layer */
    NST_E_LOSS,       /* unknown loss, or one that does not fit the output activation */
    NST_E_OPTIMIZER,  /* unknown optimiser, or the wrong number of slots for it */
    NST_E_VALUE,      /* a number is not finite, or outside its range */
    NST_E_LABEL,      /* a class label is not in [0, outputs) */
    NST_E_CURSOR,     /* the cursor does not describe a place in the run */
    NST_E_WORKSPACE,  /* the workspace is smaller than nst_*_workspace_size says */
    NST_E_ISA,        /* instruction set unknown, not compiled in, or not on this machine */
    NST_E_THREADS,    /* a worker thread could not be started, or the pool is busy or stopped */
    NST_E_CANCELLED,  /* *cancel was set; the results are complete up to the last update */
    NST_STATUS_COUNT
} nst_status;

typedef enum nst_activation {
    NST_ACTIVATION_IDENTITY = 0,
    NST_ACTIVATION_SIGMOID,
    NST_ACTIVATION_TANH,
    NST_ACTIVATION_RELU,
    NST_ACTIVATION_LEAKY_RELU,
    NST_ACTIVATION_ELU,
    NST_ACTIVATION_SOFTPLUS,
    NST_ACTIVATION_SILU,
    NST_ACTIVATION_SOFTMAX, /* output layer only */
    NST_ACTIVATION_COUNT
} nst_activation;

typedef enum nst_loss {
    NST_LOSS_HALF_SQUARED_ERROR = 0,
    NST_LOSS_SQUARED_ERROR,
    NST_LOSS_ABSOLUTE_ERROR,
    NST_LOSS_HUBER,
    NST_LOSS_BINARY_CROSS_ENTROPY,
    NST_LOSS_CROSS_ENTROPY,
    NST_LOSS_POISSON,
    NST_LOSS_QUANTILE,     /* several outputs for each target, see nst_loss_options */
    NST_LOSS_GAUSSIAN_NLL, /* two outputs for each target; identity output */
    NST_LOSS_CUSTOM,       /* a function of the caller's; not for rows, populations and single operations */
    NST_LOSS_COUNT
} nst_loss;

typedef enum nst_optimizer_kind {
    NST_OPTIMIZER_SGD = 0,
    NST_OPTIMIZER_RMSPROP,
    NST_OPTIMIZER_ADAM,
    NST_OPTIMIZER_ADAMW,
    NST_OPTIMIZER_COUNT
} nst_optimizer_kind;

typedef enum nst_isa {
    NST_ISA_BASELINE = 0, /* what the compiler targets by default: SSE2 on x86-64 */
    NST_ISA_AVX2,         /* AVX2 and FMA */
    NST_ISA_AVX512,       /* AVX-512 F, DQ and VL */
    NST_ISA_COUNT
} nst_isa;

/* A loss of the caller's: of n rows of outputs a and targets y, all without gaps, the loss of each row and its derivatives
 * by the outputs, before those of the output activation. It is called for some rows of a batch at a time and, if the
 * run has several threads, from all of them; a row's results depend on no other row. */
typedef void nst_f32_loss_function(const float *a__no, const float *y__no, size_t n, size_t outputs, float *loss__n,
                                   float *da__no, void *user);
typedef void nst_f64_loss_function(const double *a__no, const double *y__no, size_t n, size_t outputs, double *loss__n,
                                   double *da__no, void *user);

/* Options of a loss. Fields that a loss does not have are not read; 0 or null means the default.
 *
 * Rows of y are as wide as the outputs: where a target has several outputs, it is repeated for each of them. quantile:
 * the outputs of one target are side by side, one for each quantile. gaussian_nll: first the means of all targets, then
 * the logarithms of their variances. */
typedef struct nst_loss_options {
    double delta;              /* huber: |a - y| up to which it is quadratic; 0 counts as 1 */
    size_t quantiles;          /* quantile: their number, of which the number of outputs is a multiple */
    const double *quantile__q; /* each in (0, 1) */
    int32_t ignore_nan; /* 1: targets that are NaN add nothing to loss and gradient; not for rows and populations */
    nst_f32_loss_function *custom_f32; /* custom: for the calls of one precision */
    nst_f64_loss_function *custom_f64;
    void *user; /* custom: passed on */
} nst_loss_options;

/* A network: sizes[0] inputs, sizes[layers] outputs, activations[l] of weight layer l. */
typedef struct nst_architecture {
    size_t layers;
    const size_t *sizes;                  /* layers + 1 */
    const int32_t *activations;           /* layers, each an nst_activation */
    int32_t loss;                         /* an nst_loss */
    const nst_loss_options *loss_options; /* null: the defaults */
} nst_architecture;

/* Hyper-parameters. The formulas are those of PyTorch 2.x, written out in nanostep.optimizers (Python). Flags are 0 or
 * 1; for l1, clip_norm and clip_value 0 means off, and the last two exclude each other. Fields that an optimiser does
 * not have are not read.
 * Slots, in order: sgd: momentum buffer if momentum != 0; rmsprop: square average, momentum buffer if momentum != 0,
 * gradient average if centered; adam and adamw: first moment, second moment, largest second moment if amsgrad. */
typedef struct nst_optimizer {
    int32_t kind; /* an nst_optimizer_kind */
    double lr, momentum, dampening, nesterov, weight_decay, alpha, centered, eps, beta1, beta2, amsgrad, l1, clip_norm,
        clip_value, velocity_with_rate, epsilon_hat;
} nst_optimizer;

/* Hyper-parameters of the networks of a population: those of `shared`, except for fields whose array is not null. Such
 * an array has one entry per network. */
typedef struct nst_optimizers {
    nst_optimizer shared;
    const double *lr, *momentum, *dampening, *weight_decay, *alpha, *eps, *beta1, *beta2, *l1, *clip_norm, *clip_value;
} nst_optimizers;

/* A pool of worker threads. */
typedef struct nst_pool nst_pool;

/* A handle for predictions and steps on one sample at a time; see nst_*_row_open. */
typedef struct nst_row nst_row;

/* Configuration of a run: constant from its first call to its last, except for the rates. 0 or null means off. */
typedef struct nst_run {
    size_t batch;          /* samples per update, 1 to n; the last batch of an epoch has what is left */
    uint64_t seed;         /* of the sample order and of dropout */
    int32_t shuffle;       /* 0: samples in the order given */
    int32_t custom_order;  /* 1, without shuffle: samples in the order that the caller has put into cursor->order */
    int32_t threads;       /* most threads to use, including the calling one; 0: the library chooses */
    int32_t batch_mean;    /* 1: a batch is divided by the sum of its weights instead of the number of its samples */
    const int32_t *cancel; /* null, or set to nonzero by another thread to end the call: NST_E_CANCELLED */
    nst_pool *pool;        /* the workers; null: the calling thread alone */
    const double *rates;   /* learning rate of each of the call's steps, >= 0, in place of the optimiser's */
    const double *dropout; /* for each hidden layer the probability that a unit is dropped, in [0, 1) */
    /* For each layer the factor, >= 0, of every change of its part of theta. Where it is 0, theta and slots stay as they
     * are, and the gradient counts as 0 in the norm that is clipped. */
    const double *layer_rates;
    double smoothing; /* in [0, 1): labels stand for (1 - smoothing) * one-hot row + smoothing / outputs */
    double alpha; /* L2 penalty added to the sum of a batch: alpha / 2 * the squares of the weights, not of biases */
    double log_clip_min; /* < 0: reported losses that are joined with their output clip log-probabilities from below */
    double scale;        /* factor of the loss, not of the penalty, in the gradient; 0 counts as 1 */
} nst_run;

/* The position of a run, which nst_*_train moves on. A run may be cut into calls anywhere without changing a bit. */
typedef struct nst_cursor {
    int64_t *order;     /* n entries if the run shuffles or has a custom order, otherwise not used */
    uint64_t epoch;     /* epochs completed since the optimiser state was fresh */
    size_t row;         /* samples of the current epoch used so far */
    uint64_t updates;   /* updates made since the optimiser state was fresh */
    double loss_sum;    /* over the batches of this epoch so far: number of samples times mean loss */
    double penalty_sum; /* likewise: number of samples times penalty */
    int32_t isa;        /* out: the nst_isa that the kernel was compiled for */
    int32_t threads;    /* out: how many threads ran, including the calling one */
    /* What the kernels for single samples keep between two calls: 0 at the start of a run. Set lookahead_row to 0 after
     * changing theta between two calls. */
    struct {
        double pending_product, loss_before; /* loss_sum = loss_before + log(pending_product); 0: none pending */
        size_t lookahead_row;                /* the row that lookahead_z is for */
        double lookahead_z[32];              /* z of the first layer for that row */
    } backend_state;
} nst_cursor;

/* The kernels that make the updates of a run. */
typedef enum nst_regime {
    NST_REGIME_TINY = 0, /* single samples, two layers and one output, all in registers */
    NST_REGIME_SAMPLES,  /* single samples */
    NST_REGIME_TILES,    /* batches: tiles of rows one after another, all threads work on the same tile */
    NST_REGIME_BLOCKS,   /* large batches of small networks: each thread works on blocks of tiles of its own */
    NST_REGIME_COUNT
} nst_regime;

/* The choice of kernels for a run; see nst_*_choose. */
typedef struct nst_plan {
    int32_t regime;  /* an nst_regime */
    int32_t isa;     /* an nst_isa */
    int32_t threads; /* including the calling one */
    size_t lanes;    /* elements of a vector */
    size_t panel;    /* neurons whose weights are stored together and assigned to one thread together */
    size_t tile;     /* rows of a batch that pass through the layers together */
    size_t blocks;   /* parts of a batch that are summed separately; 1 unless the regime is blocks */
    double flops;    /* of one update: 2 per weight, sample and product, padding not counted */
} nst_plan;

NST_API const char *nst_version(void);
NST_API const char *nst_compiler(void);
NST_API const char *nst_status_message(nst_status status);

/* Name of an instruction set ("baseline", "avx2", "avx512"), or null. */
NST_API const char *nst_isa_name(nst_isa isa);

/* 1 if the instruction set is compiled in and this machine supports it. */
NST_API int nst_isa_available(nst_isa isa);

/* Use this instruction set from now on, in all threads, for everything. Without such a call the library uses the one
 * that the environment variable NANOSTEP_ISA names, or else the widest that is available; in the latter case networks
 * that are too narrow for it run on the next narrower one (nst_cursor.isa says which set ran). */
NST_API nst_status nst_isa_select(nst_isa isa);

/* The instruction set in use. NST_E_ISA if NANOSTEP_ISA names one that cannot be used. */
NST_API nst_status nst_isa_current(nst_isa *isa);

/* Check an architecture and count its parameters. */
NST_API nst_status nst_parameter_count(const nst_architecture *net, size_t *count);

/* Bytes of memory that a pool of `threads` threads needs, 1 to 2^16. The calling thread counts as one of them. */
NST_API nst_status nst_pool_size(int32_t threads, size_t *bytes);

/* Start threads - 1 worker threads for the calls whose nst_run.pool is this one; idle workers sleep. A pool serves one
 * call at a time: a call that finds it busy runs on its own thread alone and does not wait. After fork() the child may
 * go on using the pool in its runs, but its calls run on one thread. NST_E_THREADS if not all threads could be started
 * (those that were are stopped again) or the system has no POSIX threads. */
NST_API nst_status nst_pool_start(int32_t threads, void *memory, size_t bytes, nst_pool **pool);

/* Stop the workers; the memory may then be freed. NST_E_THREADS if the pool is busy or was stopped before. In the child
 * of a fork there is nothing to stop. */
NST_API nst_status nst_pool_stop(nst_pool *pool);

/* order = the permutation of 0..n-1 that belongs to (seed, epoch): a Fisher-Yates shuffle whose draws are hashes
 * (SplitMix64) of seed, epoch and position, made uniform by Lemire's method. n <= 2^32. */
NST_API nst_status nst_shuffle(uint64_t seed, uint64_t epoch, size_t n, int64_t *order__n);

/* cdef: end */

#define REAL      float
#define NST(name) nst_f32_##name
#include "nanostep_real.h"
#undef NST
#undef REAL

#define REAL      double
#define NST(name) nst_f64_##name
#include "nanostep_real.h"
#undef NST
#undef REAL

#ifdef __cplusplus
}
#endif

#endif
