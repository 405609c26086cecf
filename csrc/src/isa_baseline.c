/* The kernels for what the compiler targets by default: 16-byte vectors, which are SSE2 on x86-64 and NEON on AArch64. */
#define ISA                  baseline
#define ISA_ID               NST_ISA_BASELINE
#define VECTOR_BYTES         16
#define X86_INTRINSIC(name)  _mm_##name
#define X86_REGISTER(suffix) __m128##suffix
#include "kernels/instantiate.h"
