/* The kernels for AVX-512 (F, DQ, VL). */
#include "internal.h"

#if NST_X86
#define ISA                  avx512
#define ISA_ID               NST_ISA_AVX512
#define ISA_TARGET           "avx512f,avx512dq,avx512vl,avx2,fma"
#define VECTOR_BYTES         64
#define X86_INTRINSIC(name)  _mm512_##name
#define X86_REGISTER(suffix) __m512##suffix
#include "kernels/instantiate.h"
#else
typedef int nst_avx512_is_not_for_this_machine;
#endif
