/* Error of every function against a wider precision, in units in the last place (ulp) of the exact result.
 *
 *   accuracy [--exhaustive] [--perturb N] [FUNCTION ...]
 *
 * float32: every STRIDE-th bit pattern, or all 2^32 (1 to 4 minutes a function); float64: points with random values or
 * exponents, and the neighbourhoods of points where a method changes or a result under- or overflows. NANOSTEP_ISA
 * chooses the instruction set. --perturb moves every result by N ulp, to show that the program can fail.
 *
 * The reference for float32 is libm in double, whose errors of up to 2 ulp are 2^-28 ulp of float. For float64 it is
 * libm in long double with 64 bits of mantissa or more, whose 2 ulp are 2^-10 ulp of double. */
#include "check.h"
#include "functions.h"

#include <float.h>
#include <math.h>
#include <stdint.h>

enum { ACTIVATION, EXP, LOG, FAST_SIGMOID };

/* A row of the table. limit: the largest error in ulp. drop: how far, in ulp, a result may lie below that of a smaller
 * argument. */
static const struct function {
    const char *name;
    int kind;
    nst_activation activation;
    double limit, drop;
} functions[] = {
    {"exp", EXP, 0, 2, 1},
    {"log", LOG, 0, 2, 1},
    {"fast_sigmoid", FAST_SIGMOID, 0, 3, 2},
    {"sigmoid", ACTIVATION, NST_ACTIVATION_SIGMOID, 4, 2},
    {"tanh", ACTIVATION, NST_ACTIVATION_TANH, 4, 3},
    {"softplus", ACTIVATION, NST_ACTIVATION_SOFTPLUS, 2, 2},
    {"elu", ACTIVATION, NST_ACTIVATION_ELU, 2, 1},
    {"silu", ACTIVATION, NST_ACTIVATION_SILU, 4, HUGE_VAL}, /* not monotonic */
    {"softmax", ACTIVATION, NST_ACTIVATION_SOFTMAX, 4, 3},  /* the first of (x, 0): equals sigmoid(x) */
};
enum { FUNCTIONS = sizeof functions / sizeof functions[0] };

static struct {
    int exhaustive;
    double perturb;
} options;

/* Points are measured in blocks; a block of float64 points is sorted. */
#define BLOCK ((size_t)1 << 16)

/* A prime, so that mantissas and exponents of all kinds occur: 3.9 million of the 2^32 patterns. */
#define STRIDE 1103u

/* Blocks of random float64 points. */
#define ROUNDS      12
#define MANY_ROUNDS 600

