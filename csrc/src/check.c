/* Checks of arguments that do not depend on the precision. */
#include <float.h>

#include "internal.h"

nst_status nst_check_loss(int32_t loss, const nst_loss_options *options, int32_t output, size_t outputs)
{
    if (loss < 0 || loss >= NST_LOSS_COUNT)
        return NST_E_LOSS;
    if (output < 0 || output >= NST_ACTIVATION_COUNT)
        return NST_E_ACTIVATION;
    const int is_softmax = output == NST_ACTIVATION_SOFTMAX;
    if (loss == NST_LOSS_CROSS_ENTROPY && !is_softmax)
        return NST_E_LOSS;
    if (loss == NST_LOSS_BINARY_CROSS_ENTROPY && !is_softmax && output != NST_ACTIVATION_SIGMOID)
        return NST_E_LOSS;
    if (loss == NST_LOSS_GAUSSIAN_NLL && (output != NST_ACTIVATION_IDENTITY || outputs % 2 != 0))
        return NST_E_LOSS;
    if (loss == NST_LOSS_QUANTILE && (options == NULL || options->quantile__q == NULL || options->quantiles == 0 ||
                                      outputs % options->quantiles != 0))
        return NST_E_LOSS;
    if (loss == NST_LOSS_CUSTOM && (options == NULL || (options->custom_f32 == NULL && options->custom_f64 == NULL)))
        return NST_E_LOSS;
    if (loss == NST_LOSS_CUSTOM && options->ignore_nan)
        return NST_E_LOSS;
    for (size_t q = 0; loss == NST_LOSS_QUANTILE && q < options->quantiles; q++)
        if (!(options->quantile__q[q] > 0 && options->quantile__q[q] < 1))
            return NST_E_VALUE;
    if (options != NULL && (!nst_is_amount(options->delta) || options->ignore_nan < 0 || options->ignore_nan > 1))
        return NST_E_VALUE;
    return NST_OK;
}

nst_status nst_parameter_count(const nst_architecture *net, size_t *count)
{
    if (count == NULL)
        return NST_E_NULL;
    const nst_status status = nst_check_architecture(net);
    if (status != NST_OK)
        return status;
    size_t total = 0;
    for (size_t l = 0; l < net->layers; l++)
        total += net->sizes[l + 1] * (net->sizes[l] + 1);
    *count = total;
    return NST_OK;
}

/* Also bounds the parameter count: three doubles per parameter and slot must fit into size_t. */
nst_status nst_check_architecture(const nst_architecture *net)
{
    if (net == NULL || net->sizes == NULL || net->activations == NULL)
        return NST_E_NULL;
    if (net->layers == 0 || net->layers > (size_t)INT32_MAX)
        return NST_E_SIZE;
    size_t total = 0;
    for (size_t l = 0; l <= net->layers; l++)
        if (net->sizes[l] == 0 || net->sizes[l] > NST_MAX_WIDTH)
            return NST_E_SIZE;
    for (size_t l = 0; l < net->layers; l++) {
        const int last = l + 1 == net->layers;
        if (net->activations[l] < 0 || net->activations[l] >= NST_ACTIVATION_COUNT)
            return NST_E_ACTIVATION;
        if (!last && net->activations[l] == NST_ACTIVATION_SOFTMAX)
            return NST_E_ACTIVATION;
        size_t parameters;
        if (!nst_multiply(net->sizes[l + 1], net->sizes[l] + 1, &parameters) || !nst_add(total, parameters, &total))
            return NST_E_OVERFLOW;
    }
    if (total > SIZE_MAX / 256)
        return NST_E_OVERFLOW;
    return nst_check_loss(net->loss, net->loss_options, net->activations[net->layers - 1], net->sizes[net->layers]);
}

