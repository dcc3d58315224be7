/* Reading what may be gone: memory of the interpreter's, by a thread that does not hold the GIL.
 *
 * Every byte is fetched by a system call that fails where the memory is no longer there, so nothing here can end the process;
 * what comes back may be old or torn, and the caller looks twice before it believes it. One thread at a time: the buffers are static.
 */
#ifndef FASTLOCK_PEEK_H
#define FASTLOCK_PEEK_H

#include "_native.h"
#include <fcntl.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#ifdef __linux__
#include <sys/uio.h>
#endif

static inline int fl_peek(void *to, uintptr_t from, size_t size) {
#ifdef __linux__
    struct iovec local = {to, size}, remote = {(void *)from, size};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)size;
#else
    (void)to, (void)from, (void)size;
    return 0;
#endif
}

/* ---- text ------------------------------------------------------------------------------------
 * What does not fit is left out. */
typedef struct {
    char *text;
    size_t used, room;
} fl_text;

__attribute__((format(printf, 2, 3))) static inline void fl_say(fl_text *t, const char *format, ...) {
    va_list arguments;
    int size;
    va_start(arguments, format);
    size = vsnprintf(t->text + t->used, t->room - t->used, format, arguments);
    va_end(arguments);
    if (size > 0)
        t->used = t->used + (size_t)size < t->room ? t->used + (size_t)size : t->room - 1;
}

static inline void fl_say_char(fl_text *t, uint32_t c) {
    if (c < 0x20 || c == 0x7F || (c >= 0xD800 && c < 0xE000) || c > 0x10FFFF)
        c = '?'; /* a name must not end a line of the report */
    if (c < 0x80)
        fl_say(t, "%c", (int)c);
    else if (c < 0x800)
        fl_say(t, "%c%c", (int)(0xC0 | c >> 6), (int)(0x80 | (c & 63)));
    else if (c < 0x10000)
        fl_say(t, "%c%c%c", (int)(0xE0 | c >> 12), (int)(0x80 | (c >> 6 & 63)), (int)(0x80 | (c & 63)));
    else
        fl_say(t, "%c%c%c%c", (int)(0xF0 | c >> 18), (int)(0x80 | (c >> 12 & 63)), (int)(0x80 | (c >> 6 & 63)), (int)(0x80 | (c & 63)));
}

/* At most so many bytes that are UTF-8 already, without what would end a line, up to a zero or a character that was cut. */
static inline void fl_say_bytes(fl_text *t, const char *text, size_t most) {
    const unsigned char *at = (const unsigned char *)text, *end = at + most;
    for (; at < end && *at; at++) {
        int i, more = *at >= 0xF0 ? 3 : *at >= 0xE0 ? 2 : *at >= 0xC0 ? 1 : 0;
        for (i = 1; i <= more; i++)
            if (at + i >= end || (at[i] & 0xC0) != 0x80)
                return;
        fl_say(t, "%c", *at < 0x20 || *at == 0x7F ? '?' : *at);
    }
}

/* ---- a str -----------------------------------------------------------------------------------
 * Its end, for of a long path that tells most. Returns whether it was one. */
#define FL_TAIL 240

static inline uint32_t fl_char_of(const unsigned char *raw, int kind, Py_ssize_t i) {
    return kind == 1 ? raw[i] : kind == 2 ? ((const uint16_t *)(const void *)raw)[i] : ((const uint32_t *)(const void *)raw)[i];
}

static inline int fl_say_str(fl_text *t, uintptr_t str, int base_name) {
    static uint32_t buffer[FL_TAIL];
    const unsigned char *raw = (const unsigned char *)buffer;
    PyASCIIObject head;
    Py_ssize_t skipped, length, i, first = 0;
    int kind;
    if (!fl_peek(&head, str, sizeof head) || head.ob_base.ob_type != &PyUnicode_Type || !head.state.compact || head.length < 0)
        return 0;
    kind = head.state.kind;
    if (kind != 1 && kind != 2 && kind != 4)
        return 0;
    skipped = head.length > FL_TAIL ? head.length - FL_TAIL : 0;
    length = head.length - skipped;
    str += head.state.ascii ? sizeof(PyASCIIObject) : sizeof(PyCompactUnicodeObject);
    if (!fl_peek(buffer, str + (uintptr_t)(skipped * kind), (size_t)(length * kind)))
        return 0;
    for (i = 0; base_name && i < length; i++)
        if (fl_char_of(raw, kind, i) == '/')
            first = i + 1;
    for (i = first; i < length; i++)
        fl_say_char(t, fl_char_of(raw, kind, i));
    return 1;
}

