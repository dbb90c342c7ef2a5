/* Starts a program a number of times and prints microseconds per start, the best of several
 * repetitions:  start TIMES PROGRAM [PRELOAD] */
#define _GNU_SOURCE
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

static double now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    char variable[4096];
    snprintf(variable, sizeof variable, "LD_PRELOAD=%s", argc > 3 ? argv[3] : "");
    char *environment[] = {variable, NULL}, *arguments[] = {argv[2], NULL};
    double best = 1e18;
    for (int i = 0; i < atoi(argv[1]); i++) {
        pid_t pid;
        int status;
        double begin = now_us();
        if (posix_spawn(&pid, argv[2], NULL, NULL, arguments,
                        argc > 3 ? environment : environment + 1))
            return 2;
        waitpid(pid, &status, 0);
        double us = now_us() - begin;
        if (us < best) best = us;
    }
    printf("%.4f\n", best);
    return 0;
}