/* splitmix64 */
static uint64_t random_bits(void)
{
    static uint64_t state = 1;
    uint64_t x = state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static const f32_functions *f32_of(nst_isa isa)
{
#ifdef HAVE_X86
    return isa == NST_ISA_AVX512 ? &f32_functions_avx512
           : isa == NST_ISA_AVX2 ? &f32_functions_avx2
                                 : &f32_functions_baseline;
#else
    (void)isa;
    return &f32_functions_baseline;
#endif
}

static const f64_functions *f64_of(nst_isa isa)
{
#ifdef HAVE_X86
    return isa == NST_ISA_AVX512 ? &f64_functions_avx512
           : isa == NST_ISA_AVX2 ? &f64_functions_avx2
                                 : &f64_functions_baseline;
#else
    (void)isa;
    return &f64_functions_baseline;
#endif
}

#define REAL      float
#define INT       int32_t
#define WIDE      double
#define K(name)   f32_##name
#define NST(name) nst_f32_##name
#define W(name)   name
#define MANTISSA  FLT_MANT_DIG
#define LEAST     FLT_MIN_EXP
#define MOST      FLT_MAX_EXP
#define REAL_NAME "float32"
#define MAX_REAL  FLT_MAX
#include "accuracy.inc"
#undef REAL
#undef INT
#undef WIDE
#undef K
#undef NST
#undef W
#undef MANTISSA
#undef LEAST
#undef MOST
#undef REAL_NAME
#undef MAX_REAL

#define REAL      double
#define INT       int64_t
#define WIDE      long double
#define K(name)   f64_##name
#define NST(name) nst_f64_##name
#define W(name)   name##l
#define MANTISSA  DBL_MANT_DIG
#define LEAST     DBL_MIN_EXP
#define MOST      DBL_MAX_EXP
#define REAL_NAME "float64"
#define MAX_REAL  DBL_MAX
#include "accuracy.inc"

/* All patterns in ascending order: negative ones fall as their bits rise. */
static void measure_f32(const struct function *f, nst_isa isa)
{
    const uint32_t stride = options.exhaustive ? 1 : STRIDE;
    const uint32_t infinity = UINT32_C(0x7f800000);
    static float x[BLOCK];
    f32_record record = f32_begin(f);
    size_t count = 0;
    for (int64_t order = -(int64_t)infinity; order <= (int64_t)infinity; order += stride) {
        const uint32_t bits = order < 0 ? (uint32_t)-order | UINT32_C(0x80000000) : (uint32_t)order;
        memcpy(&x[count++], &bits, sizeof bits);
        if (count == BLOCK) {
            f32_measure(f, isa, count, x, &record);
            count = 0;
        }
    }
    f32_measure(f, isa, count, x, &record);
    f32_report(f, isa, &record);
}

/* Arguments at which a method changes, or a result over- or underflows; their neighbours are measured too. */
static const double hard[] = {0,       0.5,     1,      2,     M_LN2,   M_SQRT1_2, M_SQRT2,  8.66,    9.01,
                              15.94,   17.33,   18.02,  18.71, 19.06,   20,        36.04,    36.74,   37.43,
                              44.36,   50,      87.33,  88.03, 88.72,   102.5,     103.28,   103.97,  104,
                              708.39,  709.08,  709.78, 710,   744.44,  745.13,    746,      0x1p-26, 0x1p-53,
                              0x1p-54, 0x1p-27, 1e-8,   1e-16, DBL_MIN, DBL_MAX,   0x1p-1074};

static double f64_random_point(size_t kind)
{
    const uint64_t bits = random_bits();
    const double unit = (double)(bits >> 11) * 0x1p-53, sign = bits & 1 ? 1 : -1;
    double x;
    switch (kind % 8) {
    case 0: /* any bit pattern */
        memcpy(&x, &bits, sizeof x);
        return isnan(x) ? 1 : x;
    case 1: /* around (n + 1/2) log 2, where the range reduction changes n, and n log 2 */
        x = sign * (double)(random_bits() % 2200) * 0.5 * M_LN2;
        return x * (1 + (double)(int)(random_bits() % 33) * DBL_EPSILON);
    case 2:
        return sign * unit * 750;
    case 3:
        return sign * unit * 2;
    case 4: /* below one, uniform in the exponent */
        return sign * exp(-unit * 60);
    case 5: /* around 1, where log is small */
        return 1 + sign * exp(-unit * 36);
    case 6: { /* up to 2000 steps from a hard point */
        const uint64_t far = random_bits() % 2000;
        int64_t place;
        x = hard[random_bits() % (sizeof hard / sizeof hard[0])];
        memcpy(&place, &x, sizeof x);
        place += (bits & 2) && place > (int64_t)far ? -(int64_t)far : (int64_t)far;
        memcpy(&x, &place, sizeof x);
        return isnan(x) ? sign : sign * x;
    }
    default:
        return sign * unit * 40;
    }
}

static int ascending(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

static void measure_f64(const struct function *f, nst_isa isa)
{
    static double x[BLOCK];
    f64_record record = f64_begin(f);
    for (int round = 0; round < (options.exhaustive ? MANY_ROUNDS : ROUNDS); round++) {
        for (size_t i = 0; i < BLOCK; i++)
            x[i] = f64_random_point(i);
        qsort(x, BLOCK, sizeof x[0], ascending);
        record.has_last = 0;
        f64_measure(f, isa, BLOCK, x, &record);
    }
    f64_report(f, isa, &record);
}

static int wanted(const char *name, char *const *begin, char *const *end)
{
    if (begin == end)
        return 1;
    for (; begin < end; begin++)
        if (strcmp(*begin, name) == 0)
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    char **const end = argv + argc, **argument = argv + 1;
    for (; argument < end && strncmp(*argument, "--", 2) == 0; argument++) {
        if (strcmp(*argument, "--exhaustive") == 0) {
            options.exhaustive = 1;
        } else if (strcmp(*argument, "--perturb") == 0 && argument + 1 < end) {
            options.perturb = atof(*++argument);
        } else {
            fprintf(stderr, "usage: accuracy [--exhaustive] [--perturb ULP] [FUNCTION ...]\n");
            return 2;
        }
    }
    nst_isa isa;
    require_isa();
    CHECK(nst_isa_current(&isa) == NST_OK);
    printf("%-9s %-8s %-9s %9s %-17s %6s %9s %6s\n", "function", "type", "isa", "max ulp", "at", "limit", "max drop",
           "limit");
    for (const struct function *f = functions; f < functions + FUNCTIONS; f++) {
        if (!wanted(f->name, argument, end))
            continue;
        measure_f32(f, isa);
        f32_check_special(f, isa);
        if (LDBL_MANT_DIG >= 64)
            measure_f64(f, isa);
        else
            printf("%-9s float64: no long double wider than double here, not measured\n", f->name);
        f64_check_special(f, isa);
    }
    return finish("accuracy");
}
