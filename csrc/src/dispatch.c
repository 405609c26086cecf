/* Choice of the instruction set at run time. The chosen one is the library's only state. */
#include "internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { UNSET = -1, UNUSABLE = -2 };

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
    /* these builtins also ask whether the operating system saves the wide registers */
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
            return isa;
    return UNUSABLE;
}

static int current(void)
{
    int isa = atomic_load_explicit(&selected, memory_order_relaxed);
    if (isa == UNSET) {
        /* two threads that come here at once find the same answer */
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
    *isa = (nst_isa)found;
    return NST_OK;
}

const nst_f32_table *nst_f32_kernels(void)
{
    const int isa = current();
    return isa < 0 ? NULL : f32_tables[isa];
}

const nst_f64_table *nst_f64_kernels(void)
{
    const int isa = current();
    return isa < 0 ? NULL : f64_tables[isa];
}
