/* Forks while other threads are inside the hooks; each child allocates and ends. A child that
 * waits for something that another thread held hangs, and the alarm ends it. */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <unistd.h>

#include "traced.h"

static atomic_bool stop;

static void *churn(void *unused) {
    (void)unused;
    while (!stop) {
        void *p[64];
        for (int i = 0; i < 64; i++) p[i] = malloc(64 + i);
        for (int i = 0; i < 64; i++) p[i] = realloc(p[i], 500);
        for (int i = 0; i < 64; i++) free(p[i]);
        if (getpid() % 7 == 0) traced_core()->reset();
    }
    return NULL;
}

static void child(void) {
    alarm(20);
    uint64_t before = traced_count(MT_COUNT_malloc);
    for (int i = 0; i < 2000; i++) free(realloc(malloc(i), 10000));
    CHECK(traced_count(MT_COUNT_malloc) == before); /* traces nothing */
    _exit(0);
}

int main(void) {
    pthread_t thread[4];
    for (int i = 0; i < 4; i++) pthread_create(&thread[i], NULL, churn, NULL);
    for (int i = 0; i < 500; i++) {
        int status;
        pid_t pid = fork();
        if (pid == 0) child();
        CHECK(waitpid(pid, &status, 0) == pid);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    stop = true;
    for (int i = 0; i < 4; i++) pthread_join(thread[i], NULL);
    puts("fork: well");
    return 0;
}
