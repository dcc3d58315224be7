/* A native thread that no signal is delivered to, and a mutex with a condition on the monotonic clock. */
#ifndef FASTLOCK_WATCHER_H
#define FASTLOCK_WATCHER_H

#include "_native.h"
#include <signal.h>

#define FL_WATCHER_STACK (256 * 1024) /* address space; a page or two of it are touched */

static inline int fl_thread_start(pthread_t *thread, void *(*run)(void *)) {
    pthread_attr_t attributes;
    sigset_t all, before;
    int rc;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, FL_WATCHER_STACK);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* the new thread inherits it */
    rc = pthread_create(thread, &attributes, run, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return rc;
}

static inline void fl_thread_name(const char *name) {
#ifdef __linux__
    pthread_setname_np(pthread_self(), name);
#else
    (void)name;
#endif
}

/* Returns whether the thread has ended within the time. */
static inline int fl_thread_join(pthread_t thread, int64_t limit_ns) {
#ifdef __linux__
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until); /* the only clock that it takes everywhere; a jump costs a late or an early answer */
    until.tv_sec += limit_ns / 1000000000;
    until.tv_nsec += limit_ns % 1000000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    return pthread_timedjoin_np(thread, NULL, &until) == 0;
#else
    (void)limit_ns;
    return pthread_join(thread, NULL) == 0;
#endif
}

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
} fl_gate;

static inline void fl_gate_init(fl_gate *g) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&g->mutex, NULL);
    pthread_condattr_init(&attributes);
#ifdef __linux__
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
#endif
    pthread_cond_init(&g->moved, &attributes);
    pthread_condattr_destroy(&attributes);
}

static inline void fl_gate_enter(fl_gate *g) { pthread_mutex_lock(&g->mutex); }
static inline void fl_gate_leave(fl_gate *g) { pthread_mutex_unlock(&g->mutex); }
static inline void fl_gate_signal(fl_gate *g) { pthread_cond_signal(&g->moved); }

/* Leaves the gate until a signal, or `until_ns` by fl_now_ns(). */
static inline void fl_gate_rest(fl_gate *g, int64_t until_ns) {
    struct timespec until = {(time_t)(until_ns / 1000000000), (long)(until_ns % 1000000000)};
    pthread_cond_timedwait(&g->moved, &g->mutex, &until);
}

#endif
