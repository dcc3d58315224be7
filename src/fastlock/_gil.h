/* The GIL as somebody sees it who does not hold it: who does, how often it has changed hands, whether another thread wants it.
 *
 * Read only, by fl_peek. Where the fields lie is what the interpreter's internal headers say, and is compared at import with what
 * the importing thread knows for certain; where anything differs, the GIL is not watched.
 */
#ifndef FASTLOCK_GIL_H
#define FASTLOCK_GIL_H

#include "_peek.h"

#if defined(__linux__) && !defined(Py_GIL_DISABLED) && defined(__has_include)
#if __has_include("internal/pycore_interp.h")
#define FL_GIL_KNOWN 1
#ifndef Py_BUILD_CORE
#define Py_BUILD_CORE 1
#define FL_NOT_CORE
#endif
#undef _PyGC_FINALIZED /* a macro of 3.12's public headers, a function of its internal ones */
#include "internal/pycore_interp.h"
#include "internal/pycore_runtime.h"
#ifdef FL_NOT_CORE
#undef Py_BUILD_CORE
#endif
#endif
#endif

typedef struct {
    uint64_t holder;   /* the thread state of who holds it, or held it last */
    uint64_t switches; /* times that it has gone to another thread */
    int locked;
    int wanted; /* a thread has waited for it longer than the switch interval, and asked the holder to let it go */
} fl_gil;

#ifdef FL_GIL_KNOWN

/* The beginning of struct _gil_runtime_state, the same from 3.10 to 3.15. */
typedef struct {
    unsigned long interval;
    uintptr_t last_holder;
    int locked;
    unsigned long switch_number;
} fl_gil_fields;

_Static_assert(offsetof(fl_gil_fields, last_holder) == offsetof(struct _gil_runtime_state, last_holder) &&
                   offsetof(fl_gil_fields, locked) == offsetof(struct _gil_runtime_state, locked) &&
                   offsetof(fl_gil_fields, switch_number) == offsetof(struct _gil_runtime_state, switch_number),
               "the fields of the GIL");

static uintptr_t fl_gil_at = 0; /* written at import */
#if PY_VERSION_HEX < 0x030D0000
static uintptr_t fl_wanted_at = 0; /* the same */
#else
#define FL_DROP_REQUEST 1 /* _PY_GIL_DROP_REQUEST_BIT, in the holder's state */
#endif

static inline int fl_gil_wanted(uintptr_t holder) {
#if PY_VERSION_HEX < 0x030D0000
    int wanted = 0;
    (void)holder;
    return fl_peek(&wanted, fl_wanted_at, sizeof wanted) ? wanted : -1;
#else
    uintptr_t breaker = 0;
    return fl_peek(&breaker, holder + offsetof(PyThreadState, eval_breaker), sizeof breaker) ? (int)(breaker & FL_DROP_REQUEST) : -1;
#endif
}

/* Returns 0 where it could not be read: the holder has just ended, or the interpreter has. */
static inline int fl_gil_read(fl_gil *g) {
    fl_gil_fields fields;
    if (!fl_peek(&fields, fl_gil_at, sizeof fields))
        return 0;
    g->holder = fields.last_holder;
    g->switches = fields.switch_number;
    g->locked = fields.locked;
    g->wanted = fields.locked == 1 ? fl_gil_wanted(fields.last_holder) : 0;
    return g->wanted >= 0;
}

/* Finds it; returns NULL, or why it cannot be watched. With the GIL held, once. */
static inline const char *fl_gil_open(unsigned long interval_us) {
    PyThreadState *me = PyThreadState_Get();
    PyInterpreterState *interpreter = PyThreadState_GetInterpreter(me);
    uintptr_t at;
    fl_gil_fields fields;
    fl_gil seen;
    int limit;
#if PY_VERSION_HEX >= 0x030C0000
    if (!fl_peek(&at, (uintptr_t)&interpreter->ceval.gil, sizeof at))
        return "this process may not read its own memory by process_vm_readv";
#else
    at = (uintptr_t)&_PyRuntime.ceval.gil;
#endif
    if (!fl_peek(&limit, (uintptr_t)&interpreter->ceval.recursion_limit, sizeof limit))
        return "this process may not read its own memory by process_vm_readv";
    if (limit != Py_GetRecursionLimit() || !fl_peek(&fields, at, sizeof fields) || fields.interval != interval_us)
        return "the interpreter's GIL is not where this build of fastlock expects it";
    fl_gil_at = at;
#if PY_VERSION_HEX < 0x030D0000
    fl_wanted_at = (uintptr_t)&interpreter->ceval.gil_drop_request;
#endif
    if (!fl_gil_read(&seen) || seen.holder != (uintptr_t)me || seen.locked != 1 || (seen.wanted != 0 && seen.wanted != 1))
        return "the interpreter's GIL does not say what this thread knows of it";
    return NULL;
}

#else

static inline int fl_gil_read(fl_gil *g) { (void)g; return 0; }
static inline const char *fl_gil_open(unsigned long interval_us) {
    (void)interval_us;
#if defined(Py_GIL_DISABLED)
    return "this interpreter can run without a GIL";
#elif !defined(__linux__)
    return "only on Linux can the GIL be watched";
#else
    return "this build of fastlock had no internal headers of the interpreter";
#endif
}

#endif

#endif
