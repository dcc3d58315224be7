# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""The memory that readers outside look at: a memfd that is mapped shared, its areas, and what a fork does to it.

The file has its whole size from the start and is sparse: records never move, nothing ever grows, and what nobody touches takes no memory
(nor does it count as committed, for the mapping is shared). A lock word never lies here: a child would share it with its parent. Where
there is no memfd to be had the same areas lie in plain memory, where address space is limited they are smaller, and where there is no room at all
each record lies in private memory of its own: everything works then, but cannot be seen from outside.

Fork. Before it the parent, which holds every mutex then, writes what is in use into a new file; the child puts that in the place of the old one, at the
same address. So the child begins with a copy of that very moment, whatever its parent does next, and each has a truth of its own. Where
no file can be made the copy is plain memory.

A program that closes all descriptors takes the table from its readers. mapping_is_lost() tells, and mapping_renew() puts a copy in its place; who calls
it holds the GIL and every mutex of the table.

Guards. The header's fields and `used`: _table's table_mutex and the GIL; each area's records are their writers'.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from fastlock._native cimport fl_now_ns, fl_put32, fl_store32, fl_store64

cdef extern from "Python.h" nogil:
    int PY_VERSION_HEX

cdef extern from "<unistd.h>" nogil:
    int getpid()
    int close(int)

cdef extern from "_memfd.h" nogil:
    uint64_t fl_file_of(int)
    int fl_memfd_new(uint64_t)
    void* fl_map_file(int, void*, uint64_t)
    void* fl_map_own(int, void*, uint64_t)
    void* fl_map_plain(uint64_t)
    void fl_unmap(void*, uint64_t)
    int fl_remap(void*, void*, uint64_t)
    int fl_write_at(int, const void*, uint64_t, uint64_t)
    bint fl_space_is_scarce()
    int64_t fl_wall_ns()

cdef enum:
    PAGE = 4096
    SCARCE = 16                # what the capacities are divided by where address space is limited

cdef uint64_t MAGIC = 0x314B434F4C545346       # "FSTLOCK1", little-endian
cdef FHeader* header = NULL     # never moves; `nowhere` where there is no mapping
cdef FHeader nowhere
cdef char* base = NULL          # NULL: no mapping
cdef uint64_t size = 0
cdef int fd = -1                # of the mapped file; -1: plain memory
cdef uint64_t file = 0
cdef int next_fd = -1           # the child's, between the fork's handlers
cdef char* next_plain = NULL
cdef uint32_t next_generation = 0


cdef void* record_at(int area, uint32_t number) noexcept nogil:
    """A record that has_room(); numbers begin at 0."""
    return base + header.areas[area].offset + <uint64_t>number * header.areas[area].record


cdef bint has_room(int area, uint32_t number) noexcept nogil:
    """Whether the record of that number lies in the mapping."""
    return number < header.areas[area].capacity


cdef void area_used(int area, uint32_t used) noexcept nogil:
    """Notes that records up to here are in use; those that found no room are counted."""
    cdef FArea* a = &header.areas[area]
    if used > a.capacity:
        fl_put32(&a.hidden, used - a.capacity)
        used = a.capacity
    fl_store32(&a.used, used)


cdef void lay_out(FHeader* h) noexcept nogil:
    """Places the areas behind each other."""
    cdef uint32_t part = SCARCE if fl_space_is_scarce() else 1
    cdef uint32_t[6] records = [1, sizeof(FPlace), 160, 64, sizeof(FShown), 1]
    cdef uint32_t[6] capacities = [8 << 20, 65536, 131072, 262144, 131072, 1 << 20]
    cdef uint64_t offset = PAGE
    cdef int i
    for i in range(AREAS):
        h.areas[i].offset = offset
        h.areas[i].record = records[i]
        h.areas[i].capacity = capacities[i] // (part if i != A_FINDINGS else 1)
        offset = (offset + <uint64_t>records[i] * h.areas[i].capacity + PAGE - 1) // PAGE * PAGE
    h.size = offset


cdef uint64_t used_bytes(int area) noexcept nogil:
    cdef FArea* a = &header.areas[area]
    return <uint64_t>a.record * (a.capacity if area == A_FINDINGS and header.findings_seq else a.used)


cdef int new_file() noexcept nogil:
    """A file with what is in use of this mapping; -1 where none can be made."""
    cdef int new = fl_memfd_new(size)
    cdef int i
    cdef FArea* a
    if new < 0:
        return -1
    for i in range(AREAS):
        a = &header.areas[i]
        if fl_write_at(new, base + a.offset, used_bytes(i), a.offset) != 0:
            close(new)
            return -1
    if fl_write_at(new, header, sizeof(FHeader), 0) != 0:
        close(new)
        return -1
    return new


