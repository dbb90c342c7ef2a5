/* shelter: see the header. */
#include "shelter.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <time.h>

static const int ours[] = {SIGXFSZ, SIGPIPE};
enum { OURS = sizeof ours / sizeof *ours };

void mt_shelter_enter(mt_shelter *s) {
    sigset_t all;
    s->error = errno;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &s->cancel);
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &s->before);
    sigpending(&s->pending);
}

void mt_shelter_leave(mt_shelter *s) {
    struct timespec at_once = {0, 0};
    sigset_t pending;
    int unused;
    sigpending(&pending);
    for (int i = 0; i < OURS; i++) {
        sigset_t one;
        sigemptyset(&one);
        sigaddset(&one, ours[i]);
        if (sigismember(&pending, ours[i]) && !sigismember(&s->pending, ours[i]))
            sigtimedwait(&one, NULL, &at_once);
    }
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    pthread_setcancelstate(s->cancel, &unused);
    errno = s->error;
}
