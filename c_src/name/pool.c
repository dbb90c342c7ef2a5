/* pool: a pointer that moves up, and lists of what came back. */
#include "pool.h"

#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

/* Of a limited address space; of several pools each takes its share of what the others left. */
enum { LIMITED_SHARE = 16, LIMITED_MOST = 64 << 20 };

enum { HEAD = 16, SMALL = 65536, PAD = 65536, STEP = 1 << 20, LEAST = 16 << 20 };

/* Before each block. */
typedef struct {
    size_t bytes; /* with this head */
} head;

static head *head_of(void *block) {
    return (head *)((char *)block - HEAD);
}

static unsigned log2_floor(size_t n) {
    return (unsigned)(8 * sizeof(unsigned long) - 1) - (unsigned)__builtin_clzl(n);
}

/* Address space that is reserved counts against a limit that the process may have: then no more
 * than a small share of what is left. */
static size_t affordable(size_t most) {
    struct rlimit limit;
    char text[32] = "";
    if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return most;
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0) close(fd);
    uint64_t used = 0;
    if (n <= 0) return 0;
    for (const char *c = text; *c >= '0' && *c <= '9'; c++)
        used = used * 10 + (uint64_t)(*c - '0');
    used *= (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t share = used < limit.rlim_cur ? (limit.rlim_cur - used) / LIMITED_SHARE : 0;
    if (share > LIMITED_MOST) share = LIMITED_MOST;
    return share < most ? (size_t)share : most;
}

int mt_pool_open(mt_pool *pool, size_t most) {
    memset(pool, 0, sizeof *pool);
    for (most = affordable(most); most >= LEAST; most /= 2) {
        void *p =
            mmap(NULL, most, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p == MAP_FAILED) continue;
        pool->base = p;
        pool->reserved = most;
        return 0;
    }
    return -1;
}

void mt_pool_close(mt_pool *pool) {
    if (pool->base) munmap(pool->base, pool->reserved);
    memset(pool, 0, sizeof *pool);
}

/* Makes `bytes` more readable, and a pad behind them. */
static bool commit(mt_pool *pool, size_t bytes) {
    size_t want = pool->used + bytes + PAD;
    if (want <= pool->committed) return true;
    want = (want + STEP - 1) & ~(size_t)(STEP - 1);
    if (want > pool->reserved || mprotect(pool->base + pool->committed, want - pool->committed,
                                          PROT_READ | PROT_WRITE) != 0)
        return false;
    pool->committed = want;
    return true;
}

/* Four sizes between a power of two and the next. */
static size_t round_up(size_t total) {
    size_t step = total < 64 ? 16 : (size_t)1 << (log2_floor(total) - 2);
    return (total + step - 1) & ~(step - 1);
}

static mt_pool_spare **list_for(mt_pool *pool, size_t total) {
    unsigned power = log2_floor(total);
    return &pool->given[4 * power + (total >> (power - 2) & 3)];
}

void *mt_pool_take(mt_pool *pool, size_t bytes) {
    if (bytes > pool->reserved) return NULL;
    size_t total = round_up(bytes + HEAD < 2 * HEAD ? 2 * HEAD : bytes + HEAD);
    mt_pool_spare **list = list_for(pool, total), *spare = *list;
    if (spare) {
        *list = spare->next;
        spare->next = NULL;
        return memset(spare, 0, bytes);
    }
    if (!commit(pool, total)) return NULL;
    void *block = pool->base + pool->used + HEAD;
    head_of(block)->bytes = total;
    pool->used += total;
    return block;
}

/* The pages of a large block go back to the kernel at once, but for those at its ends. */
void mt_pool_give(mt_pool *pool, void *block) {
    size_t total = head_of(block)->bytes;
    mt_pool_spare **list = list_for(pool, total), *spare = block;
    if (total > SMALL) {
        uintptr_t lo = ((uintptr_t)block + HEAD + SMALL) & ~(uintptr_t)(SMALL - 1);
        uintptr_t hi = ((uintptr_t)block - HEAD + total) & ~(uintptr_t)(SMALL - 1);
        if (lo < hi) madvise((void *)lo, hi - lo, MADV_DONTNEED);
    }
    spare->next = *list;
    *list = spare;
}

void *mt_pool_resize(mt_pool *pool, void *block, size_t bytes) {
    if (!block) return mt_pool_take(pool, bytes);
    size_t room = head_of(block)->bytes - HEAD;
    if (bytes <= room) return block;
    void *larger = mt_pool_take(pool, bytes);
    if (!larger) return NULL;
    memcpy(larger, block, room);
    mt_pool_give(pool, block);
    return larger;
}

bool mt_pool_owns(const mt_pool *pool, const void *p) {
    return (uintptr_t)p - (uintptr_t)pool->base < pool->reserved;
}
