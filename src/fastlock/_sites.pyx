# cython: language_level=3, binding=False, boundscheck=False, wraparound=False, initializedcheck=False
"""Call sites, interned: which instruction of which code object took or made a lock.

An interned site owns its code object, so an address can never come to mean another function. Above
65,536 sites new ones share site 0, "unknown". Everything here runs under the GIL. A hit costs one probe (3-5 ns); lines
and names are worked out only when somebody asks.
"""
from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free

from fastlock._native cimport (
    FL_CAS_WORDS, fl_code_line, fl_frame, fl_frame_code, fl_frame_current, fl_frame_key, fl_frame_lasti, fl_frame_previous, fl_store64)

import os
import sys

from fastlock.lean import opmap

cdef enum:
    SITES_PER_CHUNK = 1024
    MAX_SITES = 65536
    RECENT = 64                # creation sites found again without a probe
    MOST_CALLERS = 8           # between such a site and where a lock is really made, in the standard library
    PRECALL_SIZE = 4           # bytes from a PRECALL to its CALL

cdef struct FRecent:
    # A creation site, by the frames from where the lock was made to there, innermost first: of other callers it is another one.
    uint64_t keys[MOST_CALLERS]
    uint32_t n                 # 0: none
    uint32_t site

cdef FSite* site_chunks[64]
cdef FRecent recent[RECENT]
cdef uint32_t sites_used = 1           # site 0 is unknown
cdef uint32_t* site_index = NULL        # open addressing: site ids by key
cdef uint32_t site_slots = 0
cdef int precall = opmap.get("PRECALL", -1)
cdef int site_fast = 0