cdef char* new_plain() noexcept nogil:
    """The same in plain memory; NULL where there is no room."""
    cdef char* new = <char*>fl_map_plain(size)
    cdef int i
    if new != NULL:
        memcpy(new, header, sizeof(FHeader))
        for i in range(AREAS):
            memcpy(new + header.areas[i].offset, base + header.areas[i].offset, used_bytes(i))
    return new


# ---- fork: called by _table's handlers, which know the order -----------------------------------------------------

cdef void mapping_before_fork() noexcept nogil:
    """In the parent, with every mutex held."""
    global next_fd, next_plain
    next_fd = -1
    next_plain = NULL
    if fd < 0:
        return                  # plain memory is copied by the fork itself
    next_fd = new_file()
    if next_fd < 0:
        next_plain = new_plain()


cdef void mapping_after_fork() noexcept nogil:
    """In the parent, also where the fork has failed."""
    global next_fd, next_plain
    if next_fd >= 0:
        close(next_fd)
    if next_plain != NULL:
        fl_unmap(next_plain, size)
    next_fd = -1
    next_plain = NULL


cdef void mapping_in_child() noexcept nogil:
    """In the child, before anything of the table is touched: until here it would write into its parent's."""
    global fd, file, next_fd, next_plain
    cdef int old = fd
    cdef bint mine = fd >= 0 and fl_file_of(fd) == file
    if fd >= 0:
        fd = -1
        file = 0
        if next_fd >= 0 and fl_map_file(next_fd, base, size) != NULL:
            fd = next_fd
            file = fl_file_of(fd)
        elif next_plain == NULL or fl_remap(next_plain, base, size) != 0:
            # No memory for a copy: as the table is now, which the parent may have changed a little since.
            if mine and fl_map_own(old, base, size) != NULL:
                own_pages()
        if mine:
            close(old)
        next_fd = -1
        next_plain = NULL


cdef void mapping_begins() noexcept nogil:
    """In the child, when its table is true: from here on readers believe that it is this process's."""
    header.parent = header.pid
    begin_process()


cdef void own_pages() noexcept nogil:
    """Makes every page in use this process's own, by writing what is in it."""
    cdef int i
    cdef uint64_t at, end
    cdef char* page
    for i in range(-1, AREAS):
        at = header.areas[i].offset if i >= 0 else 0
        end = at + used_bytes(i) if i >= 0 else PAGE
        while at < end:
            page = base + at // PAGE * PAGE
            fl_store32(page, (<uint32_t*>page)[0])
            at += PAGE


cdef void begin_process() noexcept nogil:
    header.generation += 1
    header.started_ns = fl_wall_ns()
    header.started_monotonic_ns = fl_now_ns()
    fl_store32(&header.pid, getpid())


# ---- a table that has been closed --------------------------------------------------------------------------------

cdef bint mapping_is_lost() noexcept nogil:
    """Whether readers cannot find the table: its descriptor was closed, or there was none to be had. A system call."""
    return base != NULL and (fd < 0 or fl_file_of(fd) != file)


cdef bint mapping_renew() noexcept nogil:
    """Puts a copy that can be found in the mapping's place; False where none can be made."""
    global fd, file
    cdef int new = new_file()
    if new < 0:
        return False
    if fl_map_file(new, base, size) == NULL:
        close(new)
        return False
    fd = new
    file = fl_file_of(fd)
    header.generation += 1
    return True


# ---- start ---------------------------------------------------------------------------------------------------------

cdef void start() noexcept nogil:
    global header, base, size, fd, file
    memset(&nowhere, 0, sizeof(nowhere))
    header = &nowhere
    lay_out(&nowhere)
    size = nowhere.size
    fd = fl_memfd_new(size)
    if fd >= 0:
        base = <char*>fl_map_file(fd, NULL, size)
        file = fl_file_of(fd)
        if base == NULL:
            close(fd)
            fd = -1
    if base == NULL:
        base = <char*>fl_map_plain(size)
    if base != NULL:
        header = <FHeader*>base
        memcpy(header, &nowhere, sizeof(FHeader))
    else:
        for i in range(AREAS):
            nowhere.areas[i].capacity = 0
    header.layout = LAYOUT
    header.header_size = sizeof(FHeader)
    header.python = PY_VERSION_HEX
    header.raw_locks = -1
    header.areas[A_STRINGS].used = 4         # offset 0 is no string
    begin_process()
    fl_store64(&header.magic, MAGIC)


start()
