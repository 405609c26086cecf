/* Prepared calls from Python into the C library: step, predict, loss, gradient and pull-backs on batches of a few rows.
 *
 * A step of a small network takes a few microseconds; the general path takes a hundred for checks, conversions, and a
 * new workspace. Calls keeps the network packed (see prepared.h), checks arrays in C, and checks an optimiser again only
 * if one of its fields has changed. What it does not take, it declines by returning None: the caller then takes the
 * general path, which converts the input or refuses it with a proper message. What it takes gives the same bits there.
 *
 * The interpreter lock is held throughout, because a call takes less than half a millisecond: to give the lock up and
 * get it back beside a busy thread would take longer. It also keeps two calls from using the same memory. Python
 * code, which might run another call or free an array, runs only before the first look at an array's memory. */
#define NO_IMPORT_ARRAY
#include "calls.h"

#include <float.h>
#include <string.h>

/* Functions of the library, which is linked into another module, in the precision of the network. */
#define FUNCTIONS(X)     \
    X(prepared_update)   \
    X(prepared_store)    \
    X(prepared_predict)  \
    X(prepared_loss)     \
    X(prepared_gradient) \
    X(prepared_vjp)      \
    X(step_row)          \
    X(update)
#define MEMBER(name) void *name;
#define COUNT(name)  +1

typedef struct {
    PyObject_HEAD PyArrayObject *theta;
    PyObject *memory; /* keeps row, prepared and isa alive */
    nst_row *row;
    nst_prepared *prepared; /* null for networks that are too large: nothing is taken */
    PyArrayObject *slots;   /* those that are kept in packed form, or null */
    int32_t *isa;           /* of the last step */
    Gate gate;
    struct {
        FUNCTIONS(MEMBER)
    } library;
    KeptOptimizer optimizer;
} Calls;

static PyObject *name_optimizer, *name_slots, *name_array, *name_keeper, *name_updates;

