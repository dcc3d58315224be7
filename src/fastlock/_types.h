/* What Cython does not let a type be: named, called and given methods as the stdlib's are. */
#ifndef FASTLOCK_TYPES_H
#define FASTLOCK_TYPES_H

#include <Python.h>
#include <stdlib.h>
#include <string.h>

/* ---- types --------------------------------------------------------------------------------------
 * Other programs look at the names of lock types, so ours carry the stdlib's. Static types, under the GIL, at import. */
static inline void fl_type_name(PyObject *type, const char *name) { ((PyTypeObject *)type)->tp_name = name; }

static inline int fl_type_set(PyObject *type, PyObject *name, PyObject *value) {
    int rc = PyDict_SetItem(((PyTypeObject *)type)->tp_dict, name, value);
    PyType_Modified((PyTypeObject *)type);
    return rc;
}

/* A function of a module's; its definition and its text live for ever. */
static inline PyObject *fl_function(const char *name, void *function, int flags, const char *doc, PyObject *module) {
    PyMethodDef *def = PyMem_RawCalloc(1, sizeof(PyMethodDef));
    if (def == NULL)
        return PyErr_NoMemory();
    def->ml_name = name;
    def->ml_meth = (PyCFunction)function;
    def->ml_flags = flags;
    def->ml_doc = strdup(doc);
    return PyCFunction_NewEx(def, NULL, module);
}

/* What calling the type does, without a tuple of arguments. */
static inline void fl_type_vectorcall(PyObject *type, void *function) {
    ((PyTypeObject *)type)->tp_vectorcall = (vectorcallfunc)function;
}

/* Only the factory makes these: what calling the type of a stdlib lock says. */
static inline void fl_type_no_new(PyObject *type) {
    ((PyTypeObject *)type)->tp_new = NULL;
    ((PyTypeObject *)type)->tp_vectorcall = NULL;
    ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_DISALLOW_INSTANTIATION;
    PyDict_DelItemString(((PyTypeObject *)type)->tp_dict, "__new__");
    PyErr_Clear();
    PyType_Modified((PyTypeObject *)type);
}

/* Puts a METH_FASTCALL method in place of the one that Cython made: no keyword parsing, no reference counting of
 * arguments that nobody reads. The definition lives as long as the type, which is for ever. */
static inline int fl_type_method(PyObject *type, const char *name, void *function, int flags, const char *doc) {
    PyMethodDef *def = PyMem_RawCalloc(1, sizeof(PyMethodDef));
    PyObject *method;
    int rc;
    if (def == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    def->ml_name = name;
    def->ml_meth = (PyCFunction)function;
    def->ml_flags = flags;
    def->ml_doc = doc;
    method = PyDescr_NewMethod((PyTypeObject *)type, def);
    rc = method == NULL ? -1 : PyDict_SetItemString(((PyTypeObject *)type)->tp_dict, name, method);
    Py_XDECREF(method);
    PyType_Modified((PyTypeObject *)type);
    return rc;
}

#endif
