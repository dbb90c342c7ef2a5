/* What mtracectl is tried on: leaves 10 chunks of 100 bytes, by `leak`, and ends as it is told:
 *
 *   ctl_left [clean | exit N | _exit N | signal N | fork N | own | reset | wait | freed | held
 * FILE]
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *kept[10];

__attribute__((noinline)) static void leak(void) {
    for (int i = 0; i < 10; i++) kept[i] = malloc(100);
}

__attribute__((noinline)) static void *later(void) {
    return malloc(30);
}

static void own_handler(int number) {
    (void)number;
    static const char text[] = "own handler\n";
    ssize_t n = write(STDOUT_FILENO, text, sizeof text - 1);
    (void)n;
}

/* The child of a fork gets the signal; how it ended is the status. */
static int fork_and_signal(int number) {
    pid_t child = fork();
    int status;
    if (child == 0) {
        raise(number);
        _exit(0);
    }
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

/* Until somebody writes to our stdin, or closes it. */
static void wait_for_stdin(void) {
    char byte;
    printf("%d\n", (int)getpid());
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) < 0)
        ;
}

/* Writes into the file when stdin is closed. */
static void hold(const char *path) {
    wait_for_stdin();
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    ssize_t n = write(fd, "went on", 7);
    (void)n;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    int number = argc > 2 ? atoi(argv[2]) : 0;
    char buffer[BUFSIZ];
    setvbuf(stdout, buffer, _IOFBF, sizeof buffer); /* stdio allocates none of its own */
    leak();
    if (strcmp(what, "clean") == 0)
        for (int i = 0; i < 10; i++) free(kept[i]);
    if (strcmp(what, "exit") == 0) return number;
    if (strcmp(what, "_exit") == 0) _exit(number);
    if (strcmp(what, "signal") == 0) raise(number);
    if (strcmp(what, "fork") == 0) return fork_and_signal(number);
    if (strcmp(what, "own") == 0) {
        signal(SIGUSR1, own_handler);
        raise(SIGUSR1);
    }
    if (strcmp(what, "reset") == 0) {
        raise(SIGQUIT);
        kept[0] = later();
    }
    if (strcmp(what, "wait") == 0) wait_for_stdin();
    if (strcmp(what, "freed") == 0) {
        wait_for_stdin();
        for (int i = 0; i < 10; i++) free(kept[i]);
    }
    if (strcmp(what, "held") == 0) hold(argv[2]);
    return 0;
}
