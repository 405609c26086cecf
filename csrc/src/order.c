/* The sample order of an epoch. */
#include "internal.h"

/* Uniform in [0, bound), bound <= 2^32, from the hash `draw`, without bias by Lemire's multiplication (2019,
 * arXiv:1805.10941). Only one in 2^32 / bound draws needs the division for the threshold. */
static uint64_t bounded(uint64_t draw, uint64_t bound)
{
    uint64_t product = (draw >> 32) * bound;
    if ((product & UINT32_MAX) < bound) {
        const uint64_t threshold = (UINT64_C(1) << 32) % bound;
        while ((product & UINT32_MAX) < threshold) {
            draw = nst_mix(draw + NST_GAMMA);
            product = (draw >> 32) * bound;
        }
    }
    return product >> 32;
}

nst_status nst_shuffle(uint64_t seed, uint64_t epoch, size_t n, int64_t *order__n)
{
    if (n > 0 && order__n == NULL)
        return NST_E_NULL;
    if ((uint64_t)n > UINT64_C(1) << 32)
        return NST_E_SIZE;
    const uint64_t key = nst_mix(nst_mix(seed + NST_GAMMA) + epoch * NST_GAMMA);
    for (size_t i = 0; i < n; i++)
        order__n[i] = (int64_t)i;
    for (size_t i = n; i-- > 1;) {
        const uint64_t bound = (uint64_t)i + 1;
        const uint64_t j = bounded(nst_mix(key + bound * NST_GAMMA), bound);
        const int64_t other = order__n[j];
        order__n[j] = order__n[i];
        order__n[i] = other;
    }
    return NST_OK;
}
