/* The memory of a row: the struct, copies of the architecture's arrays, z, a and d. */
#include "internal.h"

#include <string.h>

/* Offsets of the parts from an aligned start, each a multiple of NST_ALIGN. */
typedef struct places {
    size_t sizes, activations, quantiles, z, a, d, end;
    size_t widest;
} places;

static size_t aligned(size_t bytes)
{
    return (bytes + NST_ALIGN - 1) / NST_ALIGN * NST_ALIGN;
}

/* The number of quantiles to copy; of a checked architecture they are at most as many as outputs. */
static size_t quantiles_of(const nst_architecture *net)
{
    return net->loss == NST_LOSS_QUANTILE ? net->loss_options->quantiles : 0;
}

/* The parameter count of a checked architecture fits into SIZE_MAX / 256, and so do these sums, which are smaller. */
static places place_parts(const nst_architecture *net, size_t real_size)
{
    places at = {.sizes = aligned(sizeof(nst_row))};
    const size_t total = nst_neurons(net);
    for (size_t l = 1; l <= net->layers; l++)
        at.widest = net->sizes[l] > at.widest ? net->sizes[l] : at.widest;
    at.activations = at.sizes + aligned((net->layers + 1) * sizeof net->sizes[0]);
    at.quantiles = at.activations + aligned(net->layers * sizeof net->activations[0]);
    at.z = at.quantiles + aligned(quantiles_of(net) * sizeof(double));
    at.a = at.z + aligned(total * real_size);
    at.d = at.a + aligned(total * real_size);
    at.end = at.d + aligned(2 * at.widest * real_size);
    return at;
}

nst_status nst_row_size(const nst_architecture *net, size_t real_size, size_t *bytes)
{
    const nst_status status = nst_check_architecture(net);
    if (status != NST_OK)
        return status;
    if (bytes == NULL)
        return NST_E_NULL;
    *bytes = NST_ALIGN + place_parts(net, real_size).end;
    return NST_OK;
}

nst_status nst_row_open(const nst_architecture *net, size_t real_size, void *memory, size_t bytes, nst_row **out)
{
    size_t needed;
    const nst_status status = nst_row_size(net, real_size, &needed);
    if (status != NST_OK)
        return status;
    if (memory == NULL || out == NULL)
        return NST_E_NULL;
    if (bytes < needed)
        return NST_E_WORKSPACE;

    char *const start = (char *)memory + (NST_ALIGN - (uintptr_t)memory % NST_ALIGN) % NST_ALIGN;
    const places at = place_parts(net, real_size);
    size_t *const sizes = (size_t *)(start + at.sizes);
    int32_t *const activations = (int32_t *)(start + at.activations);
    memcpy(sizes, net->sizes, (net->layers + 1) * sizeof sizes[0]);
    memcpy(activations, net->activations, net->layers * sizeof activations[0]);
    nst_row *const row = (nst_row *)start;
    *row = (nst_row){.net = {net->layers, sizes, activations, net->loss, NULL},
                     .real_size = real_size,
                     .z = start + at.z,
                     .a = start + at.a,
                     .d = start + at.d,
                     .widest = at.widest};
    if (net->loss_options != NULL) {
        row->options = *net->loss_options;
        row->net.loss_options = &row->options;
        if (net->loss == NST_LOSS_QUANTILE) {
            double *const quantiles = (double *)(void *)(start + at.quantiles);
            memcpy(quantiles, net->loss_options->quantile__q, quantiles_of(net) * sizeof quantiles[0]);
            row->options.quantile__q = quantiles;
        }
    }
    (void)nst_parameter_count(net, &row->parameters);
    *out = row;
    return NST_OK;
}