cdef FSite* site_at(uint32_t site) noexcept nogil:
    return &site_chunks[site // SITES_PER_CHUNK][site % SITES_PER_CHUNK]


cdef inline uint32_t site_hash(uint64_t key) noexcept nogil:
    return <uint32_t>((key * <uint64_t>0x9E3779B97F4A7C15) >> 32)


cdef bint site_index_grow() noexcept nogil:
    global site_index, site_slots
    cdef uint32_t slots = site_slots * 2 if site_slots else 1024
    cdef uint32_t i, j
    cdef uint32_t* fresh = <uint32_t*>calloc(slots, sizeof(uint32_t))
    if fresh == NULL:
        return False
    for i in range(1, sites_used):
        j = site_hash(site_at(i).key) & (slots - 1)
        while fresh[j] != 0:
            j = (j + 1) & (slots - 1)
        fresh[j] = i
    free(site_index)
    site_index = fresh
    site_slots = slots
    return True


cdef inline uint32_t site_find(uint64_t key) noexcept nogil:
    """The site of an address that is interned, else 0."""
    cdef uint32_t j
    cdef FSite* s
    if site_slots:
        j = site_hash(key) & (site_slots - 1)
        while site_index[j] != 0:
            s = site_at(site_index[j])
            if s.key == key:
                return s.same
            j = (j + 1) & (site_slots - 1)
    return 0


cdef uint32_t site_intern(uint64_t key, void* code, int lasti) noexcept:
    """The site of an address; on 3.11 a call has two, and that of PRECALL counts as that of its CALL."""
    cdef uint32_t site = site_find(key)
    if site:
        return site
    if precall < 0 or lasti < 0 or (<object>code).co_code[lasti] != precall:
        return site_new(key, code, lasti, 0)
    site = site_intern(key + (PRECALL_SIZE if site_fast else <uint64_t>(PRECALL_SIZE // 2) << 48), code, lasti + PRECALL_SIZE)
    return site_new(key, code, lasti, site) if site else 0


cdef uint32_t site_new(uint64_t key, void* code, int lasti, uint32_t same) noexcept:
    """Interns an address that is not yet, as another one of the site `same` where that is not 0."""
    global sites_used
    cdef uint32_t j, site
    cdef FSite* s
    if site_slots == 0 or sites_used * 2 >= site_slots:
        if sites_used >= MAX_SITES or not site_index_grow():
            return 0
    j = site_hash(key) & (site_slots - 1)
    while site_index[j] != 0:
        j = (j + 1) & (site_slots - 1)
    site = sites_used
    if site >= MAX_SITES:
        return 0
    if site_chunks[site // SITES_PER_CHUNK] == NULL:
        site_chunks[site // SITES_PER_CHUNK] = <FSite*>calloc(SITES_PER_CHUNK, sizeof(FSite))
        if site_chunks[site // SITES_PER_CHUNK] == NULL:
            return 0
    s = site_at(site)
    s.key = key
    s.lasti = lasti
    fl_store64(&s.code, <uint64_t>code)     # last: who finds it without the GIL finds lasti too
    Py_INCREF(<object>code)
    s.same = same if same else site
    sites_used = site + 1
    site_index[j] = site
    return s.same


cdef uint32_t site_of_frame(fl_frame* f) noexcept:
    cdef uint64_t key = fl_frame_key(f)
    cdef uint32_t site = site_find(key)
    cdef void* code
    if site:
        return site
    code = fl_frame_code(f)
    if code == NULL:
        return 0
    return site_intern(key, code, fl_frame_lasti(f, code))


cdef uint32_t site_public() noexcept:
    """The caller's site by the public interface, which makes a frame object: 25-35 ns."""
    try:
        frame = sys._getframe(0)
    except ValueError:
        return 0                # no Python code runs in this thread
    return site_in(frame.f_code, frame.f_lasti)


cdef uint32_t site_in(object code, int lasti) noexcept:
    """The site of an instruction of a code object."""
    cdef uint64_t key = <uint64_t><uintptr_t><PyObject*>code | (<uint64_t><uint16_t>(lasti // 2) << 48)
    return site_intern(key, <void*>code, lasti)


cdef uint32_t site_here(uint64_t key) noexcept:
    """The interned site of the running thread's current instruction, 0 where no Python code runs."""
    cdef fl_frame* f
    if site_fast:
        if key == 0:
            return 0
        f = fl_frame_current()
        return site_of_frame(f) if f != NULL else 0
    return site_public()


cdef bint is_foreign(uint32_t site):
    """Whether a site lies outside the standard library and fastlock; asked once per site."""
    cdef FSite* s = site_at(site)
    if s.foreign == 0:
        name = (<object>s.code).co_filename
        inside = name.startswith(internal_prefixes) and not name.startswith(user_prefixes)
        s.foreign = 1 if inside else 2
    return s.foreign == 2


cdef uint32_t site_created() noexcept:
    """The creation site of a lock: the nearest caller that is neither the standard library nor fastlock."""
    cdef fl_frame* f
    cdef fl_frame* caller
    cdef FRecent* r
    cdef uint32_t i = 0
    if not site_fast:
        return site_public()
    f = caller = fl_frame_current()
    if f == NULL:
        return 0
    r = &recent[fl_frame_key(f) // 2 % RECENT]
    while i < r.n and caller != NULL and fl_frame_key(caller) == r.keys[i]:
        i += 1
        if i == r.n:
            return r.site
        caller = fl_frame_previous(caller)
    return nearest_foreign(f, r)


cdef uint32_t nearest_foreign(fl_frame* f, FRecent* found) noexcept:
    """Finds it, and keeps it where no frame's key up to there can come to be another one's: those of sites, and the interpreter's own."""
    cdef uint64_t keys[MOST_CALLERS]
    cdef uint32_t site, nearest = 0
    cdef int i, depth = 0
    cdef bint lasting = True
    while f != NULL and depth < 64:
        site = site_of_frame(f)
        if depth < MOST_CALLERS:
            keys[depth] = fl_frame_key(f)
        lasting = lasting and (site != 0 or fl_frame_code(f) == NULL)
        if site:
            if is_foreign(site):
                if lasting and depth < MOST_CALLERS:
                    for i in range(depth + 1):
                        found.keys[i] = keys[i]
                    found.n = depth + 1
                    found.site = site
                return site
            if not nearest:
                nearest = site
        f = fl_frame_previous(f)
        depth += 1
    return nearest


cdef object site_facts(uint32_t site):
    """(file, line, function, first line of the function), or None for the unknown site."""
    if site == 0 or site >= sites_used:
        return None
    cdef FSite* s = site_at(site)
    code = <object>s.code
    function = getattr(code, "co_qualname", None) or code.co_name
    return (code.co_filename, fl_code_line(s.code, s.lasti), function, code.co_firstlineno)


# The instructions that variable_at follows; at any other it gives up. A call takes its arguments from
# the stack and as many values more as `called` says.
called = {"CALL": 2, "CALL_KW": 3, "CALL_FUNCTION": 1, "CALL_FUNCTION_KW": 2, "CALL_METHOD": 2}
followed = {opmap[name]: name for name in [*called, *"""
    CACHE PRECALL KW_NAMES EXTENDED_ARG RESUME NOP NOT_TAKEN PUSH_NULL POP_TOP LOAD_CONST LOAD_SMALL_INT LOAD_COMMON_CONSTANT
    LOAD_NAME LOAD_GLOBAL LOAD_DEREF LOAD_FAST LOAD_FAST_BORROW LOAD_FAST_CHECK LOAD_FAST_LOAD_FAST LOAD_FAST_BORROW_LOAD_FAST_BORROW
    LOAD_ATTR LOAD_METHOD COPY DUP_TOP SWAP ROT_TWO ROT_THREE BUILD_TUPLE BUILD_LIST UNPACK_SEQUENCE
    STORE_NAME STORE_GLOBAL STORE_DEREF STORE_FAST STORE_FAST_STORE_FAST STORE_FAST_LOAD_FAST STORE_ATTR STORE_SUBSCR
    """.split()] if name in opmap}
MINE = object()            # stands for the lock on the stack of variable_at
cdef bint py310 = sys.version_info < (3, 11)
cdef bint py312 = sys.version_info >= (3, 12)


cdef object local_name(object code, int index):
    """A local by the index that *_FAST and *_DEREF use."""
    plain = code.co_varnames
    if index < len(plain):
        return plain[index]
    cells = code.co_cellvars + code.co_freevars
    if not py310:
        cells = tuple([c for c in code.co_cellvars if c not in plain]) + code.co_freevars
    index -= len(plain)
    return cells[index] if index < len(cells) else None


cdef object cell_name(object code, int index):
    return (code.co_cellvars + code.co_freevars)[index] if py310 else local_name(code, index)


cdef list taken(list stack, int count):
    """Takes the `count` topmost values, lowest first; what lay there before the lock was made is None."""
    cdef int missing = count - len(stack)
    if missing > 0:
        stack[:0] = [None] * missing
    values = stack[len(stack) - count:]
    del stack[len(stack) - count:]
    return values


cdef bint has_mine(object values):
    return any([value is MINE or (type(value) is tuple and has_mine(value)) for value in values])


cdef object variable_at(object code, int start):
    """The name under which the value of the call at `start` is stored first: ledger_lock, Pool._lock, or None.

    Follows the lock through what may stand between, on a picture of the stack: names that were loaded, tuples, None for the rest. What
    a call makes of the lock has its name too: `changed = Condition(Lock())`.
    """
    raw = code.co_code
    cdef int i, op, arg
    cdef int extended = 0
    stack = [MINE]
    for i in range(start + 2, len(raw) - 1, 2):
        op = raw[i]
        arg = raw[i + 1] | extended
        extended = arg << 8 if op == extended_arg else 0
        name = followed.get(op)
        if name is None:
            return None
        if name.startswith("STORE_"):
            stored = store_step(code, name, arg, stack)
            if stored is not None:
                return stored
        elif name.startswith("LOAD_"):
            load_step(code, name, arg, stack)
        elif name in called:
            stack.append(MINE if has_mine(taken(stack, arg + called[name])) else None)
        else:
            stack_step(name, arg, stack)
        if not has_mine(stack):
            return None
    return None


cdef object store_step(object code, str name, int arg, list stack):
    """Takes what the instruction stores; the name, where it is the lock."""
    if name == "STORE_SUBSCR":
        taken(stack, 3)
        return None
    if name == "STORE_ATTR":
        value, holder = taken(stack, 2)
        return attribute_name(code, holder, code.co_names[arg]) if value is MINE else None
    if name in ("STORE_FAST_STORE_FAST", "STORE_FAST_LOAD_FAST"):
        if taken(stack, 1)[0] is MINE:
            return local_name(code, arg >> 4)
        if name == "STORE_FAST_LOAD_FAST":
            stack.append(local_name(code, arg & 15))
            return None
        arg &= 15
    if taken(stack, 1)[0] is not MINE:
        return None
    if name == "STORE_GLOBAL":
        return code.co_names[arg]
    if name == "STORE_NAME":        # in a module, or in the body of a class
        return code.co_names[arg] if code.co_name == "<module>" else f"{code.co_name}.{code.co_names[arg]}"
    return cell_name(code, arg) if name == "STORE_DEREF" else local_name(code, arg)


cdef object attribute_name(object code, object holder, str name):
    if type(holder) is not str:
        return None
    if holder in ("self", "cls"):
        holder = getattr(code, "co_qualname", "").rpartition(".")[0].rpartition(".<locals>.")[2]
    return f"{holder}.{name}" if holder else name


cdef object load_step(object code, str name, int arg, list stack):
    """Puts there what the instruction loads: names as str."""
    if name in ("LOAD_ATTR", "LOAD_METHOD"):
        taken(stack, 1)
        stack.extend([None] * (2 if name == "LOAD_METHOD" or (py312 and arg & 1) else 1))
    elif name == "LOAD_GLOBAL" and not py310:
        stack.extend([None, None] if arg & 1 else [code.co_names[arg >> 1]])
    elif name in ("LOAD_NAME", "LOAD_GLOBAL"):
        stack.append(code.co_names[arg])
    elif name == "LOAD_DEREF":
        stack.append(cell_name(code, arg))
    elif name in ("LOAD_FAST_LOAD_FAST", "LOAD_FAST_BORROW_LOAD_FAST_BORROW"):
        stack.extend([local_name(code, arg >> 4), local_name(code, arg & 15)])
    else:
        stack.append(local_name(code, arg) if name.startswith("LOAD_FAST") else None)


cdef object stack_step(str name, int arg, list stack):
    """What only moves values about."""
    if name == "PUSH_NULL":
        stack.append(None)
    elif name == "POP_TOP":
        taken(stack, 1)
    elif name in ("COPY", "DUP_TOP"):
        values = taken(stack, arg if name == "COPY" else 1)
        stack.extend([*values, values[0]])
    elif name in ("SWAP", "ROT_TWO"):
        values = taken(stack, arg if name == "SWAP" else 2)
        stack.extend([values[len(values) - 1], *values[1:len(values) - 1], values[0]])
    elif name == "ROT_THREE":
        values = taken(stack, 3)
        stack.extend([values[2], *values[:2]])
    elif name in ("BUILD_TUPLE", "BUILD_LIST"):
        stack.append(tuple(taken(stack, arg)))
    elif name == "UNPACK_SEQUENCE":
        value = taken(stack, 1)[0]
        known = type(value) is tuple and len(value) == arg
        stack.extend(reversed(value) if known else [None] * arg)


cdef int extended_arg = opmap["EXTENDED_ARG"]


cdef object site_variable(uint32_t site):
    """The variable that a lock made at this site was assigned to, or None; worked out once."""
    if site == 0 or site >= sites_used:
        return None
    cdef FSite* s = site_at(site)
    if not s.asked:
        s.asked = 1
        name = variable_at(<object>s.code, s.lasti)
        if name is not None:
            Py_INCREF(name)
            s.name = <PyObject*>name
    return <object>s.name if s.name != NULL else None


# ---- start ------------------------------------------------------------------------------------------

cdef bint check_frames():
    """Compares what _native.h reads with what the public interface says of the same frame."""
    cdef fl_frame* f = fl_frame_current()
    cdef void* code
    if f == NULL:
        return False
    code = fl_frame_code(f)
    frame = sys._getframe(0)
    return code != NULL and <PyObject*>frame.f_code == code and fl_frame_lasti(f, code) == frame.f_lasti


words_are_swapped = bool(FL_CAS_WORDS)      # by compare-and-swap; else lock words are taken by a plain store


def sites_are_fast():
    """Whether acquisition sites are read from the interpreter's frame directly (else by the public interface)."""
    return bool(site_fast)


stdlib = os.path.dirname(os.__file__)
# 3.12 has a frame of its own, with code from "<shim>", wherever C calls Python.
internal_prefixes = (stdlib + os.sep, os.path.dirname(os.path.abspath(__file__)) + os.sep, "<frozen ", "<shim")
user_prefixes = tuple(os.path.join(stdlib, d) + os.sep for d in ("site-packages", "dist-packages", "test"))
site_fast = check_frames()
