/* The running task, read where asyncio keeps it: the public way to it costs as much as all else that an acquire does.
 *
 * 3.14+   a field of the thread's state, beside the running loop
 * 3.13    the running loop is a field of the thread's state; its task is in _asyncio's dict of current tasks
 * 3.12    the running loop is in the thread's dict
 * 3.10+   the same, inside a holder that also has the process id, for a fork's child runs no loop
 *
 * The fields' place is found by looking for the running loop's address behind the public part of the state, the first time that a loop
 * runs, and what is found is compared with the public answer then; where they differ the public way is used for ever. Guard: the GIL.
 */
#ifndef FASTLOCK_ASYNCIO_H
#define FASTLOCK_ASYNCIO_H

#include "_native.h"
#include <opcode.h>

#if PY_VERSION_HEX < 0x030F0000 && defined(_Py_TPFLAGS_HAVE_AM_SEND)
#define Py_TPFLAGS_HAVE_AM_SEND_IF_ANY _Py_TPFLAGS_HAVE_AM_SEND
#else
#define Py_TPFLAGS_HAVE_AM_SEND_IF_ANY 0
#endif

#define FL_TASKS_IN_STATE (PY_VERSION_HEX >= 0x030E0000)
#define FL_LOOP_IN_STATE (PY_VERSION_HEX >= 0x030D0000)

static PyObject *fl_current_tasks = NULL; /* _asyncio's dict of loop to task; up to 3.13 */
static PyObject *fl_loop_key = NULL;
static size_t fl_loop_at = 0; /* offset in the thread's state; 0: not found yet */
static pid_t fl_pid = 0;

static void fl_new_pid(void) { fl_pid = getpid(); }

/* Borrowed, NULL where the calling thread runs no loop. */
static inline PyObject *fl_running_loop(void) {
#if FL_LOOP_IN_STATE
    return *(PyObject **)((char *)fl_tstate() + fl_loop_at);
#else
    PyObject *dict = PyThreadState_GetDict();
    PyObject *loop = dict != NULL ? PyDict_GetItem(dict, fl_loop_key) : NULL;
#if PY_VERSION_HEX < 0x030C0000
    struct { PyObject ob; PyObject *loop; pid_t pid; } *holder = (void *)loop;
    if (holder == NULL || loop == Py_None || holder->pid != fl_pid)
        return NULL;
    loop = holder->loop;
#endif
    return loop == Py_None ? NULL : loop;
#endif
}

/* Borrowed, NULL where none runs. */
static inline PyObject *fl_running_task(void) {
#if FL_TASKS_IN_STATE
    return *(PyObject **)((char *)fl_tstate() + fl_loop_at + sizeof(PyObject *));
#else
    PyObject *loop = fl_running_loop();
    PyObject *task = loop != NULL ? PyDict_GetItem(fl_current_tasks, loop) : NULL;
    return task == Py_None ? NULL : task;
#endif
}

/* Called in a thread that runs `loop`, with the public answer for the task (NULL for none): whether the fast way gives the same. */
static inline int fl_asyncio_agrees(PyObject *loop, PyObject *task) {
#if FL_LOOP_IN_STATE
    PyObject **fields = (PyObject **)((char *)fl_tstate() + sizeof(PyThreadState));
    size_t i, last = FL_TASKS_IN_STATE ? 24 : 1; /* words that the private part has for sure */
    fl_loop_at = 0;
    for (i = 0; i < last; i++)
        if (fields[i] == loop && (!FL_TASKS_IN_STATE || fields[i + 1] == task)) {
            fl_loop_at = sizeof(PyThreadState) + i * sizeof(PyObject *);
            break;
        }
    if (fl_loop_at == 0)
        return 0;
#endif
    return fl_running_loop() == loop && fl_running_task() == task;
}

static inline int fl_asyncio_setup(PyObject *current_tasks) {
    fl_loop_key = PyUnicode_InternFromString("__asyncio_running_event_loop__");
    Py_XINCREF(current_tasks);
    fl_current_tasks = current_tasks;
    fl_new_pid();
    (void)pthread_atfork(NULL, NULL, fl_new_pid);
    return fl_loop_key != NULL ? 0 : -1;
}

/* What `await` makes of a result that is ready: an iterator that ends at once, without an exception, is None. Asked by am_send, nothing is looked for. */
static PyObject *fl_ready_next(PyObject *self) {
    (void)self;
    return NULL;
}

static PySendResult fl_ready_send(PyObject *self, PyObject *value, PyObject **result) {
    (void)self;
    (void)value;
    *result = Py_NewRef(Py_None);
    return PYGEN_RETURN;
}

static PyObject *fl_itself(PyObject *self) { return Py_NewRef(self); }

static inline void fl_type_ready(PyObject *type) {
    ((PyTypeObject *)type)->tp_iternext = fl_ready_next;
    ((PyTypeObject *)type)->tp_as_async->am_await = fl_itself;
    ((PyTypeObject *)type)->tp_as_async->am_send = fl_ready_send;
    ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_HAVE_AM_SEND_IF_ANY;
}

/* For Cython, where a call has failed that it believes to be without errors: goes on as if one with errors had. */
static inline int fl_failed(void) { return -1; }

/* The slots by which the interpreter runs a coroutine of ours: am_send without an exception at the end, tp_iternext with one where the
 * result is not None (3.12 and later ask for that one). `step` gives what is to be yielded, or NULL without an error at the end. */

static inline int fl_sent(PyObject *yielded, PyObject *at_end, PyObject **result) {
    if (yielded == NULL && PyErr_Occurred()) {
        *result = NULL;
        return PYGEN_ERROR;
    }
    *result = yielded != NULL ? yielded : Py_NewRef(at_end);
    return yielded != NULL ? PYGEN_NEXT : PYGEN_RETURN;
}

