/* What the files of the library share: the layout of a network in the kernels' private form, and the kernel tables. */
#ifndef NST_INTERNAL_H
#define NST_INTERNAL_H

#include "nanostep.h"

/* Widest vector of any instruction set. The private layout is padded to it, whatever set runs, so that the size of a
 * workspace does not depend on the machine. */
#define NST_ALIGN ((size_t)64)

/* Rows that go through all layers together. 64 rows of 64 floats are 16 KiB per layer: a tile's activations stay in L1
 * or L2 between forward and backward. */
#define NST_TILE ((size_t)64)

#define NST_MAX_WIDTH ((size_t)INT32_MAX)

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

/* -- Checks that do not depend on the precision -------------------------------------------------------------------- */

nst_status nst_check_architecture(const nst_architecture *net);
nst_status nst_check_output(int32_t loss, int32_t output);
nst_status nst_check_optimizer(const nst_optimizer *optimizer, size_t slot_count);
nst_status nst_check_plan(const nst_plan *plan, const nst_cursor *cursor, size_t n);

/* -- Kernel tables ------------------------------------------------------------------------------------------------- */

/* Every function of nanostep_real.h that an instruction set implements. */
#define NST_KERNELS(X)        \
    X(activate)               \
    X(activation_derivative)  \
    X(dense_forward)          \
    X(dense_backward_input)   \
    X(dense_backward_weights) \
    X(loss_value)             \
    X(loss_derivative)        \
    X(output_delta)           \
    X(update)                 \
    X(workspace_size)         \
    X(predict_row)            \
    X(step_row)               \
    X(predict)                \
    X(loss)                   \
    X(gradient)               \
    X(train)

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