/* ---- a line of a code object -------------------------------------------------------------------
 * The tables that co_lines() reads, by the rules of Objects/lnotab_notes.txt (3.10) and Objects/locations.md (3.11 and later). */
#define FL_TABLE 32768

#if PY_VERSION_HEX >= 0x030B0000
static inline uint32_t fl_varint(const unsigned char **at, const unsigned char *end) {
    uint32_t value = 0;
    int shift = 0;
    while (*at < end) {
        unsigned char byte = *(*at)++;
        if (shift < 30)
            value |= (uint32_t)(byte & 63) << shift;
        if (!(byte & 64))
            break;
        shift += 6;
    }
    return value;
}

static inline int fl_line_in(const unsigned char *at, const unsigned char *end, int line, int lasti) {
    int address = 0;
    while (at < end) {
        const unsigned char *entry = at + 1;
        int form = *at >> 3 & 15;
        address += ((*at & 7) + 1) * 2;
        if (form >= 10 && form <= 12)
            line += form - 10;
        else if (form == 13 || form == 14) {
            uint32_t delta = fl_varint(&entry, end);
            line += delta & 1 ? -(int)(delta >> 1) : (int)(delta >> 1);
        }
        if (lasti < address)
            return form == 15 ? -1 : line;
        for (at++; at < end && !(*at & 128);)
            at++;
    }
    return -1;
}
#else
static inline int fl_line_in(const unsigned char *at, const unsigned char *end, int line, int lasti) {
    int address = 0;
    for (; at + 1 < end; at += 2) {
        int delta = (signed char)at[1];
        address += at[0];
        if (delta != -128)
            line += delta;
        if (lasti < address)
            return delta == -128 ? -1 : line;
    }
    return -1;
}
#endif

static inline int fl_line_of(const PyCodeObject *code, int lasti) {
    static unsigned char table[FL_TABLE];
    PyBytesObject head;
    uintptr_t bytes = (uintptr_t)code->co_linetable;
    Py_ssize_t size;
    if (lasti < 0 || !fl_peek(&head, bytes, offsetof(PyBytesObject, ob_sval)) || head.ob_base.ob_base.ob_type != &PyBytes_Type)
        return -1;
    size = head.ob_base.ob_size;
    if (size < 0 || size > FL_TABLE || !fl_peek(table, bytes + offsetof(PyBytesObject, ob_sval), (size_t)size))
        return -1;
    return fl_line_in(table, table + size, code->co_firstlineno, lasti);
}

static inline int fl_peek_code(PyCodeObject *code, uintptr_t at) {
    return at != 0 && fl_peek(code, at, sizeof *code) && code->ob_base.
#if PY_VERSION_HEX >= 0x030B0000
                                                                ob_base.
#endif
                                                                ob_type == &PyCode_Type;
}

/* file:line of an instruction, with the whole path and the function where `whole`. */
static inline int fl_say_place(fl_text *t, uintptr_t at, int lasti, int whole) {
    PyCodeObject code;
    int line;
    if (!fl_peek_code(&code, at) || !fl_say_str(t, (uintptr_t)code.co_filename, !whole))
        return 0;
    line = fl_line_of(&code, lasti);
    if (line > 0)
        fl_say(t, ":%d", line);
    if (whole) {
        fl_say(t, " in ");
        fl_say_str(t, (uintptr_t)code.co_name, 0);
    }
    return 1;
}

/* ---- frames of a thread --------------------------------------------------------------------------
 * Of one that stands still. Layouts are those of _native.h. */
#if PY_VERSION_HEX >= 0x030B0000 && !defined(Py_GIL_DISABLED)
static inline uintptr_t fl_peek_innermost(uintptr_t tstate) {
    uintptr_t at = 0;
#if PY_VERSION_HEX >= 0x030D0000
    return fl_peek(&at, tstate + offsetof(PyThreadState, current_frame), sizeof at) ? at : 0;
#else
    if (!fl_peek(&at, tstate + offsetof(PyThreadState, cframe), sizeof at))
        return 0;
    return fl_peek(&at, at + offsetof(_PyCFrame, current_frame), sizeof at) ? at : 0;
#endif
}

