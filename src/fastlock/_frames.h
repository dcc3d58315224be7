/* Other threads' frames, by address: whether one that took a lock is still on its thread's stack. Only with the GIL, which keeps them still.
 *
 * A frame of a function lies on its thread's stack of frames, where the next call uses the place again; a coroutine's or generator's lies
 * inside its object (up to 3.10 it is one), so that its address is its own for as long as it lives.
 */
#ifndef FASTLOCK_FRAMES_H
#define FASTLOCK_FRAMES_H

#include "_native.h"

#define FL_FRAME_MASK (((uint64_t)1 << 48) - 1)

static inline PyThreadState *fl_thread(unsigned long ident) {
    PyThreadState *ts = PyInterpreterState_ThreadHead(PyThreadState_Get()->interp);
    while (ts != NULL && ts->thread_id != ident)
        ts = PyThreadState_Next(ts);
    return ts;
}

#ifndef Py_GIL_DISABLED
static inline fl_frame *fl_frame_of_thread(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030D0000
    return (fl_frame *)ts->current_frame;
#elif PY_VERSION_HEX >= 0x030B0000
    return ts->cframe != NULL ? (fl_frame *)ts->cframe->current_frame : NULL;
#else
    return ts->frame;
#endif
}
#else
static inline fl_frame *fl_frame_of_thread(PyThreadState *ts) { (void)ts; return NULL; }
#endif

/* Whether the thread still runs in the frame, or in what that one has called. */
static inline int fl_runs_in(unsigned long ident, uint64_t frame) {
    PyThreadState *ts = fl_thread(ident);
    fl_frame *f = ts != NULL ? fl_frame_of_thread(ts) : NULL;
    while (f != NULL && ((uint64_t)(uintptr_t)f & FL_FRAME_MASK) != frame)
        f = fl_frame_previous(f);
    return f != NULL;
}

/* Whether the thread's context version has its lower bits as given: then no task of its loop has been resumed since. */
static inline int fl_same_context(unsigned long ident, uint16_t version) {
    PyThreadState *ts = fl_thread(ident);
    return ts != NULL && (uint16_t)ts->context_ver == version;
}

/* A thread's context version: another one as soon as its loop has run something. -1 where there is no such thread. */
static inline int64_t fl_context_of(unsigned long ident) {
    PyThreadState *ts = fl_thread(ident);
    return ts != NULL ? (int64_t)(ts->context_ver & 0x7FFFFFFFFFFFFFFF) : -1;
}

/* Whether the thread's innermost Python call runs one of these code objects; an unknown thread's may. */
static inline int fl_is_inside(unsigned long ident, PyObject **codes, int n) {
    PyThreadState *ts = fl_thread(ident);
    fl_frame *f = ts != NULL ? fl_frame_of_thread(ts) : NULL;
    void *code = f != NULL ? fl_frame_code(f) : NULL;
    int i;
    for (i = 0; i < n && code != NULL; i++)
        if (code == codes[i])
            return 1;
    return code == NULL;
}

/* The calling function's frame. */
static inline uint64_t fl_frame_here(void) { return (uint64_t)(uintptr_t)fl_frame_current() & FL_FRAME_MASK; }

#endif
