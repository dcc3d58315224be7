# cython: language_level=3, binding=False
"""All that the lock-order graph knows: nodes of classes and instances, edges, their witnesses, and what was found."""
from libc.stdint cimport uint32_t, uint64_t

from fastlock._evidence cimport Evidence, Witness
from fastlock._judge cimport Judge
from fastlock._pool cimport List, Map
from fastlock._records cimport Records
from fastlock._segments cimport Segments
from fastlock._topology cimport Edge, Topology

cdef struct Store:
    Topology order
    Evidence evidence
    Segments segments
    Records records
    Judge judge
    Map serials                # serial -> instance node, and a bit for signals
    uint64_t signals
    uint64_t calls             # of learn
    uint32_t classes
    uint32_t max_nodes         # of classes, and of instances
    uint32_t max_edges
    uint32_t max_witnesses
    uint32_t most_witnesses    # of one edge
    List pending               # scratch of learn: witnesses to judge
    List touched               # scratch of learn: edges
    bint full                  # something could not be learned
    bint outdated              # what was known must be shown again

cdef bint store_open(Store* s, uint32_t max_nodes, uint32_t max_edges) noexcept nogil
cdef void store_close(Store* s) noexcept nogil
cdef uint64_t store_bytes(Store* s) noexcept nogil

cdef bint is_class(Store* s, uint32_t n) noexcept nogil
cdef uint32_t new_class(Store* s) noexcept nogil
cdef void drop_class(Store* s, uint32_t n) noexcept nogil
cdef uint32_t instance(Store* s, uint64_t serial, uint32_t cls) noexcept nogil
cdef void drop_idle_instance(Store* s, uint32_t n) noexcept nogil
cdef bint is_signal(Store* s, uint64_t serial) noexcept nogil
cdef void make_signal(Store* s, uint64_t serial) noexcept nogil
cdef void lock_died(Store* s, uint64_t serial) noexcept nogil

cdef void attach(Store* s, uint32_t w, uint32_t e) noexcept nogil
cdef uint32_t known_witness(Store* s, uint32_t e, Witness* like) noexcept nogil
cdef void drop_witness(Store* s, uint32_t w) noexcept nogil
cdef uint32_t spare_witness(Store* s, Edge* edge) noexcept nogil
cdef void weigh(Store* s, uint32_t w) noexcept nogil
cdef void forget(Store* s, uint64_t token) noexcept nogil
