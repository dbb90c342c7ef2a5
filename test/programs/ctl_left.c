/* What mtracectl is tried on: leaves 10 chunks of 100 bytes, by `leak`, and ends as it is told:
 *
 *   ctl_left [clean | exit N | _exit N | signal N | fork N | own | reset | wait | freed |
 *            renamed | strict | vector | held FILE]
 */
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ; /* unistd.h has it for _GNU_SOURCE only */

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

/* As services do that have nothing left to ask of the kernel; ended at any other call. */
static void give_up_calls(void) {
#define MAY(call)                                                                              \
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),                                           \
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
    struct sock_filter filter[] = {BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
                                   MAY(SYS_read),
                                   MAY(SYS_write),
                                   MAY(SYS_exit_group),
                                   MAY(SYS_brk),
                                   MAY(SYS_mmap),
                                   MAY(SYS_munmap),
                                   MAY(SYS_getpid),
                                   MAY(SYS_clock_gettime),
                                   MAY(SYS_futex),
                                   BPF_STMT(BPF_RET | BPF_K, 0x80000000u)}; /* kill all */
    struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0)
        _exit(99);
}

/* Go's runtime reads it so. */
static bool finds_vector(char **variables) {
    bool ours = false;
    for (; *variables; variables++)
        ours |= strncmp(*variables, "MTRACE", 6) == 0 || strstr(*variables, "mtrace.so");
    for (unsigned long *v = (unsigned long *)variables + 1; v[0]; v += 2)
        if (v[0] == AT_PAGESZ) return v[1] == (unsigned long)getpagesize() && !ours;
    return false;
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
    if (strcmp(what, "renamed") == 0) {
        prctl(PR_SET_NAME, "worker: idle");
        _exit(0);
    }
    if (strcmp(what, "vector") == 0)
        return !finds_vector(argv + argc + 1) || !finds_vector(environ);
    if (strcmp(what, "strict") == 0) give_up_calls();
    if (strcmp(what, "wait") == 0) wait_for_stdin();
    if (strcmp(what, "freed") == 0) {
        wait_for_stdin();
        for (int i = 0; i < 10; i++) free(kept[i]);
    }
    if (strcmp(what, "held") == 0) hold(argv[2]);
    return 0;
}
