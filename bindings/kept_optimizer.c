/* An optimiser as the C library takes it, checked again only if one of its fields has changed. */
#define NO_IMPORT_ARRAY
#include "calls.h"

#include <float.h>

void nst_forget_optimizer(KeptOptimizer *kept)
{
    for (Py_ssize_t i = 0; i < kept->fields; i++) {
        Py_DECREF(kept->names[i]);
        Py_DECREF(kept->values[i]);
    }
    Py_XDECREF((PyObject *)kept->kind);
    kept->kind = NULL;
    kept->fields = 0;
}

/* 1 if the fields of an optimiser are those that are kept. A new rate is taken over. */
static int is_kept(KeptOptimizer *kept, PyObject *optimizer, PyObject *fields)
{
    Py_ssize_t place = 0, i = 0;
    PyObject *name, *value;
    if (Py_TYPE(optimizer) != kept->kind || PyDict_Size(fields) != kept->fields)
        return 0;
    while (PyDict_Next(fields, &place, &name, &value)) {
        if (i >= kept->fields || name != kept->names[i])
            return 0;
        if (value != kept->values[i]) {
            if (PyUnicode_CompareWithASCIIString(name, "lr") != 0 || !PyFloat_CheckExact(value))
                return 0;
            const double lr = PyFloat_AsDouble(value);
            if (!(lr > 0 && lr <= DBL_MAX))
                return 0;
            kept->filled.lr = lr;
            Py_INCREF(value);
            PyObject *const before = kept->values[i];
            kept->values[i] = value;
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
static void keep_optimizer(KeptOptimizer *kept, PyTypeObject *kind, PyObject *fields)
{
    Py_ssize_t place = 0;
    PyObject *name, *value;
    nst_forget_optimizer(kept);
    while (PyDict_Next(fields, &place, &name, &value)) {
        if (kept->fields == MOST_FIELDS || !is_immutable(value)) {
            nst_forget_optimizer(kept);
            return;
        }
        Py_INCREF(name);
        Py_INCREF(value);
        kept->names[kept->fields] = name;
        kept->values[kept->fields] = value;
        kept->fields++;
    }
    Py_INCREF((PyObject *)kind);
    kept->kind = kind;
}

/* Check an optimiser whose fields have changed, and fill `kept` from it; 0 if it is not taken, perhaps with an
 * exception set. Other threads may change the fields meanwhile, and may fill `kept` from another one: so the
 * fields are copied before the check, and what was filled is taken over after it. */
static int fill_optimizer(KeptOptimizer *kept, PyObject *optimizer, PyObject *fields)
{
    nst_optimizer filled;
    PyObject *const copy = PyDict_Copy(fields);
    if (copy == NULL)
        return 0;
    PyObject *const slots = PyObject_CallFunction(kept->fill, "OK", optimizer, (unsigned long long)(uintptr_t)&filled);
    const int accepted = slots != NULL && PyLong_Check(slots);
    if (accepted) {
        kept->slot_count = PyLong_AsSsize_t(slots);
        kept->filled = filled;
        kept->is_plain = filled.kind == NST_OPTIMIZER_SGD && filled.momentum == 0 && filled.weight_decay == 0 &&
                         filled.l1 == 0 && filled.clip_norm == 0 && filled.clip_value == 0;
        keep_optimizer(kept, Py_TYPE(optimizer), copy);
    }
    Py_XDECREF(slots);
    Py_DECREF(copy);
    return accepted;
}

int nst_look_at_optimizer(KeptOptimizer *kept, PyObject *optimizer)
{
    PyObject *const fields = PyObject_GenericGetDict(optimizer, NULL);
    if (fields == NULL)
        return 0;
    const int accepted = is_kept(kept, optimizer, fields) || fill_optimizer(kept, optimizer, fields);
    Py_DECREF(fields);
    return accepted;
}
