/* The functions of floors.c. */
#ifndef FLOORS_H
#define FLOORS_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin (read by bindings/build_floors.py) */

/* Bytes of this machine's widest vectors: 64, 32 or 16. */
int floors_vector_bytes(void);

/* Flop per second of multiply-adds in registers, for numbers of 4 or 8 bytes; measures for `seconds` at least. */
double floors_fma_rate(int real_bytes, double seconds);

/* Latency in seconds of a float64 multiply-add or, if `divide`, of a division. */
double floors_latency(int divide);

/* Seconds of a clock cycle: half of a shift and an exclusive or in a chain of them. */
double floors_cycle(void);

/* Bytes per second of a = b + 3 c over arrays of n numbers: two are read and one is written. */
double floors_triad(size_t n, double *a, const double *b, const double *c);

/* Mean seconds over `calls` jobs on the library's pool whose workers do nothing but pass `barriers` barriers; -1 if
 * there is no pool of so many threads. */
double floors_pool(int32_t threads, int barriers, int calls);

/* cdef: end */

#endif
