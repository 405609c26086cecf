/* What this machine can do at best, measured: the floors that the benchmark compares with. Built by
 * bindings/build_floors.py for the benchmark alone; not part of the C library, whose thread pool it times. */
#define _POSIX_C_SOURCE 200809L

#include "floors.h"
#include "team.h"

#include <stdlib.h>
#include <time.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define X86 1
#else
#define X86 0
#endif

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Stores a result where the compiler must assume that it is read, so that it is computed. */
static void keep(double value)
{
    static volatile double kept;
    kept = value;
    (void)kept;
}

#if X86
#define KEEP(v)   "x"(v)
#define SCALAR(v) "x"(v)
#elif defined(__aarch64__)
#define KEEP(v)   "w"(v)
#define SCALAR(v) "w"(v)
#else
#define KEEP(v)   "m"(v)
#define SCALAR(v) "m"(v)
#endif

#define ISA(x) baseline_##x
#define BYTES  16
#include "floors_isa.inc"

#if X86
#undef KEEP
#define KEEP(v) "v"(v)

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma")
#endif
#define ISA(x) avx2_##x
#define BYTES  32
#undef KEEP
#define KEEP(v) "x"(v)
#include "floors_isa.inc"
#if defined(__clang__)
#pragma clang attribute pop
#pragma clang attribute push(__attribute__((target("avx512f,avx2,fma"))), apply_to = function)
#else
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx2,fma")
#endif
#define ISA(x) avx512_##x
#define BYTES  64
#undef KEEP
#define KEEP(v) "v"(v)
#include "floors_isa.inc"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif

int floors_vector_bytes(void)
{
#if X86
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
        return 64;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return 32;
#endif
    return 16;
}

double floors_fma_rate(int real_bytes, double seconds)
{
    const int bytes = floors_vector_bytes();
#if X86
    if (bytes == 64)
        return real_bytes == 4 ? avx512_f32_fma_rate(seconds) : avx512_f64_fma_rate(seconds);
    if (bytes == 32)
        return real_bytes == 4 ? avx2_f32_fma_rate(seconds) : avx2_f64_fma_rate(seconds);
#endif
    (void)bytes;
    return real_bytes == 4 ? baseline_f32_fma_rate(seconds) : baseline_f64_fma_rate(seconds);
}

double floors_latency(int divide)
{
#if X86
    if (floors_vector_bytes() >= 32)
        return floors_vector_bytes() == 64 ? avx512_latency(divide) : avx2_latency(divide);
#endif
    return baseline_latency(divide);
}

double floors_cycle(void)
{
    enum { LINKS = 200000 };
    uint64_t x = 0x9e3779b97f4a7c15u;
    const double started = now();
    for (int i = 0; i < LINKS; i++) {
        uint64_t shifted = x >> 1;
        __asm__ volatile("" : "+r"(shifted)); /* two instructions of one cycle each, on Arm too */
        x ^= shifted;
        __asm__ volatile("" : "+r"(x));
    }
    const double passed = now() - started;
    keep((double)x);
    return passed / (2.0 * LINKS);
}

double floors_triad(size_t n, double *restrict a, const double *restrict b, const double *restrict c)
{
    const double started = now();
    for (size_t i = 0; i < n; i++)
        a[i] = b[i] + 3.0 * c[i];
    return 3.0 * sizeof(double) * (double)n / (now() - started);
}

typedef struct count {
    int barriers;
} count;

static void pass_barriers(void *context, nst_team *team, int index)
{
    const count *const c = context;
    for (int i = 0; i < c->barriers; i++)
        nst_team_barrier(team, index);
}

double floors_pool(int32_t threads, int barriers, int calls)
{
    size_t bytes;
    nst_pool *pool;
    count c = {barriers};
    if (nst_pool_size(threads, &bytes) != NST_OK)
        return -1;
    void *const memory = malloc(bytes);
    if (memory == NULL || nst_pool_start(threads, memory, bytes, &pool) != NST_OK) {
        free(memory);
        return -1;
    }
    double seconds = -1;
    if (nst_pool_run(pool, threads, pass_barriers, &c) == threads) {
        const double started = now();
        for (int i = 0; i < calls; i++)
            nst_pool_run(pool, threads, pass_barriers, &c);
        seconds = (now() - started) / calls;
    }
    nst_pool_stop(pool);
    free(memory);
    return seconds;
}
