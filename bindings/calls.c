/* Prepared calls from Python into the C library: step, predict, loss and gradient on batches of a few rows.
 *
 * A step of a small network takes a few microseconds; the general path takes a hundred for checks, conversions, and a
 * new workspace. Calls keeps the workspace, checks arrays in C, and checks an optimiser again only if one of its
 * fields has changed. What it does not take, it declines by returning None: the caller then takes the general path,
 * which converts the input or refuses it with a proper message. What it takes gives the same bits there.
 *
 * The interpreter lock is held throughout, because a call takes less than half a millisecond: to give the lock up and
 * get it back beside a busy thread would take longer. It also keeps two calls from using the same workspace. Python
 * code, which might run another call or free an array, runs only before the first look at an array's memory. */
#define NO_IMPORT_ARRAY
#include "calls.h"

#include <float.h>
#include <math.h>

/* Fields of an optimiser that are kept for comparison; those that there are have 6 to 11. */
#define MOST_FIELDS 16

/* How far the sum of a row of target probabilities may be from 1. Half the tolerance of nanostep._arrays, which sums
 * in another order: it decides on what lies between. */
#define PROBABILITY_TOLERANCE 0.5e-4

/* Memory for converted input. */
typedef struct {
    void *data;
    size_t bytes;
} Buffer;

typedef struct {
    PyObject_HEAD PyArrayObject *theta;
    PyObject *memory; /* keeps net, row, workspace and isa alive */
    PyObject *fill;   /* fill(optimizer, address): checks it, writes the nst_optimizer there, returns its slots */
    const nst_architecture *net;
    nst_row *row;
    void *workspace;
    size_t bytes;
    int32_t *isa; /* of the last step */
    npy_intp inputs, outputs, most_rows;
    int type; /* NPY_FLOAT or NPY_DOUBLE */
    /* functions of the library, which is linked into another module */
    void *predict, *loss, *gradient, *train, *step_row;
    Buffer x, y;

    /* The optimiser, and the fields that it was filled from. All of them are immutable, so that the same object means
     * the same value. */
    nst_optimizer optimizer;
    npy_intp slots;
    PyTypeObject *kind; /* null if nothing is kept */
    Py_ssize_t fields;
    PyObject *names[MOST_FIELDS], *values[MOST_FIELDS];
} Calls;

static PyObject *name_optimizer, *name_slots, *name_updates, *name_lr;

