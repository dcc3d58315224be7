/* The memory that readers outside may look at: a memfd, mapped shared, where the system has one; else plain memory.
 *
 * Everything here is a system call or arithmetic, so that it can run in the handlers of a fork.
 */
#ifndef FASTLOCK_MEMFD_H
#define FASTLOCK_MEMFD_H

#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif

#if defined(__linux__) && defined(SYS_memfd_create)
#define FL_MEMFD 1
#else
#define FL_MEMFD 0
#endif

#define FL_MEMFD_NAME "fastlock-table"

/* Which file a descriptor is, 0 for none: programs close descriptors that are not theirs, and numbers are used again. */
static inline uint64_t fl_file_of(int fd) {
    struct stat s;
    if (fd < 0 || fstat(fd, &s) != 0)
        return 0;
    return ((uint64_t)s.st_dev << 40) ^ (uint64_t)s.st_ino;
}

#if FL_MEMFD
/* The highest place below the limit, up to 1000: programs number their own descriptors, and close others, from below. */
static inline int fl_fd_up(int fd) {
    struct rlimit r;
    int least = 1000, high;
    if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur <= 1000)
        least = (int)r.rlim_cur - 1;
    if (least <= fd)
        return fd;
    high = fcntl(fd, F_DUPFD_CLOEXEC, least);
    if (high < 0)
        return fd;
    close(fd);
    return high;
}

/* A new file of that size, of which only what is touched takes memory; -1 where there is none to be had. */
static inline int fl_memfd_new(uint64_t size) {
    enum { CLOEXEC = 1, ALLOW_SEALING = 2, NOEXEC_SEAL = 8, ADD_SEALS = 1033, SEAL_SHRINK = 2, SEAL_GROW = 4 };
    struct rlimit r;
    int fd;
    /* Beyond this limit ftruncate is not an error but a signal. */
    if (getrlimit(RLIMIT_FSIZE, &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur < size)
        return -1;
    fd = (int)syscall(SYS_memfd_create, FL_MEMFD_NAME, CLOEXEC | ALLOW_SEALING | NOEXEC_SEAL);
    if (fd < 0) /* before Linux 6.3 */
        fd = (int)syscall(SYS_memfd_create, FL_MEMFD_NAME, CLOEXEC | ALLOW_SEALING);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)size) != 0) {
        close(fd);
        return -1;
    }
    (void)fcntl(fd, ADD_SEALS, SEAL_SHRINK | SEAL_GROW); /* who shortened it would kill this process by SIGBUS */
    return fl_fd_up(fd);
}

static inline int fl_remap(void *from, void *to, uint64_t size) {
    return mremap(from, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, to) == to ? 0 : -1;
}
#else
static inline int fl_memfd_new(uint64_t size) { (void)size; return -1; }
static inline int fl_remap(void *from, void *to, uint64_t size) { (void)from; (void)to; (void)size; return -1; }
#endif

/* Maps the file, at a given place or where there is room (NULL); NULL where it cannot be. */
static inline void *fl_map_file(int fd, void *at, uint64_t size) {
    void *p = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | (at != NULL ? MAP_FIXED : 0), fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

/* The same for this process alone: what it writes to, from then on. */
static inline void *fl_map_own(int fd, void *at, uint64_t size) {
    void *p = mmap(at, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, fd, 0);
    return p == MAP_FAILED ? NULL : p;
}

static inline void *fl_map_plain(uint64_t size) {
#ifdef MAP_NORESERVE
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
#else
    void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANON, -1, 0);
#endif
    return p == MAP_FAILED ? NULL : p;
}

static inline void fl_unmap(void *p, uint64_t size) { (void)munmap(p, size); }

/* Writes all of it into the file; -1 where that fails, for memory is short. */
static inline int fl_write_at(int fd, const void *data, uint64_t size, uint64_t offset) {
    const char *p = (const char *)data;
    while (size > 0) {
        ssize_t n = pwrite(fd, p, size, (off_t)offset);
        if (n <= 0)
            return -1;
        p += n;
        offset += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return 0;
}

/* Whether the process may use little address space only. */
static inline int fl_space_is_scarce(void) {
    struct rlimit r;
    return getrlimit(RLIMIT_AS, &r) == 0 && r.rlim_cur != RLIM_INFINITY && r.rlim_cur < ((uint64_t)4 << 30);
}

static inline int64_t fl_wall_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

#endif
