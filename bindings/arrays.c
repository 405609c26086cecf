/* What a user may hand in as arrays: looked at, checked and converted for a prepared call. What is not taken here goes
 * through nanostep._arrays, which converts it or refuses it with a proper message. */
#define NO_IMPORT_ARRAY
#include "calls.h"

#include <math.h>

/* How far the sum of a row of target probabilities may be from 1. Half the tolerance of nanostep._arrays, which sums
 * in another order: it decides on what lies between. */
#define PROBABILITY_TOLERANCE 0.5e-4

/* Subclasses of ndarray may be masked. */
PyArrayObject *nst_array_of(PyObject *object)
{
    if (PyArray_CheckExact(object)) {
        Py_INCREF(object);
        return (PyArrayObject *)object;
    }
    if (!PyList_CheckExact(object) && !PyTuple_CheckExact(object) && !PyFloat_CheckExact(object) &&
        !PyLong_CheckExact(object) && !PyArray_IsScalar(object, Number))
        return NULL;
    PyObject *const array = PyArray_FROM_O(object);
    if (array != NULL && !PyArray_CheckExact(array)) {
        Py_DECREF(array);
        return NULL;
    }
    return (PyArrayObject *)array;
}

/* Numbers other than bool and half precision, which the general path converts. */
#define INTEGERS(X)               \
    X(NPY_BYTE, npy_byte)         \
    X(NPY_UBYTE, npy_ubyte)       \
    X(NPY_SHORT, npy_short)       \
    X(NPY_USHORT, npy_ushort)     \
    X(NPY_INT, npy_int)           \
    X(NPY_UINT, npy_uint)         \
    X(NPY_LONG, npy_long)         \
    X(NPY_ULONG, npy_ulong)       \
    X(NPY_LONGLONG, npy_longlong) \
    X(NPY_ULONGLONG, npy_ulonglong)

#define REALS(X)            \
    X(NPY_FLOAT, npy_float) \
    X(NPY_DOUBLE, npy_double)

/* Rows x columns numbers in memory, `down` and `right` bytes apart. */
typedef struct {
    const char *data;
    npy_intp rows, columns, down, right;
} Strided;

#define COPY(from_type, to_type)                                                                     \
    do {                                                                                             \
        to_type *to = out;                                                                           \
        for (npy_intp r = 0; r < from.rows; r++)                                                     \
            for (npy_intp c = 0; c < from.columns; c++)                                              \
                *to++ = (to_type) * (const from_type *)(from.data + r * from.down + c * from.right); \
    } while (0)

#define CASE_TO_FLOAT(number, c_type) \
    case number:                      \
        COPY(c_type, float);          \
        return 1;
#define CASE_TO_DOUBLE(number, c_type) \
    case number:                       \
        COPY(c_type, double);          \
        return 1;
#define CASE_TO_INT64(number, c_type) \
    case number:                      \
        COPY(c_type, int64_t);        \
        return 1;

/* Convert numbers of NumPy's type `type`; 0 if that cannot be done here. */
static int to_float(int type, Strided from, void *out)
{
    switch (type) {
        INTEGERS(CASE_TO_FLOAT)
        REALS(CASE_TO_FLOAT)
    default:
        return 0;
    }
}

static int to_double(int type, Strided from, void *out)
{
    switch (type) {
        INTEGERS(CASE_TO_DOUBLE)
        REALS(CASE_TO_DOUBLE)
    default:
        return 0;
    }
}

static int to_int64(int type, Strided from, void *out)
{
    switch (type) {
        INTEGERS(CASE_TO_INT64)
    default:
        return 0;
    }
}

/* Memory for `count` numbers, or null. */
static void *room_for(Buffer *buffer, npy_intp count)
{
    const size_t needed = (size_t)count * sizeof(double);
    if (buffer->bytes < needed) {
        void *const data = PyMem_Realloc(buffer->data, needed);
        if (data == NULL)
            return NULL;
        *buffer = (Buffer){data, needed};
    }
    return buffer->data;
}

/* The memory of an array as rows x columns numbers of NumPy's type `type`: its own, or converted into the buffer; null
 * if that cannot be done here. The array has 0 to 2 axes and this many elements. */