/* Says where the frame is, unless it is one of the interpreter's own; returns the frame outside of it, 0 for none. */
static inline uintptr_t fl_say_frame(fl_text *t, const char *before, uintptr_t at, int *said) {
    fl_frame frame;
    PyCodeObject code;
    uintptr_t executable;
    *said = 0;
    if (!fl_peek(&frame, at, sizeof frame))
        return 0;
    executable = frame.executable & ~(uintptr_t)3;
    if (fl_peek_code(&code, executable) && code.co_filename != code.co_name) {
        fl_say(t, "%s", before);
        fl_say_place(t, executable, (int)((uintptr_t)frame.instr - executable - offsetof(PyCodeObject, co_code_adaptive)), 1);
        *said = 1;
    }
    return (uintptr_t)frame.previous;
}
#elif PY_VERSION_HEX < 0x030B0000
static inline uintptr_t fl_peek_innermost(uintptr_t tstate) {
    uintptr_t at = 0;
    return fl_peek(&at, tstate + offsetof(PyThreadState, frame), sizeof at) ? at : 0;
}

static inline uintptr_t fl_say_frame(fl_text *t, const char *before, uintptr_t at, int *said) {
    PyFrameObject frame;
    *said = 0;
    if (!fl_peek(&frame, at, offsetof(PyFrameObject, f_localsplus)))
        return 0;
    fl_say(t, "%s", before);
    fl_say_place(t, (uintptr_t)frame.f_code, frame.f_lasti * 2, 1);
    *said = 1;
    return (uintptr_t)frame.f_back;
}
#else
static inline uintptr_t fl_peek_innermost(uintptr_t tstate) { (void)tstate; return 0; }
static inline uintptr_t fl_say_frame(fl_text *t, const char *before, uintptr_t at, int *said) { (void)t, (void)before, (void)at; *said = 0; return 0; }
#endif

/* ---- a thread state --------------------------------------------------------------------------------- */
static inline unsigned long fl_holder_ident(uint64_t tstate) {
    unsigned long ident = 0;
    return fl_peek(&ident, (uintptr_t)tstate + offsetof(PyThreadState, thread_id), sizeof ident) ? ident : 0;
}

/* 0 where the interpreter does not keep it. */
static inline unsigned long fl_holder_tid(uint64_t tstate) {
    unsigned long tid = 0;
#if PY_VERSION_HEX >= 0x030B0000
    if (!fl_peek(&tid, (uintptr_t)tstate + offsetof(PyThreadState, native_thread_id), sizeof tid))
        return 0;
#else
    (void)tstate;
#endif
    return tid;
}

/* ---- what the kernel knows of a thread -------------------------------------------------------------- */
static inline int fl_read_task(unsigned long tid, const char *file, char *to, size_t room) {
    char path[64];
    ssize_t size;
    int fd;
    snprintf(path, sizeof path, "/proc/self/task/%lu/%s", tid, file);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    size = read(fd, to, room - 1);
    close(fd);
    to[size > 0 ? size : 0] = 0;
    return size > 0;
}

/* Whether it computes or sleeps, and in what: a system call that is made with the GIL held is the usual fault. */
static inline void fl_say_doing(fl_text *t, unsigned long tid) {
    static char text[512];
    char state, *end;
    if (!fl_read_task(tid, "stat", text, sizeof text) || (end = strrchr(text, ')')) == NULL || end[1] != ' ')
        return;
    state = end[2];
    if (state == 'R') {
        fl_say(t, ", which computes");
        return;
    }
    fl_say(t, state == 'D' ? ", which waits for a device or a file" : state == 'T' || state == 't' ? ", which is stopped" : ", which sleeps in the kernel");
    if ((state == 'S' || state == 'D') && fl_read_task(tid, "wchan", text, sizeof text) && strcmp(text, "0") != 0) {
        fl_say(t, " (");
        fl_say_bytes(t, text, sizeof text);
        fl_say(t, ")");
    }
}

/* The thread's name as the kernel has it. */
static inline int fl_say_comm(fl_text *t, unsigned long tid) {
    static char text[64];
    if (!fl_read_task(tid, "comm", text, sizeof text))
        return 0;
    text[strcspn(text, "\n")] = 0;
    fl_say(t, "\"");
    fl_say_bytes(t, text, sizeof text);
    fl_say(t, "\"");
    return 1;
}

#endif
