#include "sites.h"

#include <stdlib.h>
#include <string.h>

#define KEEP(p) __asm__ volatile("" : "+r"(p)::"memory")
#define ALONE   __attribute__((noinline))

/* index.cc: adds an element to a container, which is made if old is NULL. */
void *index_add(enum way way, void *old, size_t size);
void corpus_index_delete(void *index);
void corpus_index_holds(const void *index, long *chunks, long *bytes);

static ErlNifResourceType *resources;
static long books[SITE_COUNT][2];

/* What many C programs have: the stacks of all of its callers begin with it. */
static ALONE void *corpus_xmalloc(size_t size) {
    void *p = malloc(size);
    if (!p) abort();
    KEEP(p);
    return p;
}

static inline __attribute__((always_inline)) void *string(size_t size) {
    char text[4096];
    if (size == 0 || size > sizeof text) return NULL;
    memset(text, 'x', size - 1);
    text[size - 1] = 0;
    return strdup(text);
}

static inline __attribute__((always_inline)) void *aligned(size_t size) {
    void *p = NULL;
    return posix_memalign(&p, 64, size) == 0 ? p : NULL;
}

static inline __attribute__((always_inline)) void *allocate(enum way way, void *old,
                                                            size_t size) {
    switch (way) {
    case MALLOC:
        return old ? realloc(old, size) : malloc(size);
    case CALLOC:
        return calloc(1, size);
    case ALIGNED:
        return aligned(size);
    case STRING:
        return string(size);
    case XMALLOC:
        return corpus_xmalloc(size);
    case ENIF:
        return old ? enif_realloc(old, size) : enif_alloc(size);
    case ENV:
        return enif_alloc_env();
    case RESOURCE:
        return enif_alloc_resource(resources, size);
    case BINARY:
        return enif_alloc_binary(size, old) ? old : NULL;
    default:
        return NULL;
    }
}

typedef void *site_function(enum way way, void *old, size_t size);

#define index_add container_site /* that one is in index.cc */
#define SITE(name)                                                                             \
    static __attribute__((unused)) ALONE void *name(enum way way, void *old, size_t size) {    \
        void *p = allocate(way, old, size);                                                    \
        KEEP(p);                                                                               \
        return p;                                                                              \
    }
SITES(SITE)
#undef SITE
#undef index_add

static site_function *const functions[SITE_COUNT] = {
#define SITE(name) name,
    SITES(SITE)
#undef SITE
};

const char *const corpus_site_names[SITE_COUNT] = {
#define SITE(name) #name,
    SITES(SITE)
#undef SITE
};

const char *const corpus_way_names[WAYS] = {"malloc", "calloc", "aligned",  "string", "xmalloc",
                                            "enif",   "env",    "resource", "binary", "index"};

void corpus_sites_init(ErlNifResourceType *type) {
    resources = type;
}

/* The orders of the book's changes among each other do not matter: it is read when all is
 * quiet. */
static void book(enum site site, long chunks, long bytes) {
    __atomic_fetch_add(&books[site][0], chunks, __ATOMIC_RELAXED);
    __atomic_fetch_add(&books[site][1], bytes, __ATOMIC_RELAXED);
}

void *corpus_take(enum site site, enum way way, void *old, size_t old_size, size_t size) {
    long chunks[2] = {0, 0}, bytes[2] = {0, 0};
    if (way == INDEX) corpus_index_holds(old, &chunks[0], &bytes[0]);
    void *p = functions[site](way, old, size);
    if (!p) return NULL;
    if (way == INDEX) {
        corpus_index_holds(p, &chunks[1], &bytes[1]);
        book(site, chunks[1] - chunks[0], bytes[1] - bytes[0]);
    } else {
        book(site, old && way != BINARY ? 0 : 1, (long)size - (long)old_size);
    }
    return p;
}

void corpus_give(enum site site, enum way way, void *p, size_t size) {
    long chunks = 1, bytes = (long)size;
    if (way == INDEX) corpus_index_holds(p, &chunks, &bytes);
    switch (way) {
    case ENIF:
        enif_free(p);
        break;
    case ENV:
        enif_free_env(p);
        break;
    case BINARY:
        enif_release_binary(p);
        break;
    case INDEX:
        corpus_index_delete(p);
        break;
    case RESOURCE:
        return;
    default:
        free(p);
    }
    book(site, -chunks, -bytes);
}

void corpus_gone(enum site site, size_t size) {
    book(site, -1, -(long)size);
}

void corpus_book(enum site site, long *chunks, long *bytes) {
    *chunks = __atomic_load_n(&books[site][0], __ATOMIC_RELAXED);
    *bytes = __atomic_load_n(&books[site][1], __ATOMIC_RELAXED);
}
