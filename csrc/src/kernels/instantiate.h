/* Compiles every kernel for one instruction set in both precisions. isa_*.c include this file and define
 *   ISA           the part of the tables' names that names the set
 *   ISA_ID        the nst_isa
 *   ISA_TARGET    target features for the compiler, if more than its default
 *   VECTOR_BYTES  width of a vector
 *   X86_INTRINSIC name of an intrinsic of that width, on x86
 *   X86_REGISTER  name of its register type, given the suffix of the precision
 *   KERNELS       a file to compile in place of all.inc, for tests of single functions
 * Everything is static except the tables, one per precision. */
#include "../internal.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if NST_X86
#include <immintrin.h>
#endif

#ifndef KERNELS
#define KERNELS "all.inc"
#endif

/* a * b + c is rounded once */
#if defined(ISA_TARGET) || defined(__FMA__) || defined(__aarch64__)
#define FUSED 1
#else
#define FUSED 0
#endif

#define ALWAYS_INLINE static inline __attribute__((always_inline))

#ifdef ISA_TARGET
#ifdef __clang__
#define STRING_(x) #x
#define PRAGMA(x)  _Pragma(STRING_(x))
PRAGMA(clang attribute push(__attribute__((target(ISA_TARGET))), apply_to = function))
#else
#define STRING_(x) #x
#define PRAGMA(x)  _Pragma(STRING_(x))
_Pragma("GCC push_options") PRAGMA(GCC target(ISA_TARGET))
#endif
#endif

#define REAL     float
#define INT      int32_t
#define UINT     uint32_t
#define IS_FLOAT 1
#if NST_X86
#define X86_VECTOR(operation) X86_INTRINSIC(operation##_ps)
#define X86_TYPE              X86_REGISTER()
#endif
#define K(name)   f32_##name
#define M(name)   name##f
#define NST(name) nst_f32_##name
#include KERNELS
#undef NST
#undef M
#undef K
#undef X86_VECTOR
#undef X86_TYPE
#undef IS_FLOAT
#undef UINT
#undef INT
#undef REAL

#define REAL     double
#define INT      int64_t
#define UINT     uint64_t
#define IS_FLOAT 0
#if NST_X86
#define X86_VECTOR(operation) X86_INTRINSIC(operation##_pd)
#define X86_TYPE              X86_REGISTER(d)
#endif
#define K(name)   f64_##name
#define M(name)   name
#define NST(name) nst_f64_##name
#include KERNELS

#ifdef ISA_TARGET
#ifdef __clang__
_Pragma("clang attribute pop")
#else
    _Pragma("GCC pop_options")
#endif
#endif
