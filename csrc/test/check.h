/* Shared by the C tests: a check that is never compiled out, and an exit if the requested instruction set is
 * missing. */
#ifndef CHECK_H
#define CHECK_H

#include "nanostep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int failures;

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            failures++;                                                             \
        }                                                                           \
    } while (0)

/* Exit with 77 (skipped) if NANOSTEP_ISA names a known set that this machine lacks. */
static inline void require_isa(void)
{
    nst_isa isa;
    if (nst_isa_current(&isa) == NST_OK)
        return;
    for (int known = 0; known < NST_ISA_COUNT; known++)
        if (strcmp(getenv("NANOSTEP_ISA"), nst_isa_name((nst_isa)known)) == 0)
            exit(77);
    fprintf(stderr, "NANOSTEP_ISA=%s is unknown\n", getenv("NANOSTEP_ISA"));
    exit(1);
}

static int finish(const char *name)
{
    printf("%s: %d failed\n", name, failures);
    return failures == 0 ? 0 : 1;
}

#endif
