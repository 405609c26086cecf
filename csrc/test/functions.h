/* The functions of kernels/math.inc that the library does not export, for each instruction set. */
#ifndef FUNCTIONS_H
#define FUNCTIONS_H

#include <stddef.h>

/* y = f(x); count must be a multiple of FUNCTION_LANES, which is a multiple of the lanes of every instruction set. */
#define FUNCTION_LANES ((size_t)16)

typedef void f32_function(size_t count, const float *x, float *y);
typedef void f64_function(size_t count, const double *x, double *y);

typedef struct {
    f32_function *exp, *log, *fast_sigmoid;
} f32_functions;

typedef struct {
    f64_function *exp, *log, *fast_sigmoid;
} f64_functions;

extern const f32_functions f32_functions_baseline, f32_functions_avx2, f32_functions_avx512;
extern const f64_functions f64_functions_baseline, f64_functions_avx2, f64_functions_avx512;

#endif
