/* Shared by the tests of populations: networks, data, and the arguments of a call. */
#ifndef POPULATION_H
#define POPULATION_H

#include "check.h"

#include <math.h>

enum { NETWORKS = 21, ROWS = 30, INPUTS = 3, HIDDEN = 5, OUTPUTS = 2, EPOCHS = 2, SLOTS = 2 };
enum { PARAMETERS = HIDDEN * (INPUTS + 1) + OUTPUTS * (HIDDEN + 1) };

static const size_t sizes[] = {INPUTS, HIDDEN, OUTPUTS};
static const int32_t activations[] = {NST_ACTIVATION_TANH, NST_ACTIVATION_SOFTMAX};
static const nst_architecture net = {2, sizes, activations, NST_LOSS_CROSS_ENTROPY, NULL};

/* The arguments of a call, and its results. */
typedef struct call {
    double theta[NETWORKS * PARAMETERS], slots[NETWORKS * SLOTS * PARAMETERS], x[ROWS * INPUTS];
    double loss[NETWORKS * EPOCHS], penalty[NETWORKS * EPOCHS], weight[NETWORKS * ROWS], alpha[NETWORKS];
    int64_t order[EPOCHS * ROWS], index[NETWORKS], labels[ROWS], rows[NETWORKS * ROWS];
    double lr[NETWORKS], rates[NETWORKS * EPOCHS * ROWS],
        extra[NETWORKS]; /* extra: values of another hyper-parameter */
    nst_optimizers optimizers;
    uint8_t done[NETWORKS];
    nst_run run;
    size_t slot_count, count;
    size_t steps;
    int with_rows, plain, with_options; /* options: weights, penalties, scale, and a custom order */
    int with_rates;                     /* rates__ks, of each network and update */
    int32_t threads;
    size_t missing; /* bytes by which the workspace is too small */
} call;

static inline call *make_call(nst_optimizer_kind kind, size_t batch, int with_rows)
{
    call *const c = calloc(1, sizeof *c);
    for (int i = 0; i < NETWORKS * PARAMETERS; i++)
        c->theta[i] = 0.7 * sin(12.9898 * i);
    for (int i = 0; i < ROWS * INPUTS; i++)
        c->x[i] = cos(78.233 * i);
    for (int i = 0; i < ROWS; i++)
        c->labels[i] = i % OUTPUTS;
    for (int m = 0; m < NETWORKS; m++) {
        c->index[m] = m;
        c->lr[m] = 0.01 * (m + 1);
        for (int n = 0; n < ROWS; n++)
            c->rows[m * ROWS + n] = (n * 7 + m) % ROWS;
        for (int n = 0; n < ROWS; n++)
            c->weight[m * ROWS + n] = (n + m) % 4 * 0.5;
        c->alpha[m] = 0.01 * m;
    }
    for (int n = 0; n < EPOCHS * ROWS; n++)
        c->order[n] = n % ROWS * 11 % ROWS;
    c->optimizers.shared = (nst_optimizer){.kind = (int32_t)kind,
                                           .beta1 = 0.9,
                                           .beta2 = 0.99,
                                           .eps = 1e-6,
                                           .weight_decay = kind == NST_OPTIMIZER_ADAMW ? 0.1 : 0};
    c->optimizers.lr = c->lr;
    c->run = (nst_run){.batch = batch, .shuffle = 1, .seed = 5};
    c->steps = batch == 0 ? 0 : EPOCHS * ((ROWS + batch - 1) / batch);
    for (size_t i = 0; i < NETWORKS * c->steps; i++)
        c->rates[i] = 0.1 + 0.09 * sin(2.7 * (double)i);
    c->slot_count = kind == NST_OPTIMIZER_SGD ? 0 : SLOTS;
    c->count = NETWORKS;
    c->with_rows = with_rows;
    c->plain = kind == NST_OPTIMIZER_SGD;
    return c;
}

/* The samples of network m. */
static inline void gather_rows(const call *c, int m, double *x, int64_t *labels)
{
    for (int n = 0; n < ROWS; n++) {
        const int64_t row = c->with_rows ? c->rows[m * ROWS + n] : n;
        memcpy(x + n * INPUTS, c->x + row * INPUTS, sizeof(double) * INPUTS);
        labels[n] = c->labels[row];
    }
}

#endif