/* Call a function of the library in the precision of the network. */
#define CALL(self, name, ...)                                                                \
    ((self)->type == NPY_FLOAT ? ((__typeof__(nst_f32_##name) *)((self)->name))(__VA_ARGS__) \
                               : ((__typeof__(nst_f64_##name) *)((self)->name))(__VA_ARGS__))

/* -- Arrays -------------------------------------------------------------------------------------------------------- */

/* The input of a call. Data belong to x and y or to the buffers of a Calls. */
typedef struct {
    PyArrayObject *x, *y;
    npy_intp n;
    const void *x_data, *y_data;
    const int64_t *labels; /* or null; otherwise y_data is null */
} Samples;

/* None in place of an ordinary exception, which the general path will raise again; null for others such as Ctrl-C. */
static PyObject *declined(void)
{
    if (PyErr_Occurred()) {
        if (!PyErr_ExceptionMatches(PyExc_Exception))
            return NULL;
        PyErr_Clear();
    }
    Py_RETURN_NONE;
}

/* A new reference to an array, a list as an array, or null. Subclasses of ndarray may be masked. */
static PyArrayObject *array_of(PyObject *object)
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
    const size_t needed = (size_t)rows * (size_t)columns * sizeof(double);
    if (buffer->bytes < needed) {
        void *const data = PyMem_Realloc(buffer->data, needed);
        if (data == NULL)
            return NULL;
        *buffer = (Buffer){data, needed};
    }
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

/* The memory of an array as finite numbers of the network's dtype, or null. */
static const void *finite_numbers(const Calls *self, PyArrayObject *array, npy_intp rows, npy_intp columns,
                                  Buffer *buffer)
{
    const void *const data = numbers(array, self->type, rows, columns, buffer);
    if (data == NULL)
        return NULL;
    const int finite =
        self->type == NPY_FLOAT ? all_finite_float(data, rows * columns) : all_finite_double(data, rows * columns);
    return finite ? data : NULL;
}

/* Set n and x_data; 0 if the inputs are not taken. */
static int look_at_inputs(Calls *self, Samples *s)
{
    const int axes = PyArray_NDIM(s->x);
    if (axes != 1 && axes != 2)
        return 0;
    s->n = axes == 1 ? 1 : PyArray_DIM(s->x, 0);
    if (PyArray_DIM(s->x, axes - 1) != self->inputs || s->n < 1 || s->n > self->most_rows)
        return 0;
    s->x_data = finite_numbers(self, s->x, s->n, self->inputs, &self->x);
    return s->x_data != NULL;
}

/* Set labels or y_data; 0 if the targets are not taken. The shapes are those of nanostep._arrays.check_samples. */
static int look_at_targets(Calls *self, Samples *s)
{
    const int axes = PyArray_NDIM(s->y);
    const npy_intp n = s->n, outputs = self->outputs, *const shape = PyArray_DIMS(s->y);
    if (axes > 2)
        return 0;
    const int scalar = axes == 0 && n == 1, column = axes == 1 && shape[0] == n;
    const nst_loss loss = (nst_loss)self->net->loss;
    if (loss == NST_LOSS_CROSS_ENTROPY &&
        (scalar || column || (axes == 2 && shape[0] == n && shape[1] == 1 && outputs > 1))) {
        if (!PyArray_ISINTEGER(s->y))
            return 0;
        s->labels = numbers(s->y, NPY_INT64, n, 1, &self->y);
        for (npy_intp i = 0; s->labels != NULL && i < n; i++)
            if (s->labels[i] < 0 || s->labels[i] >= outputs)
                return 0;
        return s->labels != NULL;
    }
    const int matrix = axes == 2 && shape[0] == n && shape[1] == outputs;
    const int row = axes == 1 && shape[0] == outputs && PyArray_NDIM(s->x) == 1;
    if (!matrix && !row && !(outputs == 1 && (scalar || column)))
        return 0;
    s->y_data = finite_numbers(self, s->y, n, outputs, &self->y);
    if (s->y_data == NULL)
        return 0;
    return self->type == NPY_FLOAT ? in_domain_float(loss, s->y_data, n, outputs)
                                   : in_domain_double(loss, s->y_data, n, outputs);
}

/* 1 if memory that the kernels read while they write theta overlaps it. */
static int overlaps_theta(const Calls *self, const void *data, npy_intp count)
{
    const uintptr_t size = self->type == NPY_FLOAT ? sizeof(float) : sizeof(double);
    const uintptr_t theta = (uintptr_t)PyArray_DATA(self->theta), from = (uintptr_t)data;
    return data != NULL && from < theta + (uintptr_t)PyArray_SIZE(self->theta) * size &&
           theta < from + (uintptr_t)count * size;
}

/* 1 if the samples, which are looked at, may be learned from in place. */
static int can_learn(const Calls *self, const Samples *s)
{
    return PyArray_ISWRITEABLE(self->theta) && !overlaps_theta(self, s->x_data, s->n * self->inputs) &&
           !overlaps_theta(self, s->y_data, s->n * self->outputs);
}

/* Take hold of X and Y; 0 if they are not taken. In both cases they must be released. */
static int take(PyObject *X, PyObject *Y, Samples *s)
{
    *s = (Samples){.x = array_of(X)};
    s->y = s->x == NULL ? NULL : array_of(Y);
    return s->y != NULL;
}

static void release(Samples *s)
{
    Py_XDECREF((PyObject *)s->x);
    Py_XDECREF((PyObject *)s->y);
}

/* -- Optimisers ---------------------------------------------------------------------------------------------------- */

static void forget_optimizer(Calls *self)
{
    for (Py_ssize_t i = 0; i < self->fields; i++) {
        Py_DECREF(self->names[i]);
        Py_DECREF(self->values[i]);
    }
    Py_XDECREF((PyObject *)self->kind);
    self->kind = NULL;
    self->fields = 0;
}

/* 1 if the fields of an optimiser are those that are kept. A new rate is taken over. */
static int is_kept(Calls *self, PyObject *optimizer, PyObject *fields)
{
    Py_ssize_t place = 0, i = 0;
    PyObject *name, *value;
    if (Py_TYPE(optimizer) != self->kind || PyDict_Size(fields) != self->fields)
        return 0;
    while (PyDict_Next(fields, &place, &name, &value)) {
        if (i >= self->fields || name != self->names[i])
            return 0;
        if (value != self->values[i]) {
            if (name != name_lr || !PyFloat_CheckExact(value))
                return 0;
            const double lr = PyFloat_AsDouble(value);
            if (!(lr > 0 && lr <= DBL_MAX))
                return 0;
            self->optimizer.lr = lr;
            Py_INCREF(value);
            PyObject *const before = self->values[i];
            self->values[i] = value;
            Py_DECREF(before);
        }
        i++;
    }
    return 1;
}

static int is_number(PyObject *value)
{
    return value == Py_None || PyFloat_CheckExact(value) || PyLong_CheckExact(value) || PyBool_Check(value) ||
           PyArray_IsScalar(value, Number);
}

/* 1 if a value can never change. */
static int is_immutable(PyObject *value)
{
    if (!PyTuple_CheckExact(value))
        return is_number(value);
    for (Py_ssize_t i = 0; i < PyTuple_Size(value); i++)
        if (!is_number(PyTuple_GetItem(value, i)))
            return 0;
    return 1;
}

/* Keep the fields that the optimiser was filled from, if none can change unnoticed. */
static void keep_optimizer(Calls *self, PyTypeObject *kind, PyObject *fields)
{
    Py_ssize_t place = 0;
    PyObject *name, *value;
    forget_optimizer(self);
    while (PyDict_Next(fields, &place, &name, &value)) {
        if (self->fields == MOST_FIELDS || !is_immutable(value)) {
            forget_optimizer(self);
            return;
        }
        Py_INCREF(name);
        Py_INCREF(value);
        self->names[self->fields] = name;
        self->values[self->fields] = value;
        self->fields++;
    }
    Py_INCREF((PyObject *)kind);
    self->kind = kind;
}

/* Check an optimiser whose fields have changed, and fill self->optimizer from it; 0 if it is not taken, perhaps with an
 * exception set. Other threads may change the fields meanwhile, and may fill self->optimizer from another one: so the
 * fields are copied before the check, and what was filled is taken over after it. */
static int fill_optimizer(Calls *self, PyObject *optimizer, PyObject *fields)
{
    nst_optimizer filled;
    PyObject *const copy = PyDict_Copy(fields);
    if (copy == NULL)
        return 0;
    PyObject *const slots = PyObject_CallFunction(self->fill, "OK", optimizer, (unsigned long long)(uintptr_t)&filled);
    const int accepted = slots != NULL && PyLong_Check(slots);
    if (accepted) {
        self->slots = PyLong_AsSsize_t(slots);
        self->optimizer = filled;
        keep_optimizer(self, Py_TYPE(optimizer), copy);
    }
    Py_XDECREF(slots);
    Py_DECREF(copy);
    return accepted;
}

/* Bring self->optimizer and self->slots up to date; 0 as above. */
static int look_at_optimizer(Calls *self, PyObject *optimizer)
{
    PyObject *const fields = PyObject_GenericGetDict(optimizer, NULL);
    if (fields == NULL)
        return 0;
    const int accepted = is_kept(self, optimizer, fields) || fill_optimizer(self, optimizer, fields);
    Py_DECREF(fields);
    return accepted;
}

/* -- Calls --------------------------------------------------------------------------------------------------------- */

/* 1 if `slots` is the memory that the optimiser needs. */
static int fits_slots(const Calls *self, PyObject *slots)
{
    if (!PyArray_CheckExact(slots))
        return 0;
    PyArrayObject *const array = (PyArrayObject *)slots;
    return PyArray_NDIM(array) == 2 && PyArray_DIM(array, 0) == self->slots &&
           PyArray_DIM(array, 1) == PyArray_SIZE(self->theta) && PyArray_TYPE(array) == self->type &&
           PyArray_ISCARRAY(array);
}

/* One update from all samples; the loss before it goes to *loss. 0 if none was made. */
static int train(Calls *self, const Samples *s, const nst_optimizer *optimizer, size_t slot_count, void *slots,
                 uint64_t updates, double *loss)
{
    const nst_run run = {.batch = (size_t)s->n, .threads = 1};
    nst_cursor cursor = {.updates = updates};
    double losses[2] = {0};
    size_t ended = 0;
    const nst_status status =
        CALL(self, train, self->net, PyArray_DATA(self->theta), slot_count, slots, (size_t)s->n, s->x_data, s->y_data,
             s->labels, NULL, optimizer, &run, &cursor, 1, losses, NULL, &ended, self->workspace, self->bytes);
    if (status != NST_OK)
        return 0;
    *self->isa = cursor.isa;
    *loss = losses[0];
    return 1;
}

/* update(state, X, Y) -> loss before it, or None. `state` has optimizer, slots and updates, which is counted up. */
static PyObject *Calls_update(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "update takes state, X and Y");
        return NULL;
    }
    PyObject *const state = arguments[0], *updates = NULL, *next = NULL, *made = NULL;
    PyObject *const optimizer = PyObject_GetAttr(state, name_optimizer);
    PyObject *const slots = optimizer == NULL ? NULL : PyObject_GetAttr(state, name_slots);
    Samples s = {0};
    double loss;
    /* updates last: the others may let another thread make a step */
    if (slots != NULL && take(arguments[1], arguments[2], &s) && look_at_optimizer(self, optimizer))
        updates = PyObject_GetAttr(state, name_updates);
    if (updates != NULL && PyLong_Check(updates)) {
        const unsigned long long number = PyLong_AsUnsignedLongLong(updates);
        next = PyErr_Occurred() ? NULL : PyLong_FromUnsignedLongLong(number + 1);
        if (next != NULL && fits_slots(self, slots) && look_at_inputs(self, &s) && look_at_targets(self, &s) &&
            can_learn(self, &s) &&
            train(self, &s, &self->optimizer, (size_t)self->slots, PyArray_DATA((PyArrayObject *)slots), number,
                  &loss)) {
            made = PyObject_SetAttr(state, name_updates, next) == 0 ? PyFloat_FromDouble(loss) : NULL;
        }
    }
    release(&s);
    Py_XDECREF(optimizer);
    Py_XDECREF(slots);
    Py_XDECREF(updates);
    Py_XDECREF(next);
    return made == NULL ? declined() : made;
}

/* descend(X, Y, lr) -> loss before a plain SGD step, or None if no step was made. */
static PyObject *Calls_descend(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "descend takes X, Y and lr");
        return NULL;
    }
    Samples s = {0};
    double loss = 0;
    int made = 0;
    PyObject *const rate = arguments[2];
    if (PyFloat_CheckExact(rate) || PyLong_CheckExact(rate) || PyArray_IsScalar(rate, Double)) {
        const nst_optimizer plain = {.kind = NST_OPTIMIZER_SGD, .lr = PyFloat_AsDouble(rate)};
        if (!PyErr_Occurred() && plain.lr > 0 && plain.lr <= DBL_MAX && take(arguments[0], arguments[1], &s) &&
            look_at_inputs(self, &s) && look_at_targets(self, &s) && can_learn(self, &s)) {
            /* one row gives the same bits however it was handed in */
            if (s.n == 1 && s.labels == NULL)
                made = CALL(self, step_row, self->row, PyArray_DATA(self->theta), s.x_data, s.y_data, plain.lr,
                            &loss) == NST_OK;
            else
                made = train(self, &s, &plain, 0, NULL, 0, &loss);
        }
    }
    release(&s);
    return made ? PyFloat_FromDouble(loss) : declined();
}

/* predict(X) -> array of outputs, or None */
static PyObject *Calls_predict(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 1) {
        PyErr_SetString(PyExc_TypeError, "predict takes X");
        return NULL;
    }
    Samples s = {.x = array_of(arguments[0])};
    PyObject *out = NULL;
    if (s.x != NULL && look_at_inputs(self, &s)) {
        npy_intp shape[2] = {s.n, self->outputs};
        const int one = PyArray_NDIM(s.x) == 1;
        out = PyArray_SimpleNew(2 - one, shape + one, self->type);
        if (out != NULL && CALL(self, predict, self->net, PyArray_DATA(self->theta), (size_t)s.n, s.x_data,
                                PyArray_DATA((PyArrayObject *)out), self->workspace, self->bytes) != NST_OK)
            Py_CLEAR(out);
    }
    release(&s);
    return out == NULL ? declined() : out;
}

/* loss(X, Y) -> mean loss, or None */
static PyObject *Calls_loss(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "loss takes X and Y");
        return NULL;
    }
    Samples s;
    double loss = 0;
    const int made = take(arguments[0], arguments[1], &s) && look_at_inputs(self, &s) && look_at_targets(self, &s) &&
                     CALL(self, loss, self->net, PyArray_DATA(self->theta), (size_t)s.n, s.x_data, s.y_data, s.labels,
                          NULL, self->workspace, self->bytes, &loss) == NST_OK;
    release(&s);
    return made ? PyFloat_FromDouble(loss) : declined();
}

