/* Prints what can be seen from inside of a process that should not know that we are there. */
#include <dirent.h>
#include <signal.h>
#include <string.h>

#include <stdio.h>
#include <stdlib.h>

static int entries(const char *path) {
    int n = 0;
    DIR *dir = opendir(path);
    while (dir && readdir(dir)) n++;
    if (dir) closedir(dir);
    return n;
}

static int mapped(const char *what) {
    char line[4096];
    int n = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    while (maps && fgets(line, sizeof line, maps)) n += strstr(line, what) != NULL;
    if (maps) fclose(maps);
    return n;
}

int main(void) {
    int handlers = 0;
    for (int s = 1; s < 32; s++) {
        struct sigaction a;
        if (sigaction(s, NULL, &a) == 0 && a.sa_handler != SIG_DFL && a.sa_handler != SIG_IGN)
            handlers++;
    }
    printf("descriptors %d threads %d handlers %d unwinders %d\n", entries("/proc/self/fd"),
           entries("/proc/self/task"), handlers, mapped("libunwind"));
    const char *preload = getenv("LD_PRELOAD");
    if (getenv("PRINT_PRELOAD")) printf("LD_PRELOAD=%s\n", preload ? preload : "");
    return 0;
}
