"""Cython's view of _native.h: atomics, thread-local cache, clock, mutexes, parker, the caller's site."""
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef extern from "_native.h" nogil:
    int FL_CAS_WORDS
    bint FL_LIKELY(bint)
    bint FL_UNLIKELY(bint)

    uint8_t fl_load8(void*)
    void fl_store8(void*, uint8_t)
    uint32_t fl_load32(void*)
    void fl_store32(void*, uint32_t)
    uint64_t fl_load64(void*)
    void fl_store64(void*, uint64_t)
    uint8_t fl_get8 "fl_get"(uint8_t*)
    uint32_t fl_get32 "fl_get"(uint32_t*)
    uint64_t fl_get64 "fl_get"(uint64_t*)
    int64_t fl_get_ns "fl_get"(int64_t*)
    void fl_put8 "fl_put"(uint8_t*, uint8_t)
    void fl_put32 "fl_put"(uint32_t*, uint32_t)
    void fl_put64 "fl_put"(uint64_t*, uint64_t)
    void fl_put_ns "fl_put"(int64_t*, int64_t)
    uint64_t fl_relaxed64(void*)
    uint64_t fl_add64(void*, int64_t)
    void fl_fence()
    void fl_store_fence()
    bint fl_cas64(uint64_t*, uint64_t, uint64_t)
    bint fl_word_take(uint64_t*, uint64_t)
    bint fl_word_drop(uint64_t*, uint64_t)

    void* fl_tls_get()
    void fl_tls_set(void*)

    int64_t fl_now_ns()
    int64_t fl_about_now_ns()
    uint32_t fl_native_id()

    ctypedef struct fl_mutex:
        pass
    void fl_mutex_init(fl_mutex*)
    void fl_mutex_lock(fl_mutex*)
    void fl_mutex_unlock(fl_mutex*)

    bint fl_finalizing()

    void* fl_parker_new()
    int fl_parker_wait(void*, int64_t, bint)
    void fl_parker_post(void*)

    ctypedef struct PyThreadState:
        pass
    PyThreadState* fl_tstate_uncalled()
    ctypedef struct fl_frame:
        pass
    fl_frame* fl_frame_current()
    fl_frame* fl_frame_previous(fl_frame*)
    uint64_t fl_frame_key(fl_frame*)
    void* fl_frame_code(fl_frame*)
    int fl_frame_lasti(fl_frame*, void*)
    int fl_code_line(void*, int)
    uint64_t fl_site_key()
    uint64_t fl_site_key_direct()
    bint fl_is_direct()
    uint64_t fl_site_key_in(PyThreadState*)
    uint64_t fl_step()
    uint64_t fl_step_in(PyThreadState*)
    uint16_t fl_context_version()
    uint64_t fl_place()
    uint64_t fl_place_in(PyThreadState*)

cdef extern from "_native.h":
    PyObject* fl_true()
    PyObject* fl_none()
    int fl_refuse_at_exit() except -1
    void fl_type_name(object, const char*)
    int fl_type_set(object, object, object) except -1
    object fl_function(const char*, void*, int, const char*, object)
    void fl_type_vectorcall(object, void*)
    void fl_type_no_new(object)
    int fl_type_method(object, const char*, void*, int, const char*) except -1
    int METH_FASTCALL
    int METH_NOARGS
    int METH_KEYWORDS

cdef extern from "_binding.h":
    int fl_type_cheap_binding(object, const char*) except -1
