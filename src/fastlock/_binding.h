/* Cheap binding of __enter__ and __exit__ before CPython 3.14.
 *
 * Up to 3.13 a `with` statement binds both methods through tp_descr_get, and a method descriptor makes a
 * garbage-collected builtin for each: 40 of the 100 ns that `with lock: pass` costs. This descriptor wraps the original
 * one and binds to a small object from a free list instead. From 3.14 on `with` does not bind at all, and nothing here is used.
 * Guard of the free list: the GIL.
 */
#ifndef FASTLOCK_BINDING_H
#define FASTLOCK_BINDING_H

#include <Python.h>
#include <structmember.h>

#if PY_VERSION_HEX < 0x030E0000 && !defined(Py_GIL_DISABLED)
#define FL_CHEAP_BINDING 1
#else
#define FL_CHEAP_BINDING 0
#endif

#if FL_CHEAP_BINDING

typedef struct {
    PyObject_HEAD
    vectorcallfunc call;
    PyMethodDescrObject *original;
    int flags;
    PyCFunction function;
} fl_method;

typedef struct fl_bound {
    PyObject_HEAD
    vectorcallfunc call;
    PyObject *self;
    fl_method *method;
} fl_bound;

#define FL_BOUND_KEEP 32
static fl_bound *fl_bound_free[FL_BOUND_KEEP];
static int fl_bound_kept = 0;
static PyTypeObject fl_bound_type, fl_method_type;

static PyObject *fl_bound_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names) {
    fl_bound *b = (fl_bound *)callable;
    Py_ssize_t n = PyVectorcall_NARGS(nargsf);
    if (b->method->flags == (METH_FASTCALL | METH_KEYWORDS))
        return ((_PyCFunctionFastWithKeywords)(void (*)(void))b->method->function)(b->self, args, n, names);
    if (names == NULL || PyTuple_GET_SIZE(names) == 0) {
        if (b->method->flags == METH_FASTCALL)
            return ((_PyCFunctionFast)(void (*)(void))b->method->function)(b->self, args, n);
        if (n == 0)
            return b->method->function(b->self, NULL);
    }
    PyErr_Format(PyExc_TypeError, "%s() takes no arguments", b->method->original->d_method->ml_name);
    return NULL;
}

static void fl_bound_dealloc(PyObject *o) {
    fl_bound *b = (fl_bound *)o;
    PyObject *self = b->self;
    fl_method *method = b->method;
    if (fl_bound_kept < FL_BOUND_KEEP)
        fl_bound_free[fl_bound_kept++] = b;
    else
        PyObject_Free(o);
    Py_DECREF(method);
    Py_DECREF(self); /* last: it may run anything */
}

static PyObject *fl_bound_getattro(PyObject *o, PyObject *name) {
    fl_bound *b = (fl_bound *)o;
    PyObject *value = PyObject_GenericGetAttr(o, name);
    if (value != NULL || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return value;
    PyErr_Clear();
    return PyObject_GetAttr((PyObject *)b->method->original, name);
}

static PyObject *fl_bound_repr(PyObject *o) {
    fl_bound *b = (fl_bound *)o;
    return PyUnicode_FromFormat("<built-in method %s of %s object at %p>", b->method->original->d_method->ml_name,
                                Py_TYPE(b->self)->tp_name, b->self);
}

static PyObject *fl_bound_compare(PyObject *a, PyObject *b, int op) {
    if ((op != Py_EQ && op != Py_NE) || !Py_IS_TYPE(a, &fl_bound_type) || !Py_IS_TYPE(b, &fl_bound_type))
        Py_RETURN_NOTIMPLEMENTED;
    int same = ((fl_bound *)a)->self == ((fl_bound *)b)->self && ((fl_bound *)a)->method == ((fl_bound *)b)->method;
    return PyBool_FromLong(op == Py_EQ ? same : !same);
}

static Py_hash_t fl_bound_hash(PyObject *o) {
    return _Py_HashPointer(((fl_bound *)o)->self) ^ _Py_HashPointer(((fl_bound *)o)->method);
}

/* A method that somebody makes an attribute of a class stays what it is, as a builtin does. Having this at all is what
 * makes it a routine to the inspect module, which then reads its signature. */
static PyObject *fl_bound_get(PyObject *o, PyObject *self, PyObject *type) {
    (void)self;
    (void)type;
    Py_INCREF(o);
    return o;
}

static PyMemberDef fl_bound_members[] = {
    {"__self__", T_OBJECT, offsetof(fl_bound, self), READONLY, NULL},
    {NULL, 0, 0, 0, NULL},
};

static PyTypeObject fl_bound_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "builtin_method",
    .tp_basicsize = sizeof(fl_bound),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(fl_bound, call),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = fl_bound_get,
    .tp_dealloc = fl_bound_dealloc,
    .tp_getattro = fl_bound_getattro,
    .tp_repr = fl_bound_repr,
    .tp_richcompare = fl_bound_compare,
    .tp_hash = fl_bound_hash,
    .tp_members = fl_bound_members,
};

