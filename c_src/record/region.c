/* region: see the header. Pieces are taken from the shared memory by adding to a counter, and
 * never given back to it. */
#include "region.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Not mmap itself: the program may have one of its own, which allocates. */
#if defined SYS_mmap2
#define SYS_MAP SYS_mmap2
#else
#define SYS_MAP SYS_mmap
#endif

#ifndef MFD_CLOEXEC
#define MFD_CLOEXEC       1u
#define MFD_ALLOW_SEALING 2u
#endif

enum {
    PAGE = 65536,          /* the largest that Linux has on the machines that we know */
    SLOT_BYTES = 1024,     /* a chunk's cell, and a row of sites with the deepest stack */
    SLOTS_MIN = 1024,      /* fewer would be of no use */
    ROWS = 1 << 18,        /* sites have that many rows if there is room */
    OTHER_MIN = 8 << 20,   /* for threads and what has been seen */
    OTHER_MAX = 128 << 20, /* some 70,000 threads */
    LIMIT_SHARE = 8        /* of what the program may map we take an eighth at most */
};

static _Atomic(mt_region_header *) shared;

mt_region_header *mt_region_shared(void) {
    return atomic_load_explicit(&shared, memory_order_acquire);
}

static void *map(size_t bytes, int flags, int fd) {
    int saved = errno;
    long p = syscall(SYS_MAP, NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);
    errno = saved;
    return p == -1 ? NULL : (void *)p;
}

/* The entry is listed when all of it stands there (release). */
static void *take_shared(mt_region_header *h, mt_region_part part, size_t bytes, uint64_t a,
                         uint64_t b) {
    uint64_t room = (bytes + PAGE - 1) / PAGE * PAGE, at = atomic_load(&h->used);
    do {
        if (room < bytes || room > h->bytes - at) return NULL;
    } while (!atomic_compare_exchange_weak(&h->used, &at, at + room));
    uint32_t i = atomic_fetch_add(&h->parts, 1);
    if (i >= MT_REGION_PARTS) return NULL;
    mt_region_entry *e = &h->entry[i];
    e->offset = at;
    e->bytes = bytes;
    e->a = a;
    e->b = b;
    atomic_store_explicit(&e->kind, part, memory_order_release);
    return (char *)h + at;
}

void *mt_region_take(mt_region_part part, size_t bytes, uint64_t a, uint64_t b) {
    mt_region_header *h = mt_region_shared();
    void *p = h ? take_shared(h, part, bytes, a, b) : NULL;
    if (h && (p || part != MT_REGION_THREADS)) return p;
    return map(bytes, MAP_PRIVATE | MAP_ANONYMOUS, -1);
}

void mt_region_return(void *memory, size_t bytes) {
    mt_region_header *h = mt_region_shared();
    uintptr_t at = (uintptr_t)memory - (uintptr_t)h;
    if (!h || at >= h->bytes) {
        munmap(memory, bytes);
        return;
    }
    uint32_t parts = atomic_load(&h->parts);
    for (uint32_t i = 0; i < parts && i < MT_REGION_PARTS; i++)
        if (atomic_load_explicit(&h->entry[i].kind, memory_order_acquire) &&
            h->entry[i].offset == at)
            atomic_store(&h->entry[i].kind, 0);
}

static uint64_t bytes_for(uint64_t slots) {
    uint64_t other = slots * 128;
    if (other < OTHER_MIN) other = OTHER_MIN;
    if (other > OTHER_MAX) other = OTHER_MAX;
    return MT_REGION_HEADER + slots * SLOT_BYTES + other;
}

static bool may_map(uint64_t bytes) {
    struct rlimit limit;
    if (bytes > SIZE_MAX / 4) return false;
    return getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
           bytes <= limit.rlim_cur / LIMIT_SHARE;
}

/* RLIMIT_FSIZE is meant for files: what may be raised is raised for this moment. Beyond it the
 * kernel would send a signal. */
static bool lengthen(int fd, uint64_t bytes) {
    struct rlimit limit, most;
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0) return false;
    most = (struct rlimit){limit.rlim_max, limit.rlim_max};
    if (limit.rlim_max != RLIM_INFINITY && limit.rlim_max < bytes) return false;
    if (limit.rlim_cur != limit.rlim_max && setrlimit(RLIMIT_FSIZE, &most) != 0) return false;
    bool done = ftruncate(fd, (off_t)bytes) == 0;
    if (limit.rlim_cur != limit.rlim_max) setrlimit(RLIMIT_FSIZE, &limit);
    return done;
}

/* Who reads it would die of pages that are gone (SIGBUS), and asks for this seal. */
static void keep_whole(int fd) {
#ifdef F_ADD_SEALS
    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
#else
    (void)fd;
#endif
}

/* A core dump would touch every page of it to look what is there, and hold them all. */
static void leave_out_of_dumps(void *memory, uint64_t bytes) {
    int saved = errno;
    madvise(memory, (size_t)bytes, MADV_DONTDUMP);
    errno = saved;
}

static mt_region_header *map_shared(int fd, uint64_t asked) {
    for (uint64_t room = asked > ROWS ? asked : ROWS; room >= SLOTS_MIN; room /= 2) {
        uint64_t bytes = bytes_for(room);
        if (!may_map(bytes) || !lengthen(fd, bytes)) continue;
        mt_region_header *h = map((size_t)bytes, MAP_SHARED | MAP_NORESERVE, fd);
        if (!h) continue;
        keep_whole(fd);
        leave_out_of_dumps(h, bytes);
        h->bytes = bytes;
        h->slots = asked < room ? asked : room;
        h->slots_asked = asked;
        return h;
    }
    return NULL;
}

static uint64_t nanoseconds(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* "mtrace." and the number. */
static void name_it(char *name, uint32_t pid) {
    char digit[10], *at = name;
    int n = 0;
    for (const char *c = "mtrace."; *c; c++) *at++ = *c;
    do {
        digit[n++] = (char)('0' + pid % 10);
    } while ((pid /= 10) != 0);
    while (n > 0) *at++ = digit[--n];
    *at = '\0';
}

static void tell_command(mt_region_header *h) {
    prctl(PR_GET_NAME, h->name);
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, h->command, sizeof h->command - 1) : 0;
    if (fd >= 0) close(fd);
    while (n > 0 && h->command[n - 1] == '\0') n--;
    for (ssize_t i = 0; i < n; i++)
        if (h->command[i] == '\0') h->command[i] = ' ';
}

int mt_region_share(uint64_t slots) {
#ifdef SYS_memfd_create
    char name[32];
    const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    uint32_t pid = (uint32_t)getpid();
    name_it(name, pid);
    int fd = mt_region_shared() ? -1 : (int)syscall(SYS_memfd_create, name, flags);
    if (fd < 0) return -1;
    mt_region_header *h = map_shared(fd, slots);
    if (!h) {
        close(fd);
        return -1;
    }
    h->magic = MT_REGION_MAGIC;
    h->version = MT_REGION_VERSION;
    h->pid = pid;
    tell_command(h);
    h->start_ns = nanoseconds(CLOCK_MONOTONIC);
    h->start_wall_ns = nanoseconds(CLOCK_REALTIME);
    atomic_store(&h->used, MT_REGION_HEADER);
    atomic_store(&h->state, MT_REGION_STARTED);
    atomic_store_explicit(&shared, h, memory_order_release);
    return fd;
#else
    (void)slots;
    return -1;
#endif
}