/* The number of slots that an optimiser keeps, with or without one for momentum. */
static nst_status slots_of(const nst_optimizer *o, int with_momentum, size_t *slots)
{
    switch (o->kind) {
    case NST_OPTIMIZER_SGD:
        *slots = (size_t)with_momentum;
        return NST_OK;
    case NST_OPTIMIZER_RMSPROP:
        *slots = 1 + (size_t)with_momentum + (size_t)(o->centered != 0);
        return NST_OK;
    case NST_OPTIMIZER_ADAM:
    case NST_OPTIMIZER_ADAMW:
        *slots = 2 + (size_t)(o->amsgrad != 0);
        return NST_OK;
    default:
        return NST_E_OPTIMIZER;
    }
}

nst_status nst_check_optimizer(const nst_optimizer *o, size_t slot_count)
{
    size_t expected;
    if (o == NULL)
        return NST_E_NULL;
    if (o->clip_norm != 0 && o->clip_value != 0)
        return NST_E_VALUE;
    const nst_status status = slots_of(o, o->momentum != 0, &expected);
    if (status != NST_OK)
        return status;
    return slot_count == expected ? NST_OK : NST_E_OPTIMIZER;
}

/* 1 if a hyper-parameter is not 0 for any of the networks in `index`. */
static int any(const double *each, double shared, const int64_t *index, size_t count)
{
    int found = each == NULL && shared != 0;
    for (size_t k = 0; each != NULL && k < count; k++)
        found |= each[index[k]] != 0;
    return found;
}

nst_status nst_check_optimizers(const nst_optimizers *o, const int64_t *index, size_t count, size_t slot_count,
                                int plain)
{
    const nst_optimizer *const shared = &o->shared;
    size_t least, most;
    const nst_status status = slots_of(shared, 0, &least);
    if (status != NST_OK)
        return status;
    (void)slots_of(shared, 1, &most);
    const int by_norm = any(o->clip_norm, shared->clip_norm, index, count);
    const int by_value = any(o->clip_value, shared->clip_value, index, count);
    for (size_t k = 0; by_norm && by_value && k < count; k++)
        if (nst_hyper(o->clip_norm, shared->clip_norm, index[k]) != 0 &&
            nst_hyper(o->clip_value, shared->clip_value, index[k]) != 0)
            return NST_E_VALUE;
    const int momentum = least < most && any(o->momentum, shared->momentum, index, count);
    if (slot_count != most && (momentum || slot_count != least))
        return NST_E_OPTIMIZER;
    if (plain && (shared->kind != NST_OPTIMIZER_SGD || slot_count > 0 || by_norm || by_value ||
                  any(o->weight_decay, shared->weight_decay, index, count) || any(o->l1, shared->l1, index, count)))
        return NST_E_OPTIMIZER;
    return NST_OK;
}

int nst_is_amount(double value)
{
    return value >= 0 && value <= DBL_MAX;
}

nst_status nst_check_run(const nst_architecture *net, const nst_run *run, const nst_cursor *cursor, size_t n)
{
    if (run == NULL || cursor == NULL || ((run->shuffle || run->custom_order) && cursor->order == NULL))
        return NST_E_NULL;
    if (!nst_is_amount(run->alpha) || !nst_is_amount(run->scale) || !(run->smoothing >= 0 && run->smoothing < 1) ||
        !(run->log_clip_min <= 0) || (run->shuffle && run->custom_order))
        return NST_E_VALUE;
    for (size_t l = 0; run->dropout != NULL && l + 1 < net->layers; l++)
        if (!(run->dropout[l] >= 0 && run->dropout[l] < 1))
            return NST_E_VALUE;
    for (size_t l = 0; run->layer_rates != NULL && l < net->layers; l++)
        if (!nst_is_amount(run->layer_rates[l]))
            return NST_E_VALUE;
    if (n == 0 || run->batch == 0 || run->batch > n || run->threads < 0)
        return NST_E_SIZE;
    if (run->shuffle && (uint64_t)n > UINT64_C(1) << 32)
        return NST_E_SIZE;
    return cursor->row < n ? NST_OK : NST_E_CURSOR;
}