static const void *numbers(PyArrayObject *array, int type, npy_intp rows, npy_intp columns, Buffer *buffer)
{
    if (PyArray_TYPE(array) == type && PyArray_ISCARRAY_RO(array))
        return PyArray_DATA(array);
    if (!PyArray_ISBEHAVED_RO(array))
        return NULL;
    Strided from = {.data = PyArray_DATA(array), .rows = rows, .columns = columns};
    if (PyArray_NDIM(array) == 2)
        from.down = PyArray_STRIDE(array, 0), from.right = PyArray_STRIDE(array, 1);
    else if (PyArray_NDIM(array) == 1)
        *(rows == 1 ? &from.right : &from.down) = PyArray_STRIDE(array, 0);
    if (room_for(buffer, rows * columns) == NULL)
        return NULL;
    int (*const convert)(int, Strided, void *) = type == NPY_FLOAT    ? to_float
                                                 : type == NPY_DOUBLE ? to_double
                                                                      : to_int64;
    return convert(PyArray_TYPE(array), from, buffer->data) ? buffer->data : NULL;
}

/* Checks in one precision: all are finite; all are in [0, most]; each row sums to 1. */
#define DEFINE_CHECKS(real)                                                                             \
    static int all_finite_##real(const real *from, npy_intp count)                                      \
    {                                                                                                   \
        int bad = 0;                                                                                    \
        for (npy_intp i = 0; i < count; i++)                                                            \
            bad |= !(from[i] - from[i] == 0);                                                           \
        return !bad;                                                                                    \
    }                                                                                                   \
    static int all_inside_##real(const real *from, npy_intp count, real most)                           \
    {                                                                                                   \
        int bad = 0;                                                                                    \
        for (npy_intp i = 0; i < count; i++)                                                            \
            bad |= !(from[i] >= 0 && from[i] <= most);                                                  \
        return !bad;                                                                                    \
    }                                                                                                   \
    static int rows_sum_to_one_##real(const real *from, npy_intp rows, npy_intp columns)                \
    {                                                                                                   \
        for (npy_intp r = 0; r < rows; r++) {                                                           \
            double sum = 0;                                                                             \
            for (npy_intp c = 0; c < columns; c++)                                                      \
                sum += (double)*from++;                                                                 \
            if (!(fabs(sum - 1) <= PROBABILITY_TOLERANCE))                                              \
                return 0;                                                                               \
        }                                                                                               \
        return 1;                                                                                       \
    }                                                                                                   \
    static int in_domain_##real(nst_loss loss, const real *y, npy_intp rows, npy_intp columns)          \
    {                                                                                                   \
        switch (loss) {                                                                                 \
        case NST_LOSS_POISSON:                                                                          \
            return all_inside_##real(y, rows * columns, INFINITY);                                      \
        case NST_LOSS_BINARY_CROSS_ENTROPY:                                                             \
            return all_inside_##real(y, rows * columns, 1);                                             \
        case NST_LOSS_CROSS_ENTROPY:                                                                    \
            return all_inside_##real(y, rows * columns, 1) && rows_sum_to_one_##real(y, rows, columns); \
        default:                                                                                        \
            return 1;                                                                                   \
        }                                                                                               \
    }

DEFINE_CHECKS(float)
DEFINE_CHECKS(double)

const void *nst_finite_numbers(PyArrayObject *array, int type, npy_intp rows, npy_intp columns, Buffer *buffer)
{
    const void *const data = numbers(array, type, rows, columns, buffer);
    if (data == NULL)
        return NULL;
    const int finite =
        type == NPY_FLOAT ? all_finite_float(data, rows * columns) : all_finite_double(data, rows * columns);
    return finite ? data : NULL;
}

int nst_look_at_inputs(Gate *gate, Samples *s)
{
    const int axes = PyArray_NDIM(s->x);
    if (axes != 1 && axes != 2)
        return 0;
    s->n = axes == 1 ? 1 : PyArray_DIM(s->x, 0);
    if (PyArray_DIM(s->x, axes - 1) != gate->inputs || s->n < 1 || s->n > gate->most_rows)
        return 0;
    s->x_data = nst_finite_numbers(s->x, gate->type, s->n, gate->inputs, &gate->x);
    return s->x_data != NULL;
}