/* Call a function of the library. */
#define CALL(self, name, ...)                                                                             \
    ((self)->gate.type == NPY_FLOAT ? ((__typeof__(nst_f32_##name) *)((self)->library.name))(__VA_ARGS__) \
                                    : ((__typeof__(nst_f64_##name) *)((self)->library.name))(__VA_ARGS__))

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

/* 1 if memory that the kernels read while they write theta overlaps it. */
static int overlaps_theta(const Calls *self, const void *data, npy_intp count)
{
    const uintptr_t size = self->gate.type == NPY_FLOAT ? sizeof(float) : sizeof(double);
    const uintptr_t theta = (uintptr_t)PyArray_DATA(self->theta), from = (uintptr_t)data;
    return data != NULL && from < theta + (uintptr_t)PyArray_SIZE(self->theta) * size &&
           theta < from + (uintptr_t)count * size;
}

/* 1 if the samples, which are looked at, may be learned from in place. */
static int can_learn(const Calls *self, const Samples *s)
{
    return PyArray_ISWRITEABLE(self->theta) && !overlaps_theta(self, s->x_data, s->n * self->gate.inputs) &&
           !overlaps_theta(self, s->y_data, s->n * self->gate.outputs) && !overlaps_theta(self, s->weight_data, s->n);
}

/* Take hold of X and Y; 0 if they are not taken. In both cases they must be released. */
static int take(PyObject *X, PyObject *Y, Samples *s)
{
    *s = (Samples){.x = nst_array_of(X)};
    s->y = s->x == NULL ? NULL : nst_array_of(Y);
    return s->y != NULL;
}

/* The same with the outputs that count and weights, each None if there are none. */
static int take_all(PyObject *X, PyObject *Y, PyObject *outputs, PyObject *weight, Samples *s)
{
    if (!take(X, Y, s))
        return 0;
    s->outputs = outputs == Py_None ? NULL : nst_array_of(outputs);
    s->weight = weight == Py_None ? NULL : nst_array_of(weight);
    return (outputs == Py_None || s->outputs != NULL) && (weight == Py_None || s->weight != NULL);
}

static void release(Samples *s)
{
    Py_XDECREF((PyObject *)s->x);
    Py_XDECREF((PyObject *)s->y);
    Py_XDECREF((PyObject *)s->outputs);
    Py_XDECREF((PyObject *)s->weight);
}

static int look_at(Calls *self, Samples *s)
{
    if (!nst_look_at_inputs(&self->gate, s))
        return 0;
    if (s->outputs == NULL && s->weight == NULL)
        return nst_look_at_targets(&self->gate, s);
    return (s->outputs == NULL ? nst_look_at_targets(&self->gate, s) : nst_look_at_chosen_outputs(&self->gate, s)) &&
           nst_look_at_weights(&self->gate, s);
}

/* 1 with an exception set, if a wrong number of arguments was given. */
static int miscounted(Py_ssize_t count, Py_ssize_t expected, const char *what)
{
    if (count == expected)
        return 0;
    PyErr_SetString(PyExc_TypeError, what);
    return 1;
}

/* -- Slots --------------------------------------------------------------------------------------------------------- */

/* Write the slots that are kept back into their array, and let go of it. */
static void store_slots(Calls *self)
{
    if (self->slots == NULL)
        return;
    (void)CALL(self, prepared_store, self->prepared);
    Py_CLEAR(self->slots);
}

/* 1 if `slots` is the memory that the optimiser needs. */
static int fits_slots(const Calls *self, PyObject *slots)
{
    if (!PyArray_CheckExact(slots))
        return 0;
    PyArrayObject *const array = (PyArrayObject *)slots;
    return PyArray_NDIM(array) == 2 && PyArray_DIM(array, 0) == self->optimizer.slot_count &&
           PyArray_DIM(array, 1) == PyArray_SIZE(self->theta) && PyArray_TYPE(array) == self->gate.type &&
           PyArray_ISCARRAY(array);
}

/* A new reference to the slots of a state, or null. `state.array` is out of date while it is kept here. */
static PyObject *slots_of(const Calls *self, PyObject *state)
{
    PyObject *const array = PyObject_GetAttr(state, name_array);
    if (array == NULL || array == (PyObject *)self->slots)
        return array;
    Py_DECREF(array);
    return PyObject_GetAttr(state, name_slots); /* another keeper stores them */
}

/* Keep the slots of a state from now on; 0 with an exception set if the state does not accept that. */
static int keep_slots(Calls *self, PyObject *state, PyObject *slots)
{
    if (self->optimizer.slot_count == 0 || slots == (PyObject *)self->slots)
        return 1;
    store_slots(self);
    if (PyObject_SetAttr(state, name_keeper, (PyObject *)self) < 0)
        return 0;
    Py_INCREF(slots);
    self->slots = (PyArrayObject *)slots;
    return 1;
}

/* store(): write the slots that are kept to their array. */
static PyObject *Calls_store(Calls *self, PyObject *nothing)
{
    (void)nothing;
    store_slots(self);
    Py_RETURN_NONE;
}

/* -- Calls --------------------------------------------------------------------------------------------------------- */

/* One update from all samples; the loss before it goes to *loss. 0 if none was made. One row gives the same bits in all
 * plain steps, however it was handed in. */
static int update(Calls *self, const Samples *s, const nst_optimizer *optimizer, int is_plain, npy_intp slot_count,
                  void *slots, uint64_t updates, double *loss)
{
    if (is_plain && s->n == 1 && s->labels == NULL && s->weight_data == NULL && !s->ignore_nan)
        return CALL(self, step_row, self->row, PyArray_DATA(self->theta), s->x_data, s->y_data, optimizer->lr, loss) ==
               NST_OK;
    return CALL(self, prepared_update, self->prepared, PyArray_DATA(self->theta), (size_t)slot_count, slots, optimizer,
                updates, (size_t)s->n, s->x_data, s->y_data, s->labels, s->weight_data, s->ignore_nan, loss,
                self->isa) == NST_OK;
}

/* What an update needs of a state: new references, and the number of updates made. */
typedef struct {
    PyObject *optimizer, *slots, *next; /* next: the number of updates after this one */
    uint64_t updates;
} State;

/* 0 if the state is not taken, perhaps with an exception set; in both cases it must be released. May run Python code,
 * which may make another update: so what that changes is read last. */
static int take_state(Calls *self, PyObject *state, State *taken)
{
    *taken = (State){.optimizer = PyObject_GetAttr(state, name_optimizer)};
    taken->slots = taken->optimizer == NULL ? NULL : slots_of(self, state);
    if (taken->slots == NULL || !nst_look_at_optimizer(&self->optimizer, taken->optimizer))
        return 0;
    PyObject *const updates = PyObject_GetAttr(state, name_updates);
    if (updates != NULL && PyLong_Check(updates)) {
        taken->updates = PyLong_AsUnsignedLongLong(updates);
        taken->next = PyErr_Occurred() ? NULL : PyLong_FromUnsignedLongLong(taken->updates + 1);
    }
    Py_XDECREF(updates);
    return taken->next != NULL && fits_slots(self, taken->slots);
}

static void release_state(State *taken)
{
    Py_XDECREF(taken->optimizer);
    Py_XDECREF(taken->slots);
    Py_XDECREF(taken->next);
}

/* update(state, X, Y, outputs, sample_weight) -> loss before it, or None. `state` is an OptimizerState; its updates are
 * counted up. */
static PyObject *Calls_update(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 5, "update takes state, X, Y, outputs and sample_weight"))
        return NULL;
    PyObject *const state = arguments[0];
    PyObject *made = NULL;
    Samples s = {0};
    State taken = {0};
    double loss = 0;
    if (self->prepared != NULL && take_all(arguments[1], arguments[2], arguments[3], arguments[4], &s) &&
        take_state(self, state, &taken) && look_at(self, &s) && can_learn(self, &s) &&
        keep_slots(self, state, taken.slots) &&
        update(self, &s, &self->optimizer.filled, self->optimizer.is_plain, self->optimizer.slot_count,
               PyArray_DATA((PyArrayObject *)taken.slots), taken.updates, &loss))
        made = PyObject_SetAttr(state, name_updates, taken.next) == 0 ? PyFloat_FromDouble(loss) : NULL;
    release(&s);
    release_state(&taken);
    return made == NULL ? declined() : made;
}

/* apply(state, grad) -> True, or None if no update was made. */
static PyObject *Calls_apply(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 2, "apply takes state and grad"))
        return NULL;
    PyObject *const state = arguments[0];
    const npy_intp parameters = PyArray_SIZE(self->theta);
    State taken = {0};
    int made = 0;
    PyArrayObject *const grad = self->prepared == NULL ? NULL : nst_array_of(arguments[1]);
    if (grad != NULL && PyArray_NDIM(grad) == 1 && PyArray_SIZE(grad) == parameters &&
        take_state(self, state, &taken) && PyArray_ISWRITEABLE(self->theta)) {
        const void *const data = nst_finite_numbers(grad, self->gate.type, 1, parameters, &self->gate.x);
        if (data != NULL && !overlaps_theta(self, data, parameters)) {
            if (self->slots == (PyArrayObject *)taken.slots)
                store_slots(self);
            made = CALL(self, update, &self->optimizer.filled, taken.updates + 1, (size_t)parameters,
                        PyArray_DATA(self->theta), data, (size_t)self->optimizer.slot_count,
                        PyArray_DATA((PyArrayObject *)taken.slots)) == NST_OK &&
                   PyObject_SetAttr(state, name_updates, taken.next) == 0;
        }
    }
    Py_XDECREF((PyObject *)grad);
    release_state(&taken);
    if (made)
        Py_RETURN_TRUE;
    return declined();
}

/* descend(X, Y, lr, outputs, sample_weight) -> loss before a plain SGD step, or None if no step was made. */
static PyObject *Calls_descend(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 5, "descend takes X, Y, lr, outputs and sample_weight"))
        return NULL;
    Samples s = {0};
    double loss = 0;
    int made = 0;
    PyObject *const rate = arguments[2];
    if (self->prepared != NULL &&
        (PyFloat_CheckExact(rate) || PyLong_CheckExact(rate) || PyArray_IsScalar(rate, Double))) {
        const nst_optimizer plain = {.kind = NST_OPTIMIZER_SGD, .lr = PyFloat_AsDouble(rate)};
        if (!PyErr_Occurred() && plain.lr > 0 && plain.lr <= DBL_MAX &&
            take_all(arguments[0], arguments[1], arguments[3], arguments[4], &s) && look_at(self, &s) &&
            can_learn(self, &s))
            made = update(self, &s, &plain, 1, 0, NULL, 0, &loss);
    }
    release(&s);
    return made ? PyFloat_FromDouble(loss) : declined();
}

/* The outputs in a new array, or null; *tape is that of the forward pass. */
static PyObject *outputs_of(Calls *self, Samples *s, uint64_t *tape)
{
    npy_intp shape[2] = {s->n, self->gate.outputs};
    const int one = PyArray_NDIM(s->x) == 1;
    PyObject *const out = PyArray_SimpleNew(2 - one, shape + one, self->gate.type);
    if (out != NULL && CALL(self, prepared_predict, self->prepared, PyArray_DATA(self->theta), (size_t)s->n, s->x_data,
                            PyArray_DATA((PyArrayObject *)out), tape) == NST_OK)
        return out;
    Py_XDECREF(out);
    return NULL;
}

/* predict(X) -> array of outputs, or None */
static PyObject *Calls_predict(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 1, "predict takes X"))
        return NULL;
    Samples s = {.x = self->prepared == NULL ? NULL : nst_array_of(arguments[0])};
    PyObject *out = NULL;
    uint64_t tape;
    if (s.x != NULL && nst_look_at_inputs(&self->gate, &s))
        out = outputs_of(self, &s, &tape);
    release(&s);
    return out == NULL ? declined() : out;
}

