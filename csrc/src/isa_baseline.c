/* The kernels for what the compiler targets by default: 16-byte vectors, which are SSE2 on x86-64 and NEON on AArch64. */
#define ISA baseline
#define ISA_ID NST_ISA_BASELINE
#define VECTOR_BYTES 16
#include "kernels/both.h"