static PyObject *fl_method_get(PyObject *descr, PyObject *self, PyObject *type) {
    fl_bound *b;
    PyMethodDescrObject *original = ((fl_method *)descr)->original;
    if (self == NULL) {
        Py_INCREF(descr);
        return descr;
    }
    if (!PyObject_TypeCheck(self, PyDescr_TYPE(original))) /* somebody has put the method into another class */
        return Py_TYPE(original)->tp_descr_get((PyObject *)original, self, type);
    if (fl_bound_kept > 0) {
        b = fl_bound_free[--fl_bound_kept];
        Py_SET_REFCNT((PyObject *)b, 1);
    } else {
        b = PyObject_New(fl_bound, &fl_bound_type);
        if (b == NULL)
            return NULL;
        b->call = fl_bound_call;
    }
    Py_INCREF(self);
    b->self = self;
    Py_INCREF(descr);
    b->method = (fl_method *)descr;
    return (PyObject *)b;
}

static PyObject *fl_method_call(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *names) {
    return PyObject_Vectorcall((PyObject *)((fl_method *)callable)->original, args, nargsf, names);
}

static PyObject *fl_method_getattro(PyObject *o, PyObject *name) {
    return PyObject_GetAttr((PyObject *)((fl_method *)o)->original, name);
}

static PyObject *fl_method_repr(PyObject *o) { return PyObject_Repr((PyObject *)((fl_method *)o)->original); }

static void fl_method_dealloc(PyObject *o) {
    Py_DECREF(((fl_method *)o)->original);
    PyObject_Free(o);
}

static PyTypeObject fl_method_type = {
    PyVarObject_HEAD_INIT(NULL, 0)
    .tp_name = "method_descriptor",
    .tp_basicsize = sizeof(fl_method),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_vectorcall_offset = offsetof(fl_method, call),
    .tp_call = PyVectorcall_Call,
    .tp_descr_get = fl_method_get,
    .tp_getattro = fl_method_getattro,
    .tp_repr = fl_method_repr,
    .tp_dealloc = fl_method_dealloc,
};

#endif

/* Makes the type's method `name` cheap to bind, where binding costs. */
static int fl_type_cheap_binding(PyObject *type, const char *name) {
#if FL_CHEAP_BINDING
    PyObject *dict = ((PyTypeObject *)type)->tp_dict;
    PyObject *original = PyDict_GetItemString(dict, name);
    fl_method *m;
    int rc;
    if (original == NULL || !Py_IS_TYPE(original, &PyMethodDescr_Type)) {
        PyErr_Format(PyExc_SystemError, "%s is not a method descriptor", name);
        return -1;
    }
    if (PyType_Ready(&fl_bound_type) < 0 || PyType_Ready(&fl_method_type) < 0)
        return -1;
    m = PyObject_New(fl_method, &fl_method_type);
    if (m == NULL)
        return -1;
    Py_INCREF(original);
    m->original = (PyMethodDescrObject *)original;
    m->call = fl_method_call;
    m->flags = m->original->d_method->ml_flags & (METH_FASTCALL | METH_NOARGS | METH_KEYWORDS);
    m->function = m->original->d_method->ml_meth;
    rc = PyDict_SetItemString(dict, name, (PyObject *)m);
    Py_DECREF(m);
    PyType_Modified((PyTypeObject *)type);
    return rc;
#else
    (void)type;
    (void)name;
    return 0;
#endif
}

#endif
