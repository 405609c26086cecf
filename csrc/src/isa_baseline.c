/* The kernels for the compiler's default target, with 16-byte vectors: SSE2 on x86-64, NEON on AArch64. */
#define ISA                  baseline
#define ISA_ID               NST_ISA_BASELINE
#define VECTOR_BYTES         16
#define X86_INTRINSIC(name)  _mm_##name
#define X86_REGISTER(suffix) __m128##suffix
#include "kernels/instantiate.h"
