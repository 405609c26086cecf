/* The sample order of an epoch. */
#include "internal.h"

#define GAMMA UINT64_C(0x9E3779B97F4A7C15)

/* Finaliser of SplitMix64 (Steele, Lea & Flood, 2014, "Fast splittable pseudorandom number generators"). */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

/* Uniform in [0, bound), bound <= 2^32, from the hash `draw`; without bias by Lemire's multiplication (2019,
 * arXiv:1805.10941). The division that finds the threshold is needed once in 2^32 / bound draws. */
static uint64_t bounded(uint64_t draw, uint64_t bound)
{
    uint64_t product = (draw >> 32) * bound;
    if ((product & UINT32_MAX) < bound) {
        const uint64_t threshold = (UINT64_C(1) << 32) % bound;
        while ((product & UINT32_MAX) < threshold) {
            draw = mix(draw + GAMMA);
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
    const uint64_t key = mix(mix(seed + GAMMA) + epoch * GAMMA);
    for (size_t i = 0; i < n; i++)
        order__n[i] = (int64_t)i;
    for (size_t i = n; i-- > 1;) {
        const uint64_t bound = (uint64_t)i + 1;
        const uint64_t j = bounded(mix(key + bound * GAMMA), bound);
        const int64_t other = order__n[j];
        order__n[j] = order__n[i];
        order__n[i] = other;
    }
    return NST_OK;
}