/* From 3.12 to 3.14 `await` asks for that exception each time, and making it costs more than all else that a free primitive does. There
 * one that says True is kept and raised again, to the instruction SEND alone, which takes the value and drops it at once: whoever else
 * calls may keep it, with a traceback full of frames, and gets a new one. So does SEND where somebody has been told of the kept one (a
 * tracer) and still has it, or has written into it. Guard: the GIL. */
#if PY_VERSION_HEX >= 0x030C0000 && PY_VERSION_HEX < 0x030F0000 && !defined(Py_GIL_DISABLED)
static PyObject *fl_stop = NULL; /* StopIteration(True) */

static inline int fl_is_awaited(void) {
    fl_frame *f = fl_frame_current();
    unsigned char opcode = f != NULL ? *(const unsigned char *)f->instr : 0;
    return opcode == SEND || opcode == SEND_GEN;
}

static inline int fl_stop_is_as_made(void) {
    PyStopIterationObject *stop = (PyStopIterationObject *)fl_stop;
    return Py_REFCNT(stop) == 1 && stop->value == Py_True && stop->traceback == NULL && stop->context == NULL && stop->cause == NULL &&
           stop->notes == NULL && stop->dict == NULL && !stop->suppress_context;
}

/* `frames`: whether the layout of frames is known. */
static inline void fl_stop_with(PyObject *value, int frames) {
    if (value != Py_True || !frames || !fl_is_awaited()) {
        PyErr_SetObject(PyExc_StopIteration, value);
        return;
    }
    if (FL_UNLIKELY(fl_stop == NULL || !fl_stop_is_as_made())) {
        PyObject *stop = PyObject_CallOneArg(PyExc_StopIteration, Py_True);
        if (stop == NULL)
            return;
        Py_XSETREF(fl_stop, stop);
    }
    PyErr_SetRaisedException(Py_NewRef(fl_stop));
}
#else
static inline void fl_stop_with(PyObject *value, int frames) {
    (void)frames;
    PyErr_SetObject(PyExc_StopIteration, value);
}
#endif

static inline PyObject *fl_stepped(PyObject *yielded, PyObject *at_end, int frames) {
    if (yielded == NULL && at_end != Py_None && !PyErr_Occurred())
        fl_stop_with(at_end, frames);
    return yielded;
}

/* Most coroutines of ours end before they go: then their finaliser has nothing to say, and calling it would cost as much as making one. Some
 * of these are kept for the next ones, as the interpreter does with what is made and dropped all the time; `rests` drops what they refer to.
 * Not one that has been finalised, for that is done once: `is_over` says no. Guard: the GIL. */
#ifdef Py_GIL_DISABLED
#define FL_MOST_KEPT 0
#else
#define FL_MOST_KEPT 64
#endif
static PyObject *fl_kept[FL_MOST_KEPT + 1];
static int fl_kept_count = 0;
static destructor fl_coroutine_freed = NULL;
static int (*fl_coroutine_is_over)(PyObject *) = NULL;
static void (*fl_coroutine_rests)(PyObject *) = NULL;

static void fl_coroutine_dealloc(PyObject *self) {
    if (FL_LIKELY(fl_coroutine_is_over(self))) {
        if (FL_LIKELY(fl_kept_count < FL_MOST_KEPT)) {
            PyObject_GC_UnTrack(self);
            Py_SET_REFCNT(self, 1); /* what is dropped now may look at it */
            fl_coroutine_rests(self);
            if (fl_kept_count < FL_MOST_KEPT) /* that may have run anything */
                fl_kept[fl_kept_count++] = self;
            else
                PyObject_GC_Del(self);
            return;
        }
    } else if (PyObject_CallFinalizerFromDealloc(self) != 0)
        return;
    fl_coroutine_freed(self); /* calls no finaliser: it does so only where the slot is its own */
}

/* A new reference to one that refers to nothing, NULL without an error where none is kept. */
static inline PyObject *fl_coroutine_kept(void) {
    PyObject *self;
    if (FL_UNLIKELY(fl_kept_count == 0))
        return NULL;
    self = fl_kept[--fl_kept_count];
    _Py_NewReference(self);
    PyObject_GC_Track(self);
    return self;
}

static inline void fl_type_coroutine(PyObject *type, void *send, void *next, void *is_over, void *rests) {
    fl_coroutine_is_over = (int (*)(PyObject *))is_over;
    fl_coroutine_rests = (void (*)(PyObject *))rests;
    fl_coroutine_freed = ((PyTypeObject *)type)->tp_dealloc;
    ((PyTypeObject *)type)->tp_dealloc = fl_coroutine_dealloc;
    ((PyTypeObject *)type)->tp_as_async->am_await = fl_itself;
    ((PyTypeObject *)type)->tp_as_async->am_send = (sendfunc)send;
    ((PyTypeObject *)type)->tp_iternext = (iternextfunc)next;
    ((PyTypeObject *)type)->tp_flags |= Py_TPFLAGS_HAVE_AM_SEND_IF_ANY;
}

/* Lets the garbage collector see references that Cython does not know of, beside those that it does. For one type of a module. */
static traverseproc fl_traverse_rest = NULL, fl_traverse_own = NULL;

static int fl_traverse(PyObject *self, visitproc visit, void *context) {
    int stop = fl_traverse_own(self, visit, context);
    return stop != 0 ? stop : fl_traverse_rest(self, visit, context);
}

static inline void fl_type_traverse(PyObject *type, traverseproc own) {
    fl_traverse_own = own;
    fl_traverse_rest = ((PyTypeObject *)type)->tp_traverse;
    ((PyTypeObject *)type)->tp_traverse = fl_traverse;
}

#endif
