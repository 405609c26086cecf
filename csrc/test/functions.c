/* Compiles the functions for the instruction set of ISA_FILE, one of src/isa_*.c; the build defines it. */
#include "functions.h"

#define KERNELS "functions.inc"
#include ISA_FILE
