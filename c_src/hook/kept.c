/* kept: see the header. */
#include "kept.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

enum { PIECE = 65536, ALIGN = 16 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *at;
static size_t left;

static char *map(size_t bytes) {
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p == MAP_FAILED ? NULL : p;
}

static void *take(size_t bytes) {
    if (bytes > PIECE / 2) return map(bytes);
    if (bytes > left) {
        char *piece = map(PIECE);
        if (!piece) return NULL;
        at = piece;
        left = PIECE;
    }
    at += bytes;
    left -= bytes;
    return at - bytes;
}

void *mt_kept_take(size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    pthread_mutex_lock(&lock);
    void *p = take(bytes);
    pthread_mutex_unlock(&lock);
    return p;
}

const char *mt_kept_text(const char *text) {
    size_t n = strlen(text) + 1;
    char *copy = mt_kept_take(n);
    return copy ? memcpy(copy, text, n) : NULL;
}
