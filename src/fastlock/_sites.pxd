# cython: language_level=3
"""Call sites, interned. See _sites.pyx for guards and costs."""
from cpython.object cimport PyObject
from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef struct FSite:
    uint64_t key
    PyObject* code             # strong: an address must not come to mean another function
    PyObject* name             # strong or NULL: variable assigned at this site, once asked for
    int lasti
    uint32_t same              # the id that all addresses of one call share; the others only lead there
    uint8_t asked
    uint8_t foreign            # 1 standard library or ours, 2 user code

cdef int site_fast              # the frame layout of _native.h is this interpreter's

cdef uint32_t site_here(uint64_t key) noexcept
cdef uint32_t site_created() noexcept
cdef uint32_t site_in(object code, int lasti) noexcept
cdef FSite* site_at(uint32_t site) noexcept nogil
cdef object site_facts(uint32_t site)
cdef object site_variable(uint32_t site)
