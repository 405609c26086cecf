/* Subnormal numbers in a run of training.
 *
 * The errors of a network that has learned its data become as small as numbers get, and many processors take over a hundred
 * cycles for an operation on a subnormal (32-32-32-32-10 at a loss of 0.001: 13 us a step instead of 6). In a run they
 * count as 0. The thread's mode is changed when it enters the run and put back, flags included, when it leaves: the
 * program around it keeps its arithmetic. Single operations, predict, loss and gradient compute with subnormals. */
#ifndef NST_SUBNORMAL_H
#define NST_SUBNORMAL_H

#include <stdint.h>

#if defined(__GNUC__) && defined(__x86_64__)

/* MXCSR: flush to zero, denormals are zero */
#define NST_FLUSH 0x8040u

static inline uint64_t nst_flush_subnormals(void)
{
    const unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | NST_FLUSH);
    return before;
}

static inline void nst_restore_mode(uint64_t before)
{
    __builtin_ia32_ldmxcsr((unsigned)before);
}

#elif defined(__GNUC__) && defined(__aarch64__)

/* FPCR: flush to zero, operands and results; the flags stand in FPSR */
#define NST_FLUSH (UINT64_C(1) << 24)

static inline uint64_t nst_flush_subnormals(void)
{
    uint64_t before;
    __asm__ volatile("mrs %0, fpcr" : "=r"(before));
    __asm__ volatile("msr fpcr, %0" : : "r"(before | NST_FLUSH) : "memory");
    return before;
}

static inline void nst_restore_mode(uint64_t before)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(before) : "memory");
}

#else

static inline uint64_t nst_flush_subnormals(void)
{
    return 0;
}

static inline void nst_restore_mode(uint64_t before)
{
    (void)before;
}

#endif

#endif
