/* What Cython cannot say: atomics, thread-local cache, clock, mutexes, the caller's site, finalisation.
 *
 * Nothing here calls into Python except fl_site_* (which read interpreter structures) and
 * fl_finalizing (which reads one flag). One platform difference per section.
 */
#ifndef FASTLOCK_NATIVE_H
#define FASTLOCK_NATIVE_H

#include <Python.h>
#if PY_VERSION_HEX < 0x030B0000
#include <frameobject.h>
#endif
#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

/* ---- the build's variant -------------------------------------------------------------------
 * With the GIL every fast path runs while its thread holds the GIL, and slow paths change a lock word
 * only while they hold it too, so a plain test and store suffices. Readers without the GIL (a
 * thread's end, later the watchdog) still exist, hence relaxed atomics, which are plain moves. */
#if defined(Py_GIL_DISABLED) || defined(FASTLOCK_CAS)
#define FL_CAS_WORDS 1
#else
#define FL_CAS_WORDS 0
#endif

/* ---- tracebacks -----------------------------------------------------------------------------
 * Cython adds an entry for each function of ours that an exception leaves, by PyTraceBack_Here: half a dozen lines between
 * the program's and the message. Only the first is made, where there is none yet, for Cython's code counts on a
 * traceback's being there; the entries that the interpreter makes for its own frames all stay. */
static inline void fl_traceback_here(PyFrameObject *frame)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    PyErr_Restore(type, value, traceback);
    if (traceback == NULL)
        PyTraceBack_Here(frame);
}
#define PyTraceBack_Here(frame) fl_traceback_here(frame)

#define FL_LIKELY(x) __builtin_expect(!!(x), 1)
#define FL_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define FL_COLD __attribute__((noinline, cold))

#define fl_load8(p) __atomic_load_n((uint8_t *)(p), __ATOMIC_ACQUIRE)
#define fl_store8(p, v) __atomic_store_n((uint8_t *)(p), (uint8_t)(v), __ATOMIC_RELEASE)
#define fl_load32(p) __atomic_load_n((uint32_t *)(p), __ATOMIC_ACQUIRE)
#define fl_store32(p, v) __atomic_store_n((uint32_t *)(p), (uint32_t)(v), __ATOMIC_RELEASE)
#define fl_load64(p) __atomic_load_n((uint64_t *)(p), __ATOMIC_ACQUIRE)
#define fl_store64(p, v) __atomic_store_n((uint64_t *)(p), (uint64_t)(v), __ATOMIC_RELEASE)
/* Fields that a walk reads while their owner writes them: plain moves, but whole ones. */
#define fl_get(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define fl_put(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define fl_relaxed64(p) __atomic_load_n((uint64_t *)(p), __ATOMIC_RELAXED)
#define fl_add64(p, v) __atomic_add_fetch((uint64_t *)(p), (uint64_t)(v), __ATOMIC_RELAXED)
/* Between the two marks of a record that is being written, which a reader outside compares. */
#define fl_store_fence() __atomic_thread_fence(__ATOMIC_RELEASE)
#define fl_fence() __atomic_thread_fence(__ATOMIC_SEQ_CST)

