/* Prepared networks in both precisions: the kernels in use, and what happens when they change. */
#include "internal.h"

#define REAL      float
#define NST(name) nst_f32_##name
#include "prepared.inc"
#undef NST
#undef REAL

#define REAL      double
#define NST(name) nst_f64_##name
#include "prepared.inc"
#undef NST
#undef REAL