/* The shapes are those of nanostep._arrays.check_samples. */
int nst_look_at_targets(Gate *gate, Samples *s)
{
    const int axes = PyArray_NDIM(s->y);
    const npy_intp n = s->n, outputs = gate->outputs, *const shape = PyArray_DIMS(s->y);
    if (axes > 2)
        return 0;
    const int scalar = axes == 0 && n == 1, column = axes == 1 && shape[0] == n;
    const nst_loss loss = gate->loss;
    if (loss == NST_LOSS_CROSS_ENTROPY &&
        (scalar || column || (axes == 2 && shape[0] == n && shape[1] == 1 && outputs > 1))) {
        if (!PyArray_ISINTEGER(s->y))
            return 0;
        s->labels = numbers(s->y, NPY_INT64, n, 1, &gate->y);
        for (npy_intp i = 0; s->labels != NULL && i < n; i++)
            if (s->labels[i] < 0 || s->labels[i] >= outputs)
                return 0;
        return s->labels != NULL;
    }
    const int matrix = axes == 2 && shape[0] == n && shape[1] == outputs;
    const int row = axes == 1 && shape[0] == outputs && PyArray_NDIM(s->x) == 1;
    if (!matrix && !row && !(outputs == 1 && (scalar || column)))
        return 0;
    s->y_data = nst_finite_numbers(s->y, gate->type, n, outputs, &gate->y);
    if (s->y_data == NULL)
        return 0;
    return gate->type == NPY_FLOAT ? in_domain_float(loss, s->y_data, n, outputs)
                                   : in_domain_double(loss, s->y_data, n, outputs);
}

/* 1 if an array has a number for each of the n samples, or is one for a sample that is a vector. */
static int is_one_each(PyArrayObject *array, const Samples *s)
{
    const int axes = PyArray_NDIM(array);
    return (axes == 1 && PyArray_DIM(array, 0) == s->n) || (axes == 0 && PyArray_NDIM(s->x) == 1);
}

/* Rows of `columns` targets of which only that of the output counts; the others are NaN. */
#define DEFINE_SPREAD(real)                                                                                    \
    static void spread_##real(npy_intp n, npy_intp columns, const int64_t *outputs, const real *y, real *rows) \
    {                                                                                                          \
        for (npy_intp i = 0; i < n * columns; i++)                                                             \
            rows[i] = (real)NAN;                                                                               \
        for (npy_intp i = 0; i < n; i++)                                                                       \
            rows[i * columns + outputs[i]] = y[i];                                                             \
    }                                                                                                          \
    static void scale_##real(npy_intp n, const real *weight, real factor, real *scaled)                        \
    {                                                                                                          \
        for (npy_intp i = 0; i < n; i++)                                                                       \
            scaled[i] = weight == NULL ? factor : weight[i] * factor;                                          \
    }

DEFINE_SPREAD(float)
DEFINE_SPREAD(double)

/* As nanostep._arrays.check_chosen_outputs. */
int nst_look_at_chosen_outputs(Gate *gate, Samples *s)
{
    const npy_intp n = s->n, outputs = gate->outputs;
    if (gate->loss == NST_LOSS_CROSS_ENTROPY || gate->loss == NST_LOSS_CUSTOM || !is_one_each(s->y, s) ||
        !is_one_each(s->outputs, s) || !PyArray_ISINTEGER(s->outputs))
        return 0;
    const void *const y = nst_finite_numbers(s->y, gate->type, n, 1, &gate->y);
    const int64_t *const index = numbers(s->outputs, NPY_INT64, n, 1, &gate->chosen);
    void *const rows = room_for(&gate->rows, n * outputs);
    if (y == NULL || index == NULL || rows == NULL)
        return 0;
    for (npy_intp i = 0; i < n; i++)
        if (index[i] < 0 || index[i] >= outputs)
            return 0;
    if (!(gate->type == NPY_FLOAT ? in_domain_float(gate->loss, y, n, 1) : in_domain_double(gate->loss, y, n, 1)))
        return 0;
    if (gate->type == NPY_FLOAT)
        spread_float(n, outputs, index, y, rows);
    else
        spread_double(n, outputs, index, y, rows);
    s->y_data = rows;
    s->ignore_nan = 1;
    return 1;
}

/* Where one output of each row counts, a loss that is a mean over outputs is that of one. */
int nst_look_at_weights(Gate *gate, Samples *s)
{
    const npy_intp n = s->n;
    if (s->weight != NULL) {
        const int axes = PyArray_NDIM(s->weight);
        if (!(axes == 1 || (axes == 2 && PyArray_DIM(s->weight, 1) == 1)) || PyArray_DIM(s->weight, 0) != n)
            return 0;
        s->weight_data = nst_finite_numbers(s->weight, gate->type, n, 1, &gate->weight);
        if (s->weight_data == NULL)
            return 0;
    }
    if (!s->ignore_nan || gate->loss == NST_LOSS_HALF_SQUARED_ERROR)
        return 1;
    void *const scaled = room_for(&gate->weight, n);
    if (scaled == NULL)
        return 0;
    if (gate->type == NPY_FLOAT)
        scale_float(n, s->weight_data, (float)gate->outputs, scaled);
    else
        scale_double(n, s->weight_data, (double)gate->outputs, scaled);
    s->weight_data = scaled;
    return 1;
}
