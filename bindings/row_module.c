/* The fast path for one row from Python into the C library: net.step(x, y, lr) and net.predict(x) on plain arrays.
 *
 * cffi takes 0.18 us to get at an array's memory and 0.13 us for a call; a step of a tiny network takes 0.1 us. This
 * module reads the arrays through NumPy's own C interface. For anything but plain input it returns None; the caller
 * then takes the general path, which converts the input or refuses it with a proper message. */
#include "calls.h"

typedef struct {
    PyObject_HEAD PyArrayObject *theta;
    PyObject *memory; /* keeps the row alive */
    nst_row *row;
    npy_intp inputs, outputs;
    int type;     /* NPY_FLOAT or NPY_DOUBLE */
    int is_large; /* calls take long enough to release the interpreter lock */
    int busy;     /* such a call is in progress */
    /* functions of the library, which is linked into another module */
    void *predict, *step;
} Row;

typedef __typeof__(nst_f32_predict_row) predict_f32;
typedef __typeof__(nst_f64_predict_row) predict_f64;
typedef __typeof__(nst_f32_step_row) step_f32;
typedef __typeof__(nst_f64_step_row) step_f64;

/* Networks with more parameters release the interpreter lock during a call, which takes 10 us or more. */
#define LARGE 20000

static void Row_dealloc(Row *self)
{
    PyTypeObject *const type = Py_TYPE((PyObject *)self);
    Py_XDECREF((PyObject *)self->theta);
    Py_XDECREF(self->memory);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(self);
    Py_DECREF(type);
}

/* Row(theta, memory, row, predict, step, inputs, outputs); row, predict and step are addresses. */
static PyObject *Row_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *theta, *memory;
    unsigned long long row, predict, step;
    Py_ssize_t inputs, outputs;
    if (keywords != NULL && PyDict_Size(keywords) > 0) {
        PyErr_SetString(PyExc_TypeError, "Row takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "O!OKKKnn", &PyArray_Type, &theta, &memory, &row, &predict, &step, &inputs,
                          &outputs))
        return NULL;
    const int number = PyArray_TYPE((PyArrayObject *)theta);
    if (!PyArray_ISCARRAY_RO((PyArrayObject *)theta) || (number != NPY_FLOAT && number != NPY_DOUBLE)) {
        PyErr_SetString(PyExc_ValueError, "theta must be a contiguous array of float32 or float64");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Row *const self = (Row *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    Py_INCREF(theta);
    Py_INCREF(memory);
    self->theta = (PyArrayObject *)theta;
    self->memory = memory;
    self->row = (nst_row *)(uintptr_t)row;
    self->predict = (void *)(uintptr_t)predict;
    self->step = (void *)(uintptr_t)step;
    self->inputs = inputs;
    self->outputs = outputs;
    self->type = number;
    self->is_large = PyArray_SIZE(self->theta) > LARGE;
    self->busy = 0;
    return (PyObject *)self;
}

/* The data of an array that the kernel can use directly, or null. */
static void *plain(const Row *self, PyObject *object, npy_intp length)
{
    if (!PyArray_CheckExact(object))
        return NULL;
    PyArrayObject *const array = (PyArrayObject *)object;
    if (PyArray_NDIM(array) != 1 || PyArray_DIM(array, 0) != length || PyArray_TYPE(array) != self->type ||
        !PyArray_ISCARRAY_RO(array))
        return NULL;
    return PyArray_DATA(array);
}

/* Make a call, without the interpreter lock if it is long. */
#define CALL(self, status, call)                     \
    do {                                             \
        if ((self)->is_large) {                      \
            (self)->busy = 1;                        \
            Py_BEGIN_ALLOW_THREADS(status) = (call); \
            Py_END_ALLOW_THREADS(self)->busy = 0;    \
        } else {                                     \
            (status) = (call);                       \
        }                                            \
    } while (0)

/* predict(x) -> array of outputs, or None */
static PyObject *Row_predict(Row *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 1) {
        PyErr_SetString(PyExc_TypeError, "predict takes x");
        return NULL;
    }
    const void *const x = plain(self, arguments[0], self->inputs);
    if (x == NULL || self->busy)
        Py_RETURN_NONE;
    PyObject *const out = PyArray_SimpleNew(1, &self->outputs, self->type);
    if (out == NULL)
        return NULL;
    void *const theta = PyArray_DATA(self->theta), *const a = PyArray_DATA((PyArrayObject *)out);
    nst_status status;
    if (self->type == NPY_FLOAT)
        CALL(self, status, ((predict_f32 *)self->predict)(self->row, theta, x, a));
    else
        CALL(self, status, ((predict_f64 *)self->predict)(self->row, theta, x, a));
    if (status == NST_OK)
        return out;
    Py_DECREF(out);
    Py_RETURN_NONE;
}

