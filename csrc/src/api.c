/* The public functions in both precisions: they check the arguments and call the kernels in use. */
#include "internal.h"

#include <float.h>
#include <string.h>

#define REAL      float
#define NST(name) nst_f32_##name
#include "api.inc"
#undef NST
#undef REAL

#define REAL      double
#define NST(name) nst_f64_##name
#include "api.inc"
#undef NST
#undef REAL