/* gradient(X, Y) -> (mean loss, gradient), or None */
static PyObject *Calls_gradient(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "gradient takes X and Y");
        return NULL;
    }
    Samples s;
    PyObject *grad = NULL;
    double loss = 0;
    if (take(arguments[0], arguments[1], &s) && look_at_inputs(self, &s) && look_at_targets(self, &s)) {
        grad = PyArray_SimpleNew(1, PyArray_DIMS(self->theta), self->type);
        if (grad != NULL &&
            CALL(self, gradient, self->net, PyArray_DATA(self->theta), (size_t)s.n, s.x_data, s.y_data, s.labels, NULL,
                 self->workspace, self->bytes, PyArray_DATA((PyArrayObject *)grad), &loss) != NST_OK)
            Py_CLEAR(grad);
    }
    release(&s);
    return grad == NULL ? declined() : Py_BuildValue("dN", loss, grad);
}

/* -- The type ------------------------------------------------------------------------------------------------------ */

static void Calls_dealloc(Calls *self)
{
    PyTypeObject *const type = Py_TYPE((PyObject *)self);
    forget_optimizer(self);
    Py_XDECREF((PyObject *)self->theta);
    Py_XDECREF(self->memory);
    Py_XDECREF(self->fill);
    PyMem_Free(self->x.data);
    PyMem_Free(self->y.data);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(self);
    Py_DECREF(type);
}

