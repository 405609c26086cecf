/* What the files of the extension module _row share. */
#ifndef NST_CALLS_H
#define NST_CALLS_H

#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API  NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL nst_numpy
#include <Python.h>
#include <numpy/arrayobject.h>

#include "prepared.h"

/* Memory for converted input. */
typedef struct {
    void *data;
    size_t bytes;
} Buffer;

/* What the samples of a network are like, and memory for those that must be converted. */
typedef struct {
    npy_intp inputs, outputs, most_rows;
    int type; /* NPY_FLOAT or NPY_DOUBLE */
    nst_loss loss;
    Buffer x, y, chosen, rows, weight;
} Gate;

/* The input of a call. Data belong to the arrays or to the buffers of a gate. */
typedef struct {
    PyArrayObject *x, *y;
    PyArrayObject *outputs, *weight; /* or null */
    npy_intp n;
    const void *x_data, *y_data;
    const int64_t *labels;   /* or null; otherwise y_data is null */
    const void *weight_data; /* or null */
    int ignore_nan;          /* y_data has NaN for outputs that do not count */
} Samples;

/* Fields of an optimiser that are kept for comparison; those that there are have 6 to 11. */
#define MOST_FIELDS 16

/* An optimiser, and the fields that it was filled from. All of them are immutable, so that the same object means the
 * same value. */
typedef struct {
    PyObject *fill; /* fill(optimizer, address): checks it, writes the nst_optimizer there, returns its slots */
    nst_optimizer filled;
    int is_plain; /* SGD without momentum, penalty or clipping */
    npy_intp slot_count;
    PyTypeObject *kind; /* null if nothing is kept */
    Py_ssize_t fields;
    PyObject *names[MOST_FIELDS], *values[MOST_FIELDS];
} KeptOptimizer;

/* A new reference to an array, a list as an array, or null. May run Python code. */
PyArrayObject *nst_array_of(PyObject *object);

/* The memory of an array of 0 to 2 axes and rows x columns elements as finite numbers of NumPy's type `type`: its own, or
 * converted into the buffer; null if that cannot be done here. */
const void *nst_finite_numbers(PyArrayObject *array, int type, npy_intp rows, npy_intp columns, Buffer *buffer);

/* Set n and x_data; 0 if the inputs are not taken. */
int nst_look_at_inputs(Gate *gate, Samples *s);

/* Set labels or y_data; 0 if the targets are not taken. */
int nst_look_at_targets(Gate *gate, Samples *s);

/* The same where one output of each row counts, and weight_data; 0 if outputs, targets or weights are not taken. */
int nst_look_at_chosen_outputs(Gate *gate, Samples *s);
int nst_look_at_weights(Gate *gate, Samples *s);

/* Bring `kept` up to date; 0 if the optimiser is not taken, perhaps with an exception set. May run Python code. */
int nst_look_at_optimizer(KeptOptimizer *kept, PyObject *optimizer);
void nst_forget_optimizer(KeptOptimizer *kept);

/* Return a new reference to the type Calls, or null with an exception set. */
PyObject *nst_calls_type(void);

#endif
