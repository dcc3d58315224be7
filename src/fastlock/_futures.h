/* What asyncio's own futures and a deque of them are asked, without the interpreter's way to a method: each such way costs more than the
 * answer, most of all where it is cold, as it is where a task waits. A method is called by the function that its descriptor names.
 *
 * A future's state is read where it keeps it. That place is found by looking at three futures, one in each state, and used only
 * where it is the only one that tells them apart. Any other future, and any other queue, is asked as Python does. Guard: the GIL.
 */
#ifndef FASTLOCK_FUTURES_H
#define FASTLOCK_FUTURES_H

#include "_native.h"

enum { FL_PENDING = 0, FL_CANCELLED = 1, FL_DONE = 2 }; /* as asyncio has them */

static PyObject *fl_future_class = NULL, *fl_loop_name = NULL; /* asyncio's futures, and the name of what they are made with */
static PyTypeObject *fl_future_type = NULL; /* asyncio's, in C; NULL: nothing is known of it */
static size_t fl_future_at = 0;             /* offset of its state */
static PyMethodDef *fl_future_set_result = NULL, *fl_future_result = NULL; /* the methods' definitions */
static PyGetSetDef *fl_future_blocking = NULL;
static PyTypeObject *fl_queue_type = NULL; /* deque */
static PyMethodDef *fl_queue_append = NULL, *fl_queue_popleft = NULL;
static PyTypeObject *fl_loop_type = NULL; /* last seen to make plain futures, and in which state of the type that was */
static unsigned int fl_loop_version = 0;

/* Whether `def` can be called by fl_def_call with that many arguments. */
static int fl_def_is_known(PyMethodDef *def, int arguments) {
#if PY_VERSION_HEX >= 0x030C0000
    if (def->ml_flags == (METH_METHOD | METH_FASTCALL | METH_KEYWORDS))
        return 1;
#endif
    return def->ml_flags == (arguments ? METH_O : METH_NOARGS);
}

/* NULL where the type has no such method in C. */
static PyMethodDef *fl_def_of(PyTypeObject *type, const char *name, int arguments) {
    PyObject *found = type->tp_dict != NULL ? PyDict_GetItemString(type->tp_dict, name) : NULL;
    if (found == NULL || Py_TYPE(found) != &PyMethodDescr_Type)
        return NULL;
    return fl_def_is_known(((PyMethodDescrObject *)found)->d_method, arguments) ? ((PyMethodDescrObject *)found)->d_method : NULL;
}

/* `argument` NULL: none. */
static inline PyObject *fl_def_call(PyMethodDef *def, PyObject *self, PyObject *argument) {
#if PY_VERSION_HEX >= 0x030C0000
    if (def->ml_flags & METH_METHOD)
        return ((PyCMethod)(void (*)(void))def->ml_meth)(self, Py_TYPE(self), &argument, argument != NULL, NULL);
#endif
    return def->ml_meth(self, argument);
}

static inline int fl_word_at(PyObject *o, size_t at) { return *(int *)((char *)o + at); }

/* `pair` is a deque of two; the futures are of one type, and one in each state. Returns deque, where its length is known to be in its head, else NULL. */
static void *fl_futures_learn(PyObject *pair, PyObject *pending, PyObject *cancelled, PyObject *done) {
    PyTypeObject *type = Py_TYPE(pending), *queue_type = Py_TYPE(pair);
    PyObject *blocking = type->tp_dict != NULL ? PyDict_GetItemString(type->tp_dict, "_asyncio_future_blocking") : NULL;
    size_t at, found = 0, places = 0;
    fl_future_class = Py_NewRef((PyObject *)type);
    fl_loop_name = Py_BuildValue("(s)", "loop");
    if (fl_loop_name != NULL)
        PyUnicode_InternInPlace(&PyTuple_GET_ITEM(fl_loop_name, 0));
    fl_queue_append = fl_def_of(queue_type, "append", 1);
    fl_queue_popleft = fl_def_of(queue_type, "popleft", 0);
    if (fl_queue_append != NULL && fl_queue_popleft != NULL && Py_SIZE(pair) == 2 && PyObject_Size(pair) == 2)
        fl_queue_type = queue_type;
    fl_future_set_result = fl_def_of(type, "set_result", 1);
    fl_future_result = fl_def_of(type, "result", 0);
    if (blocking == NULL || Py_TYPE(blocking) != &PyGetSetDescr_Type || fl_future_set_result == NULL || fl_future_result == NULL)
        return fl_queue_type;
    fl_future_blocking = ((PyGetSetDescrObject *)blocking)->d_getset;
    for (at = sizeof(PyObject); at + sizeof(int) <= (size_t)type->tp_basicsize; at += sizeof(int))
        if (fl_word_at(pending, at) == FL_PENDING && fl_word_at(cancelled, at) == FL_CANCELLED && fl_word_at(done, at) == FL_DONE) {
            found = at;
            places++;
        }
    if (places == 1) {
        fl_future_at = found;
        fl_future_type = type;
    }
    return fl_queue_type;
}