/* Calls(theta, memory, fill, inputs, outputs, most_rows, bytes, addresses): `addresses` of net, row, workspace (with
 * this many bytes) and isa, and of the functions predict, loss, gradient, train and step_row. */
static PyObject *Calls_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *theta, *memory, *fill;
    Py_ssize_t inputs, outputs, most_rows, bytes;
    unsigned long long at[9];
    if (keywords != NULL && PyDict_Size(keywords) > 0) {
        PyErr_SetString(PyExc_TypeError, "Calls takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "O!OOnnnn(KKKKKKKKK)", &PyArray_Type, &theta, &memory, &fill, &inputs, &outputs,
                          &most_rows, &bytes, &at[0], &at[1], &at[2], &at[3], &at[4], &at[5], &at[6], &at[7], &at[8]))
        return NULL;
    const int number = PyArray_TYPE((PyArrayObject *)theta);
    if (!PyArray_ISCARRAY_RO((PyArrayObject *)theta) || PyArray_NDIM((PyArrayObject *)theta) != 1 ||
        (number != NPY_FLOAT && number != NPY_DOUBLE)) {
        PyErr_SetString(PyExc_ValueError, "theta must be a contiguous 1-D array of float32 or float64");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Calls *const self = (Calls *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(theta);
    Py_INCREF(memory);
    Py_INCREF(fill);
    self->theta = (PyArrayObject *)theta;
    self->memory = memory;
    self->fill = fill;
    self->net = (const nst_architecture *)(uintptr_t)at[0];
    self->row = (nst_row *)(uintptr_t)at[1];
    self->workspace = (void *)(uintptr_t)at[2];
    self->isa = (int32_t *)(uintptr_t)at[3];
    self->predict = (void *)(uintptr_t)at[4];
    self->loss = (void *)(uintptr_t)at[5];
    self->gradient = (void *)(uintptr_t)at[6];
    self->train = (void *)(uintptr_t)at[7];
    self->step_row = (void *)(uintptr_t)at[8];
    self->bytes = (size_t)bytes;
    self->inputs = inputs;
    self->outputs = outputs;
    self->most_rows = most_rows;
    self->type = number;
    return (PyObject *)self;
}

static PyMethodDef Calls_methods[] = {
    {"update", (PyCFunction)(void (*)(void))Calls_update, METH_FASTCALL, "One update by an optimiser: loss, or None."},
    {"descend", (PyCFunction)(void (*)(void))Calls_descend, METH_FASTCALL, "One plain SGD step: loss, or None."},
    {"predict", (PyCFunction)(void (*)(void))Calls_predict, METH_FASTCALL, "Outputs, or None."},
    {"loss", (PyCFunction)(void (*)(void))Calls_loss, METH_FASTCALL, "Mean loss, or None."},
    {"gradient", (PyCFunction)(void (*)(void))Calls_gradient, METH_FASTCALL, "Mean loss and gradient, or None."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Calls_slots[] = {
    {Py_tp_dealloc, Calls_dealloc},
    {Py_tp_new, Calls_new},
    {Py_tp_methods, Calls_methods},
    {Py_tp_doc,
     "Calls(theta, memory, fill, inputs, outputs, most_rows, bytes, addresses): prepared calls of a network."},
    {0, NULL},
};

static PyType_Spec Calls_spec = {
    .name = "nanostep.backends.native._row.Calls",
    .basicsize = sizeof(Calls),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = Calls_slots,
};

PyObject *nst_calls_type(void)
{
    name_optimizer = PyUnicode_InternFromString("optimizer");
    name_slots = PyUnicode_InternFromString("slots");
    name_updates = PyUnicode_InternFromString("updates");
    name_lr = PyUnicode_InternFromString("lr");
    if (name_optimizer == NULL || name_slots == NULL || name_updates == NULL || name_lr == NULL)
        return NULL;
    return PyType_FromSpec(&Calls_spec);
}