/* loss(X, Y) -> mean loss, or None */
static PyObject *Calls_loss(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 2, "loss takes X and Y"))
        return NULL;
    Samples s = {0};
    double loss = 0;
    const int made = self->prepared != NULL && take(arguments[0], arguments[1], &s) && look_at(self, &s) &&
                     CALL(self, prepared_loss, self->prepared, PyArray_DATA(self->theta), (size_t)s.n, s.x_data,
                          s.y_data, s.labels, &loss) == NST_OK;
    release(&s);
    return made ? PyFloat_FromDouble(loss) : declined();
}

/* gradient(X, Y) -> (mean loss, gradient), or None */
static PyObject *Calls_gradient(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 2, "gradient takes X and Y"))
        return NULL;
    Samples s = {0};
    PyObject *grad = NULL;
    double loss = 0;
    if (self->prepared != NULL && take(arguments[0], arguments[1], &s) && look_at(self, &s)) {
        grad = PyArray_SimpleNew(1, PyArray_DIMS(self->theta), self->gate.type);
        if (grad != NULL && CALL(self, prepared_gradient, self->prepared, PyArray_DATA(self->theta), (size_t)s.n,
                                 s.x_data, s.y_data, s.labels, PyArray_DATA((PyArrayObject *)grad), &loss) != NST_OK)
            Py_CLEAR(grad);
    }
    release(&s);
    return grad == NULL ? declined() : Py_BuildValue("dN", loss, grad);
}