/* ---- as Python asks; cold */

static FL_COLD int fl_asked(PyObject *o, const char *method) {
    PyObject *answer = PyObject_CallMethod(o, method, NULL);
    int yes = answer != NULL ? PyObject_IsTrue(answer) : -1;
    Py_XDECREF(answer);
    return yes;
}

static FL_COLD int fl_future_state_asked(PyObject *future) {
    int yes = fl_asked(future, "cancelled");
    if (yes != 0)
        return yes < 0 ? -1 : FL_CANCELLED;
    yes = fl_asked(future, "done");
    return yes > 0 ? FL_DONE : yes;
}

/* -1 and an error where the method raises; what it returns is of no interest. */
static FL_COLD int fl_asked_of(PyObject *o, const char *method, PyObject *argument) {
    PyObject *result = argument != NULL ? PyObject_CallMethod(o, method, "O", argument) : PyObject_CallMethod(o, method, NULL);
    Py_XDECREF(result);
    return result != NULL ? 0 : -1;
}

/* The same of None, or of NULL and an error. */
static inline int fl_done(PyObject *result) {
    if (FL_UNLIKELY(result == NULL))
        return -1;
    Py_DECREF(result);
    return 0;
}

/* ---- futures */

static inline int fl_future_is_plain(PyObject *future) { return Py_TYPE(future) == fl_future_type; }

/* FL_PENDING, FL_CANCELLED or FL_DONE; -1 and an error. */
static inline int fl_future_state(PyObject *future) {
    return FL_LIKELY(fl_future_is_plain(future)) ? fl_word_at(future, fl_future_at) : fl_future_state_asked(future);
}

/* Of the loop, as its create_future() makes one. */
static inline PyObject *fl_future_new(PyObject *loop) { return PyObject_Vectorcall(fl_future_class, &loop, 0, fl_loop_name); }

/* set_result(True) */
static inline int fl_future_set_true(PyObject *future) {
    return FL_LIKELY(fl_future_is_plain(future)) ? fl_done(fl_def_call(fl_future_set_result, future, Py_True))
                                                 : fl_asked_of(future, "set_result", Py_True);
}

/* result(), for the error that it raises */
static inline int fl_future_check(PyObject *future) {
    return FL_LIKELY(fl_future_is_plain(future)) ? fl_done(fl_def_call(fl_future_result, future, NULL))
                                                 : fl_asked_of(future, "result", NULL);
}

/* All that `await` does with a plain future. */
static inline int fl_future_yielded(PyObject *future) { return fl_future_blocking->set(future, Py_True, fl_future_blocking->closure); }

/* ---- loops: whether create_future() of a loop is known to be asyncio's, which makes plain futures */

static inline unsigned int fl_type_version(PyTypeObject *type) {
#if PY_VERSION_HEX < 0x030E0000
    if (!(type->tp_flags & Py_TPFLAGS_VALID_VERSION_TAG))
        return 0;
#endif
    return type->tp_version_tag;
}

static inline int fl_loop_is_known(PyObject *loop) {
    return Py_TYPE(loop) == fl_loop_type && fl_loop_version != 0 && fl_type_version(fl_loop_type) == fl_loop_version;
}

static inline void fl_loop_known(PyObject *loop) {
    fl_loop_type = Py_TYPE(loop);
    fl_loop_version = fl_type_version(fl_loop_type); /* a number that no other type has, nor this one once it is changed */
}

/* ---- queues: None, a deque, or what somebody has put there */

/* A new reference. */
static inline PyObject *fl_queue_first(PyObject *queue) {
    return FL_LIKELY(Py_TYPE(queue) == fl_queue_type) ? fl_queue_type->tp_as_sequence->sq_item(queue, 0) : PySequence_GetItem(queue, 0);
}

static inline int fl_queue_add(PyObject *queue, PyObject *item) {
    return FL_LIKELY(Py_TYPE(queue) == fl_queue_type) ? fl_done(fl_def_call(fl_queue_append, queue, item))
                                                      : fl_asked_of(queue, "append", item);
}

static FL_COLD int fl_queue_drop_later(PyObject *queue, PyObject *item) {
    int is_there = PySequence_Contains(queue, item);
    return is_there > 0 ? fl_asked_of(queue, "remove", item) : is_there;
}

/* Takes it out, if it is there; mostly it is the first. */
static inline int fl_queue_drop(PyObject *queue, PyObject *item) {
    PyObject *first;
    if (FL_UNLIKELY(Py_TYPE(queue) != fl_queue_type))
        return queue == Py_None ? 0 : fl_queue_drop_later(queue, item);
    if (Py_SIZE(queue) == 0)
        return 0;
    first = fl_queue_first(queue);
    if (first == NULL)
        return -1;
    Py_DECREF(first); /* the queue has it */
    return FL_LIKELY(first == item) ? fl_done(fl_def_call(fl_queue_popleft, queue, NULL)) : fl_queue_drop_later(queue, item);
}

#endif
