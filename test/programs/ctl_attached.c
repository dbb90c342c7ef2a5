/* What mtracectl attaches to: threads that allocate and free without pause, one that leaves
 * something, until stdin is closed; then it says that it went well. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_bool stop;

__attribute__((noinline)) static void *leave(void) {
    return malloc(100);
}

static void *churn(void *unused) {
    (void)unused;
    while (!stop) {
        void *p[32];
        for (int i = 0; i < 32; i++) p[i] = malloc(16 + i * 8);
        for (int i = 0; i < 32; i++) p[i] = realloc(p[i], 700);
        for (int i = 0; i < 32; i++) free(p[i]);
        usleep(500); /* so that there are moments outside of malloc */
    }
    return NULL;
}

static void *leak(void *unused) {
    (void)unused;
    while (!stop) {
        leave();
        usleep(2000);
    }
    return NULL;
}

int main(void) {
    pthread_t thread[3];
    char byte;
    printf("%d\n", (int)getpid());
    fflush(stdout);
    for (int i = 0; i < 3; i++)
        if (pthread_create(&thread[i], NULL, i ? churn : leak, NULL) != 0) return 1;
    while (read(STDIN_FILENO, &byte, 1) < 0)
        ;
    stop = true;
    for (int i = 0; i < 3; i++) pthread_join(thread[i], NULL);
    puts("well");
    return 0;
}