/* -- Pull-backs ---------------------------------------------------------------------------------------------------- */

/* A new array with this memory's contents, or null. */
static PyObject *copy_of(int axes, npy_intp *shape, int type, const void *data)
{
    PyObject *const array = PyArray_SimpleNew(axes, shape, type);
    if (array != NULL)
        memcpy(PyArray_DATA((PyArrayObject *)array), data, (size_t)PyArray_NBYTES((PyArrayObject *)array));
    return array;
}

/* forward(X) -> (outputs, copy of X as (n, inputs), copy of theta, tape), or None */
static PyObject *Calls_forward(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 1, "forward takes X"))
        return NULL;
    Samples s = {.x = self->prepared == NULL ? NULL : nst_array_of(arguments[0])};
    PyObject *out = NULL, *x = NULL, *theta = NULL;
    uint64_t tape = 0;
    if (s.x != NULL && nst_look_at_inputs(&self->gate, &s)) {
        npy_intp shape[2] = {s.n, self->gate.inputs};
        out = outputs_of(self, &s, &tape);
        x = copy_of(2, shape, self->gate.type, s.x_data);
        theta = copy_of(1, PyArray_DIMS(self->theta), self->gate.type, PyArray_DATA(self->theta));
    }
    release(&s);
    if (out != NULL && x != NULL && theta != NULL)
        return Py_BuildValue("NNNK", out, x, theta, (unsigned long long)tape);
    Py_XDECREF(out);
    Py_XDECREF(x);
    Py_XDECREF(theta);
    return declined();
}

