/* Compiles the functions for the instruction set of ISA_FILE, one of src/isa_*.c, which the build defines. */
#include "functions.h"

#define KERNELS "functions.inc"
#include ISA_FILE
