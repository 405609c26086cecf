/* The message of each status; version and compiler of the library. */
#include "nanostep.h"

static const char *const messages[] = {
    [NST_OK] = "success",
    [NST_E_NULL] = "a required pointer is null",
    [NST_E_SIZE] = "a size is zero or out of range",
    [NST_E_OVERFLOW] = "a size computed from the arguments does not fit",
    [NST_E_ACTIVATION] = "unknown activation, or one that may not stand here",
    [NST_E_LOSS] = "unknown loss, or one that the output cannot feed",
    [NST_E_OPTIMIZER] = "unknown optimiser, or slots that do not fit it",
    [NST_E_VALUE] = "a number is not finite, or out of range",
    [NST_E_LABEL] = "a class label is out of range",
    [NST_E_CURSOR] = "the cursor does not describe a place in the run",
    [NST_E_WORKSPACE] = "the workspace is too small",
    [NST_E_ISA] = "the instruction set is unknown, not compiled in, or not on this machine",
    [NST_E_THREADS] = "a worker thread could not be started, or the pool is at work or stopped",
    [NST_E_CANCELLED] = "the call was cancelled",
};

_Static_assert(sizeof messages / sizeof *messages == NST_STATUS_COUNT, "every status has a message");

const char *nst_status_message(nst_status status)
{
    return (unsigned)status < NST_STATUS_COUNT ? messages[status] : "unknown status";
}

const char *nst_version(void)
{
    return NANOSTEP_VERSION;
}

const char *nst_compiler(void)
{
#if defined(__clang__)
    return "clang " __clang_version__;
#elif defined(__GNUC__)
    return "gcc " __VERSION__;
#else
    return "unknown";
#endif
}
