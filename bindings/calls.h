/* What the files of the extension module _row share. */
#ifndef NST_CALLS_H
#define NST_CALLS_H

#define PY_SSIZE_T_CLEAN
#define NPY_NO_DEPRECATED_API  NPY_2_0_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL nst_numpy
#include <Python.h>
#include <numpy/arrayobject.h>

#include "nanostep.h"

/* Return a new reference to the type Calls, or null with an exception set. */
PyObject *nst_calls_type(void);

#endif
