/* Choice of the instruction set at run time. It is the library's only state. */
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* AUTOMATIC is added to an instruction set that was not requested by name. */
enum { UNSET = -1, UNUSABLE = -2, AUTOMATIC = 64 };

static _Atomic int selected = UNSET;

static const char *const names[NST_ISA_COUNT] = {"baseline", "avx2", "avx512"};

#if NST_X86
static const nst_f32_table *const f32_tables[NST_ISA_COUNT] = {&nst_f32_baseline, &nst_f32_avx2, &nst_f32_avx512};
static const nst_f64_table *const f64_tables[NST_ISA_COUNT] = {&nst_f64_baseline, &nst_f64_avx2, &nst_f64_avx512};
#else
static const nst_f32_table *const f32_tables[NST_ISA_COUNT] = {&nst_f32_baseline};
static const nst_f64_table *const f64_tables[NST_ISA_COUNT] = {&nst_f64_baseline};
#endif

const char *nst_isa_name(nst_isa isa)
{
    return (unsigned)isa < NST_ISA_COUNT ? names[isa] : NULL;
}

int nst_isa_available(nst_isa isa)
{
    switch (isa) {
    case NST_ISA_BASELINE:
        return 1;
#if NST_X86
    /* these builtins also check that the operating system saves the wide registers */
    case NST_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case NST_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("fma");
#endif
    default:
        return 0;
    }
}

static int first_choice(void)
{
    const char *const wanted = getenv("NANOSTEP_ISA");
    const int any = wanted == NULL || *wanted == '\0';
    for (int isa = NST_ISA_COUNT; isa-- > 0;)
        if ((any || strcmp(wanted, names[isa]) == 0) && nst_isa_available((nst_isa)isa))
            return any ? isa + AUTOMATIC : isa;
    return UNUSABLE;
}

static int current(void)
{
    int isa = atomic_load_explicit(&selected, memory_order_relaxed);
    if (isa == UNSET) {
        /* two threads that reach this line at the same time store the same value */
        isa = first_choice();
        atomic_store_explicit(&selected, isa, memory_order_relaxed);
    }
    return isa;
}

nst_status nst_isa_select(nst_isa isa)
{
    if (!nst_isa_available(isa))
        return NST_E_ISA;
    atomic_store_explicit(&selected, (int)isa, memory_order_relaxed);
    return NST_OK;
}

nst_status nst_isa_current(nst_isa *isa)
{
    if (isa == NULL)
        return NST_E_NULL;
    const int found = current();
    if (found < 0)
        return NST_E_ISA;
    *isa = (nst_isa)(found % AUTOMATIC);
    return NST_OK;
}

/* The instruction set for a network, or for single operations (null). If none was requested by name, a network whose
 * layers all fit one 32-byte vector does not use 64-byte ones: they would be mostly padding, and the stores and loads
 * between one layer and the next take longer with them (W1 on Zen 4: 60 ns instead of 55). */
static int choose(const nst_architecture *net, size_t real_size)
{
    const int found = current();
    if (found != NST_ISA_AVX512 + AUTOMATIC || net == NULL)
        return found < 0 ? found : found % AUTOMATIC;
    for (size_t l = 1; l <= net->layers; l++)
        if (net->sizes[l] > 32 / real_size)
            return NST_ISA_AVX512;
    return NST_ISA_AVX2;
}

const nst_f32_table *nst_f32_kernels(const nst_architecture *net)
{
    const int isa = choose(net, sizeof(float));
    return isa < 0 ? NULL : f32_tables[isa];
}

const nst_f64_table *nst_f64_kernels(const nst_architecture *net)
{
    const int isa = choose(net, sizeof(double));
    return isa < 0 ? NULL : f64_tables[isa];
}