/* 1 if an object is a plain array (columns) or, if columns is null, of the network's dtype with these axes. */
static int is_kept_array(const Calls *self, PyObject *object, int axes, npy_intp columns)
{
    if (!PyArray_CheckExact(object))
        return 0;
    PyArrayObject *const array = (PyArrayObject *)object;
    return PyArray_NDIM(array) == axes && PyArray_DIM(array, axes - 1) == columns &&
           PyArray_TYPE(array) == self->gate.type && PyArray_ISCARRAY_RO(array);
}

/* pull(dout, out_axes, x, theta, tape, of_z, params, inputs) -> gradient, dX, or both in a tuple; or None, also if theta
 * is no longer what it was. */
static PyObject *Calls_pull(Calls *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (miscounted(count, 8, "pull takes dout, out_axes, x, theta, tape, of_z, params and inputs"))
        return NULL;
    const npy_intp parameters = PyArray_SIZE(self->theta), outputs = self->gate.outputs;
    const unsigned long long tape = PyLong_AsUnsignedLongLong(arguments[4]);
    const long axes = PyLong_AsLong(arguments[1]);
    const int of_z = PyObject_IsTrue(arguments[5]), params = PyObject_IsTrue(arguments[6]),
              inputs = PyObject_IsTrue(arguments[7]);
    if (PyErr_Occurred())
        return NULL;
    PyObject *grad = NULL, *dx = NULL;
    PyArrayObject *const dout = self->prepared == NULL ? NULL : nst_array_of(arguments[0]);
    if (dout != NULL && PyArray_NDIM(dout) == axes && is_kept_array(self, arguments[2], 2, self->gate.inputs) &&
        is_kept_array(self, arguments[3], 1, parameters)) {
        PyArrayObject *const x = (PyArrayObject *)arguments[2], *const theta = (PyArrayObject *)arguments[3];
        const npy_intp n = PyArray_DIM(x, 0);
        const int fits = axes == 1 ? n == 1 && PyArray_DIM(dout, 0) == outputs
                                   : axes == 2 && PyArray_DIM(dout, 0) == n && PyArray_DIM(dout, 1) == outputs;
        const void *const d = fits ? nst_finite_numbers(dout, self->gate.type, n, outputs, &self->gate.y) : NULL;
        const int is_same = memcmp(PyArray_DATA(theta), PyArray_DATA(self->theta), (size_t)PyArray_NBYTES(theta)) == 0;
        if (d != NULL && is_same && n <= self->gate.most_rows) {
            grad = params ? PyArray_SimpleNew(1, PyArray_DIMS(theta), self->gate.type) : NULL;
            dx = inputs ? PyArray_SimpleNew(axes == 1 ? 1 : 2, PyArray_DIMS(x) + (axes == 1), self->gate.type) : NULL;
            if ((params && grad == NULL) || (inputs && dx == NULL) ||
                CALL(self, prepared_vjp, self->prepared, PyArray_DATA(self->theta), (size_t)n, PyArray_DATA(x), d, of_z,
                     tape, grad == NULL ? NULL : PyArray_DATA((PyArrayObject *)grad),
                     dx == NULL ? NULL : PyArray_DATA((PyArrayObject *)dx)) != NST_OK) {
                Py_CLEAR(grad);
                Py_CLEAR(dx);
            }
        }
    }
    Py_XDECREF((PyObject *)dout);
    if (grad != NULL && dx != NULL)
        return Py_BuildValue("NN", grad, dx);
    return grad != NULL ? grad : dx != NULL ? dx : declined();
}

/* -- The type ------------------------------------------------------------------------------------------------------ */

