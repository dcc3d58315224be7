/* What the listening thread needs of the system and Cython cannot say. */
#ifndef FASTLOCK_LISTEN_H
#define FASTLOCK_LISTEN_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* pthread_timedjoin_np */
#endif
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

/* A file behind a descriptor. Programs close descriptors in bulk and use the numbers again, so a number alone says nothing. */
typedef struct {
    int fd;
    uint64_t device, inode;
} fl_file;

static int fl_file_note(fl_file *file, int fd)
{
    struct stat facts;
    if (fstat(fd, &facts) != 0) return -1;
    file->fd = fd;
    file->device = (uint64_t)facts.st_dev;
    file->inode = (uint64_t)facts.st_ino;
    return 0;
}

static int fl_file_is_there(const fl_file *file)
{
    struct stat facts;
    return fstat(file->fd, &facts) == 0 && (uint64_t)facts.st_dev == file->device && (uint64_t)facts.st_ino == file->inode;
}

/* The name that others know a socket by: a file's, or an abstract one, which begins with a zero. */
typedef struct {
    struct sockaddr_un address;
    socklen_t length;
} fl_name;

/* One that is too long is cut off, and nobody is met by it. */
static void fl_name_note(fl_name *name, const char *bytes, size_t length)
{
    size_t most = sizeof name->address.sun_path - 1;
    memset(name, 0, sizeof *name);
    if (length > most) length = most;
    name->address.sun_family = AF_UNIX;
    memcpy(name->address.sun_path, bytes, length);
    name->length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
}

/* Whether a file is gone: cleaners of temporary directories take it, and a chroot hides it. */
static int fl_name_is_gone(const fl_name *name)
{
    return name->address.sun_path[0] != '\0' && access(name->address.sun_path, F_OK) != 0;
}

/* Wake who listens under a name, in a way that does not depend on a number that a program may have closed and used again; tell whether
 * that has been done. It has not where no descriptor is left, or the file is gone. Does not block. */
static int fl_knock(const fl_name *name)
{
#ifdef __linux__
    int waked, visitor = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (visitor < 0) return 0;
    waked = connect(visitor, (const struct sockaddr *)&name->address, name->length) == 0 || errno == EAGAIN; /* others are at the door */
    close(visitor);
    return waked;
#else
    (void)name; /* nobody listens there */
    return 0;
#endif
}

/* Wait for somebody to come, at most that long; whether somebody has. Also where the descriptor is none any more. */
static int fl_somebody_comes(int fd, int64_t ns)
{
    struct pollfd listens = {fd, POLLIN, 0};
    int64_t ms = (ns + 999999) / 1000000;
    return poll(&listens, 1, ms < 0 ? 0 : ms > 3600000 ? 3600000 : (int)ms) > 0;
}

/* Take one connection and let it go: the one that was made to wake the thread; or a client's, who then comes again. */
static void fl_turn_away(int fd)
{
    int visitor = accept(fd, NULL, NULL);
    if (visitor >= 0) close(visitor);
}

/* What wakes a thread that has no socket to wait on. */
typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t rings;
    int rung;
} fl_bell;

#ifdef __APPLE__
#define FL_BELL_CLOCK CLOCK_REALTIME
#else
#define FL_BELL_CLOCK CLOCK_MONOTONIC
#endif

static void fl_bell_init(fl_bell *bell)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
#ifndef __APPLE__
    pthread_condattr_setclock(&attributes, FL_BELL_CLOCK);
#endif
    pthread_mutex_init(&bell->mutex, NULL);
    pthread_cond_init(&bell->rings, &attributes);
    pthread_condattr_destroy(&attributes);
    bell->rung = 0;
}

static void fl_bell_ring(fl_bell *bell)
{
    pthread_mutex_lock(&bell->mutex);
    bell->rung = 1;
    pthread_cond_signal(&bell->rings);
    pthread_mutex_unlock(&bell->mutex);
}

static void fl_bell_wait(fl_bell *bell, int64_t ns)
{
    struct timespec end;
    int error = 0;
    clock_gettime(FL_BELL_CLOCK, &end);
    ns = (ns < 0 ? 0 : ns) + end.tv_nsec;
    end.tv_sec += ns / 1000000000;
    end.tv_nsec = ns % 1000000000;
    pthread_mutex_lock(&bell->mutex);
    while (!bell->rung && error == 0) error = pthread_cond_timedwait(&bell->rings, &bell->mutex, &end);
    pthread_mutex_unlock(&bell->mutex);
}

static void fl_bell_free(fl_bell *bell)
{
    pthread_cond_destroy(&bell->rings);
    pthread_mutex_destroy(&bell->mutex);
}

/* A thread that no signal of the program's is delivered to: the program's threads decide who takes which, and a signal that all of
 * them block must not find this one. Faults are left alone, for the program's handlers tell of them. */
static int fl_thread_new(pthread_t *thread, void *(*run)(void *), void *argument)
{
    sigset_t blocked, before;
    int error;
    sigfillset(&blocked);
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    error = pthread_create(thread, NULL, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* Whether a thread has ended within that time; if so it is no more, else it may be joined again or detached. */
static int fl_thread_ends(pthread_t thread, int64_t ns)
{
#ifdef __linux__
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    ns += end.tv_nsec;
    end.tv_sec += ns / 1000000000;
    end.tv_nsec = ns % 1000000000;
    return pthread_timedjoin_np(thread, NULL, &end) == 0;
#else
    (void)ns;
    return pthread_join(thread, NULL) == 0;
#endif
}

static void fl_thread_name(const char *name)
{
#ifdef __linux__
    prctl(PR_SET_NAME, (unsigned long)name, 0, 0, 0);
#else
    (void)name;
#endif
}

/* Whether the system still counts a thread of this process, which it does for a moment after the thread's last line. */
static int fl_thread_exists(uint32_t native_id)
{
#ifdef __linux__
    char path[48];
    snprintf(path, sizeof path, "/proc/self/task/%u", native_id);
    return access(path, F_OK) == 0;
#else
    (void)native_id;
    return 0;
#endif
}

/* Whether Python knows of any thread; this one is none to it while it does not hold the GIL. */
static int fl_python_has_threads(void) { return PyInterpreterState_ThreadHead(PyInterpreterState_Main()) != NULL; }

#endif