/* step(x, y, lr) -> loss before the step, or None if no step was made; y may be a float if there is one output */
static PyObject *Row_step(Row *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 3) {
        PyErr_SetString(PyExc_TypeError, "step takes x, y and lr");
        return NULL;
    }
    const void *const x = plain(self, arguments[0], self->inputs), *y = plain(self, arguments[1], self->outputs);
    double y_f64;
    float y_f32;
    if (self->outputs == 1 && PyFloat_CheckExact(arguments[1])) {
        y_f64 = PyFloat_AsDouble(arguments[1]);
        y_f32 = (float)y_f64;
        y = self->type == NPY_FLOAT ? (const void *)&y_f32 : &y_f64;
    }
    if (x == NULL || y == NULL || !PyFloat_CheckExact(arguments[2]) || self->busy || !PyArray_ISWRITEABLE(self->theta))
        Py_RETURN_NONE;
    const double lr = PyFloat_AsDouble(arguments[2]);
    void *const theta = PyArray_DATA(self->theta);
    double loss;
    nst_status status;
    if (self->type == NPY_FLOAT)
        CALL(self, status, ((step_f32 *)self->step)(self->row, theta, x, y, lr, &loss));
    else
        CALL(self, status, ((step_f64 *)self->step)(self->row, theta, x, y, lr, &loss));
    if (status != NST_OK)
        Py_RETURN_NONE;
    return PyFloat_FromDouble(loss);
}

static PyMethodDef Row_methods[] = {
    {"predict", (PyCFunction)(void (*)(void))Row_predict, METH_FASTCALL, "Outputs for one row, or None."},
    {"step", (PyCFunction)(void (*)(void))Row_step, METH_FASTCALL, "One SGD step on one row: the loss, or None."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Row_slots[] = {
    {Py_tp_dealloc, Row_dealloc},
    {Py_tp_new, Row_new},
    {Py_tp_methods, Row_methods},
    {Py_tp_doc, "Row(theta, memory, row, predict, step, inputs, outputs): one nst_row of the C library."},
    {0, NULL},
};

static PyType_Spec Row_spec = {
    .name = "nanostep.backends.native._row.Row",
    .basicsize = sizeof(Row),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = Row_slots,
};

static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_row",
    .m_doc = "Short ways into the C library: Row for one row, Calls for batches of a few.",
    .m_size = -1,
};

/* Give a new type, unless it is null, to the module; -1 on failure. */
static int add_type(PyObject *to, const char *name, PyObject *type)
{
    const int status = type == NULL ? -1 : PyModule_AddObjectRef(to, name, type);
    Py_XDECREF(type);
    return status;
}

PyMODINIT_FUNC PyInit__row(void)
{
    import_array();
    PyObject *const self = PyModule_Create(&module);
    if (self == NULL)
        return NULL;
    if (add_type(self, "Row", PyType_FromSpec(&Row_spec)) < 0 || add_type(self, "Calls", nst_calls_type()) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return self;
}
