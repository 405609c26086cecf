/* The kernels for AVX2 and FMA. */
#include "internal.h"

#if NST_X86
#define ISA                  avx2
#define ISA_ID               NST_ISA_AVX2
#define ISA_TARGET           "avx2,fma"
#define VECTOR_BYTES         32
#define X86_INTRINSIC(name)  _mm256_##name
#define X86_REGISTER(suffix) __m256##suffix
#include "kernels/instantiate.h"
#else
typedef int nst_avx2_is_not_for_this_machine;
#endif