static inline int fl_cas64(uint64_t *p, uint64_t expected, uint64_t desired) {
    return __atomic_compare_exchange_n(p, &expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
}

/* Takes a free word. */
static inline int fl_word_take(uint64_t *word, uint64_t mine) {
#if FL_CAS_WORDS
    uint64_t expected = 0;
    return __atomic_compare_exchange_n(word, &expected, mine, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
#else
    if (FL_LIKELY(__atomic_load_n(word, __ATOMIC_RELAXED) == 0)) {
        __atomic_store_n(word, mine, __ATOMIC_RELAXED);
        return 1;
    }
    return 0;
#endif
}

/* Gives back a word that nobody else waits for; fails where any bit differs from `mine`. */
static inline int fl_word_drop(uint64_t *word, uint64_t mine) {
#if FL_CAS_WORDS
    return __atomic_compare_exchange_n(word, &mine, 0, 0, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
#else
    if (FL_LIKELY(__atomic_load_n(word, __ATOMIC_RELAXED) == mine)) {
        __atomic_store_n(word, 0, __ATOMIC_RELAXED);
        return 1;
    }
    return 0;
#endif
}

/* ---- thread-local cache of the running agent ------------------------------------------------
 * One per extension module (a header's static), filled from _table on first use. Initial-exec makes
 * it one load; glibc keeps a small reserve for that model, of which these take eight bytes each. */
#if defined(__GLIBC__)
#define FL_TLS_MODEL __attribute__((tls_model("initial-exec")))
#else
#define FL_TLS_MODEL
#endif
static __thread void *fl_tls_self FL_TLS_MODEL __attribute__((unused)) = NULL;
#define fl_tls_get() (fl_tls_self)
#define fl_tls_set(p) (fl_tls_self = (void *)(p))

/* ---- clock and identity --------------------------------------------------------------------- */
static inline int64_t fl_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The same to some milliseconds, for a fraction of what it costs. */
static inline int64_t fl_about_now_ns(void) {
#ifdef CLOCK_MONOTONIC_COARSE
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
#else
    return fl_now_ns();
#endif
}

static inline uint32_t fl_native_id(void) {
#ifdef __linux__
    return (uint32_t)syscall(SYS_gettid);
#else
    return (uint32_t)PyThread_get_thread_native_id();
#endif
}

/* ---- mutexes of the slow paths --------------------------------------------------------------
 * Never held across anything that may call Python, allocate a Python object, block or raise. */
typedef pthread_mutex_t fl_mutex;
#define fl_mutex_init(m) ((void)pthread_mutex_init((m), NULL))
#define fl_mutex_lock(m) ((void)pthread_mutex_lock(m))
#define fl_mutex_unlock(m) ((void)pthread_mutex_unlock(m))

/* ---- finalisation ---------------------------------------------------------------------------- */
static inline int fl_finalizing(void) {
#if PY_VERSION_HEX >= 0x030D0000
    return Py_IsFinalizing();
#else
    return _Py_IsFinalizing();
#endif
}

/* What blocking means once the interpreter ends: from 3.15 on an error, before that a wait for a thread that may never
 * run again. Returns -1 with the error set. */
static inline int fl_refuse_at_exit(void) {
#if PY_VERSION_HEX >= 0x030F0000
    PyErr_SetString(PyExc_PythonFinalizationError, "cannot acquire lock at interpreter finalization");
    return -1;
#else
    return 0;
#endif
}

/* ---- the parker: an interruptible binary semaphore of the agent -------------------------------
 * A surplus post only makes the owner look again. The flag keeps a second post from the lock: up to 3.14 that would count
 * up a semaphore, and from 3.15 on, where the lock is a PyMutex, end the process. Both sides change the flag by
 * read-modify-write, so who finds it set knows that the owner will see what was written before. */
typedef struct {
    PyThread_type_lock lock; /* taken while the parker rests */
    uint8_t posted;
} fl_parker;

static inline void *fl_parker_new(void) {
    fl_parker *p = (fl_parker *)malloc(sizeof(fl_parker));
    if (p == NULL)
        return NULL;
    p->lock = PyThread_allocate_lock();
    p->posted = 1;
    if (p->lock == NULL) {
        free(p);
        return NULL;
    }
    return p;
}

static inline int fl_parker_wait(void *parker, int64_t timeout_ns, int interruptible) {
    fl_parker *p = (fl_parker *)parker;
    /* PY_TIMEOUT_T is microseconds; round up, so that nobody wakes before a deadline. */
    PY_TIMEOUT_T us = timeout_ns < 0 ? -1 : (PY_TIMEOUT_T)(timeout_ns / 1000 + (timeout_ns % 1000 != 0));
    PyLockStatus status = PyThread_acquire_lock_timed(p->lock, us, interruptible);
    if (status == PY_LOCK_ACQUIRED)
        (void)__atomic_exchange_n(&p->posted, 0, __ATOMIC_SEQ_CST);
    return (int)status;
}

static inline void fl_parker_post(void *parker) {
    fl_parker *p = (fl_parker *)parker;
    if (__atomic_exchange_n(&p->posted, 1, __ATOMIC_SEQ_CST) == 0)
        PyThread_release_lock(p->lock);
}

/* ---- the caller's site ------------------------------------------------------------------------
 * The address of the instruction that the interpreter executes in its current frame, read without
 * making a frame object. Layouts are those of the minor version; _table checks them once against the public
 * interface and clears fl_site_fast where they differ. */
#if PY_VERSION_HEX >= 0x030D0000 && defined(__x86_64__) && defined(__GLIBC__) && !defined(Py_GIL_DISABLED)
#define FL_DIRECT
/* The interpreter keeps the running thread's state in a thread-local variable and tells it by a call, which costs as much as all
 * else that an acquire does. Where the function is nothing but `mov %fs:offset,%rax; ret`, the offset holds for every
 * thread, and the variable is read directly; it is looked up once, when the module is loaded, and compared with the function's answer. */
static intptr_t fl_tstate_at = 0; /* from the thread pointer; 0: call */

static inline PyThreadState *fl_tstate_direct(intptr_t at) {
    PyThreadState *ts;
    __asm__ volatile("movq %%fs:(%1), %0" : "=r"(ts) : "r"(at));
    return ts;
}

__attribute__((constructor)) static void fl_find_tstate(void) {
    static const unsigned char endbr[] = {0xf3, 0x0f, 0x1e, 0xfa}, load[] = {0x64, 0x48, 0x8b, 0x04, 0x25};
    const unsigned char *code = (const unsigned char *)(void *)PyThreadState_GetUnchecked;
    int32_t at;
    if (memcmp(code, endbr, sizeof endbr) == 0)
        code += sizeof endbr;
    if (memcmp(code, load, sizeof load) != 0 || code[9] != 0xc3)
        return;
    memcpy(&at, code + sizeof load, sizeof at);
    if (fl_tstate_direct(at) == PyThreadState_GetUnchecked())
        fl_tstate_at = at;
}

static inline PyThreadState *fl_tstate(void) {
    return FL_LIKELY(fl_tstate_at != 0) ? fl_tstate_direct(fl_tstate_at) : PyThreadState_GetUnchecked();
}

/* The same for functions that are to call nothing; NULL: only a call tells. */
static inline PyThreadState *fl_tstate_uncalled(void) { return fl_tstate_at != 0 ? fl_tstate_direct(fl_tstate_at) : NULL; }
#elif PY_VERSION_HEX >= 0x030D0000
static inline PyThreadState *fl_tstate(void) { return PyThreadState_GetUnchecked(); }
static inline PyThreadState *fl_tstate_uncalled(void) { return fl_tstate(); }
#else
static inline PyThreadState *fl_tstate(void) { return _PyThreadState_UncheckedGet(); }
static inline PyThreadState *fl_tstate_uncalled(void) { return fl_tstate(); }
#endif

#if PY_VERSION_HEX >= 0x030B0000 && !defined(Py_GIL_DISABLED)

typedef struct fl_frame {
#if PY_VERSION_HEX >= 0x030C0000
    uintptr_t executable; /* a tagged reference from 3.14 on */
    struct fl_frame *previous;
    void *func, *globals, *builtins, *locals, *frame_obj;
    const char *instr;
#else
    void *func, *globals, *builtins, *locals;
    uintptr_t executable;
    void *frame_obj;
    struct fl_frame *previous;
    const char *instr;
#endif
} fl_frame;

static inline fl_frame *fl_frame_in(PyThreadState *ts) {
#if PY_VERSION_HEX >= 0x030D0000
    return (fl_frame *)ts->current_frame;
#else
    return (fl_frame *)ts->cframe->current_frame;
#endif
}

static inline fl_frame *fl_frame_previous(fl_frame *f) { return f->previous; }
static inline uint64_t fl_frame_key(fl_frame *f) { return (uint64_t)(uintptr_t)f->instr; }

/* The code object (borrowed), or NULL for the interpreter's own frames: those where C calls Python, and from 3.12 on the one
 * between a call of a class and its __init__. That one has code, in memory that cannot be written, whose file has the name of
 * its function, as no program's has. */
static inline PyCodeObject *fl_frame_code(fl_frame *f) {
    PyObject *o = (PyObject *)(f->executable & ~(uintptr_t)3);
    if (o == NULL || !PyCode_Check(o) || ((PyCodeObject *)o)->co_filename == ((PyCodeObject *)o)->co_name)
        return NULL;
    return (PyCodeObject *)o;
}

static inline int fl_frame_lasti(fl_frame *f, PyCodeObject *code) {
    return (int)(f->instr - (const char *)code->co_code_adaptive);
}

#elif PY_VERSION_HEX < 0x030B0000

typedef PyFrameObject fl_frame;
static inline fl_frame *fl_frame_in(PyThreadState *ts) { return ts->frame; }
static inline fl_frame *fl_frame_previous(fl_frame *f) { return f->f_back; }
/* Equal functions of one module share their bytecode here, so the key is the code object and the index. */
static inline uint64_t fl_frame_key(fl_frame *f) {
    return (uint64_t)(uintptr_t)f->f_code | ((uint64_t)(uint16_t)f->f_lasti << 48);
}
static inline PyCodeObject *fl_frame_code(fl_frame *f) { return f->f_code; }
static inline int fl_frame_lasti(fl_frame *f, PyCodeObject *code) { (void)code; return f->f_lasti * 2; }

#else /* free-threaded: instructions may lie in thread-local copies, so only the public path is sound */

typedef struct fl_frame fl_frame;
static inline fl_frame *fl_frame_in(PyThreadState *ts) { (void)ts; return NULL; }
static inline fl_frame *fl_frame_previous(fl_frame *f) { (void)f; return NULL; }
static inline uint64_t fl_frame_key(fl_frame *f) { (void)f; return 0; }
static inline PyCodeObject *fl_frame_code(fl_frame *f) { (void)f; return NULL; }
static inline int fl_frame_lasti(fl_frame *f, PyCodeObject *c) { (void)f; (void)c; return -1; }

#endif

static inline int fl_code_line(void *code, int lasti) { return PyCode_Addr2Line((PyCodeObject *)code, lasti); }
static inline fl_frame *fl_frame_current(void) { return fl_frame_in(fl_tstate()); }

static inline uint64_t fl_site_key_in(PyThreadState *ts) {
    fl_frame *f = fl_frame_in(ts);
    return FL_LIKELY(f != NULL) ? fl_frame_key(f) : 0;
}
static inline uint64_t fl_site_key(void) { return fl_site_key_in(fl_tstate()); }

/* Where in an event loop's work the thread is: the number of its context switches, of which each step of a task makes two. */
static inline uint64_t fl_step_in(PyThreadState *ts) { return ts->context_ver; }
static inline uint64_t fl_step(void) { return fl_step_in(fl_tstate()); }
static inline uint16_t fl_context_version(void) { return (uint16_t)fl_step(); }

/* The same with the frame that would be suspended: of the nearest coroutine where one is near, for helpers and context managers are
 * gone by then; else the innermost. */
static inline uint64_t fl_place_in(PyThreadState *ts) {
    fl_frame *innermost = fl_frame_in(ts), *f = innermost;
    int i;
    for (i = 0; f != NULL && i < 8; i++, f = fl_frame_previous(f)) {
        PyCodeObject *code = (PyCodeObject *)fl_frame_code(f);
        if (code != NULL && code->co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR | CO_ITERABLE_COROUTINE))
            break;
    }
    if (f == NULL || i == 8)
        f = innermost;
    return ((uint64_t)(uintptr_t)f & 0xFFFFFFFFFFFF) | (uint64_t)fl_step_in(ts) << 48;
}
static inline uint64_t fl_place(void) { return fl_place_in(fl_tstate()); }

/* The site without a call, where fl_is_direct(): what a function needs that is to stay a leaf. */
#ifdef FL_DIRECT
static inline int fl_is_direct(void) { return fl_tstate_at != 0; }
static inline uint64_t fl_site_key_direct(void) {
    fl_frame *f = fl_frame_in(fl_tstate_direct(fl_tstate_at));
    return FL_LIKELY(f != NULL) ? fl_frame_key(f) : 0;
}
#else
#define fl_is_direct() 0
#define fl_site_key_direct() fl_site_key()
#endif

/* True and None, as results: immortal from 3.12 on, and even the test for that is three instructions. */
static inline PyObject *fl_immortal(PyObject *o) {
#if PY_VERSION_HEX < 0x030C0000
    Py_INCREF(o);
#endif
    return o;
}
#define fl_true() fl_immortal(Py_True)
#define fl_none() fl_immortal(Py_None)

#include "_types.h"

#endif
