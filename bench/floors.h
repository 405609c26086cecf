/* The functions of floors.c. */
#ifndef FLOORS_H
#define FLOORS_H

#include <stddef.h>
#include <stdint.h>

/* cdef: begin (read by bindings/build_floors.py) */

/* Bytes of the widest vectors that this machine multiplies and adds: 64, 32 or 16. */
int floors_vector_bytes(void);

/* Flop per second of multiply-adds in registers, for numbers of 4 or 8 bytes, measured for some seconds. */
double floors_fma_rate(int real_bytes, double seconds);

/* Seconds of a float64 multiply-add, or division, in a chain of them. */
double floors_latency(int divide);

/* Seconds of a clock cycle: half of a shift and an exclusive or in a chain of them. */
double floors_cycle(void);

/* Bytes per second of a = b + 3 c over n numbers each, two arrays read and one written. */
double floors_triad(size_t n, double *a, const double *b, const double *c);

/* Seconds of a job on our pool whose members do nothing but meet some times, mean of some calls; -1 if there is no pool
 * of so many threads. */
double floors_pool(int32_t threads, int meetings, int calls);

/* cdef: end */

#endif