static void Calls_dealloc(Calls *self)
{
    PyTypeObject *const type = Py_TYPE((PyObject *)self);
    store_slots(self);
    nst_forget_optimizer(&self->optimizer);
    Py_XDECREF((PyObject *)self->theta);
    Py_XDECREF(self->memory);
    Py_XDECREF(self->optimizer.fill);
    PyMem_Free(self->gate.x.data);
    PyMem_Free(self->gate.y.data);
    PyMem_Free(self->gate.chosen.data);
    PyMem_Free(self->gate.rows.data);
    PyMem_Free(self->gate.weight.data);
    freefunc free_object = (freefunc)PyType_GetSlot(type, Py_tp_free);
    free_object(self);
    Py_DECREF(type);
}

/* Set the addresses of the library's functions from a tuple; 0 with an exception set. */
static int set_functions(Calls *self, PyObject *addresses)
{
    Py_ssize_t i = 0;
    if (!PyTuple_Check(addresses) || PyTuple_Size(addresses) != 0 FUNCTIONS(COUNT)) {
        PyErr_SetString(PyExc_ValueError, "there is an address for each function");
        return 0;
    }
#define SET(name) self->library.name = (void *)(uintptr_t)PyLong_AsUnsignedLongLong(PyTuple_GetItem(addresses, i++));
    FUNCTIONS(SET)
#undef SET
    return !PyErr_Occurred();
}

/* Calls(theta, memory, fill, inputs, outputs, loss, most_rows, row, prepared, isa, functions): the last four are
 * addresses, that of an nst_prepared may be 0; those of functions are in a tuple, in the order of Calls.FUNCTIONS. */
static PyObject *Calls_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    PyObject *theta, *memory, *fill, *functions;
    Py_ssize_t inputs, outputs, most_rows;
    int loss;
    unsigned long long row, prepared, isa;
    if (keywords != NULL && PyDict_Size(keywords) > 0) {
        PyErr_SetString(PyExc_TypeError, "Calls takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(arguments, "O!OOnninKKKO", &PyArray_Type, &theta, &memory, &fill, &inputs, &outputs, &loss,
                          &most_rows, &row, &prepared, &isa, &functions))
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
    self->optimizer.fill = fill;
    self->row = (nst_row *)(uintptr_t)row;
    self->prepared = (nst_prepared *)(uintptr_t)prepared;
    self->isa = (int32_t *)(uintptr_t)isa;
    self->gate =
        (Gate){.inputs = inputs, .outputs = outputs, .most_rows = most_rows, .type = number, .loss = (nst_loss)loss};
    if (!set_functions(self, functions)) {
        Py_DECREF((PyObject *)self);
        return NULL;
    }
    return (PyObject *)self;
}

#define METHOD(name, text) {#name, (PyCFunction)(void (*)(void))Calls_##name, METH_FASTCALL, text}

static PyMethodDef Calls_methods[] = {
    METHOD(update, "One update by an optimiser: loss, or None."),
    METHOD(apply, "One update by an optimiser from a gradient: True, or None."),
    METHOD(descend, "One plain SGD step: loss, or None."),
    METHOD(predict, "Outputs, or None."),
    METHOD(loss, "Mean loss, or None."),
    METHOD(gradient, "Mean loss and gradient, or None."),
    METHOD(forward, "Outputs and what `pull` needs, or None."),
    METHOD(pull, "Gradient, dX, or both; or None."),
    {"store", (PyCFunction)Calls_store, METH_NOARGS, "Write the slots that are kept to their array."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot Calls_slots[] = {
    {Py_tp_dealloc, Calls_dealloc},
    {Py_tp_new, Calls_new},
    {Py_tp_methods, Calls_methods},
    {Py_tp_doc, "Prepared calls of a network; see bindings/calls.c."},
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
    const struct {
        PyObject **to;
        const char *name;
    } names[] = {
        {&name_optimizer, "optimizer"}, {&name_slots, "slots"},     {&name_array, "array"},
        {&name_keeper, "keeper"},       {&name_updates, "updates"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((*names[i].to = PyUnicode_InternFromString(names[i].name)) == NULL)
            return NULL;
    return PyType_FromSpec(&Calls_spec);
}
