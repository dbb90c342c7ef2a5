/* nif_tables: see the header. */
#include "nif_tables.h"

#include <dlfcn.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include "linked.h"
#include "pages.h"

enum { ROOM = 64 };

/* Entries stay where they are. `real` is the VM's function, NULL where it has none. */
typedef struct entry {
    const mt_redirection *what;
    void *real;
    atomic_bool on;
} entry;

static entry entries[ROOM];
static _Atomic uint32_t count; /* entries before it are filled */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const entry *named(const char *name) {
    uint32_t n = atomic_load_explicit(&count, memory_order_acquire);
    for (uint32_t i = 0; i < n; i++)
        if (atomic_load_explicit(&entries[i].on, memory_order_relaxed) &&
            strcmp(entries[i].what->symbol, name) == 0)
            return &entries[i];
    return NULL;
}

/* All that is not about the VM is passed on by a jump: RTLD_NEXT is about whoever called. */
static void *dlsym_of_library(void *handle, const char *name) {
    const entry *e = handle != RTLD_NEXT && name ? named(name) : NULL;
    if (!e) return dlsym(handle, name);
    void *found = dlsym(handle, name);
    return found && found == e->real ? e->what->to : found;
}

static const mt_redirection by_name = {"dlsym", (void *)dlsym_of_library,
                                       MT_REDIRECT_LIBRARIES};

/* One look through data: the VM's functions become ours, or back those that are not on. */
typedef struct {
    mt_pages pages;
    bool back;
    bool program_passed;
} look;

static void exchange(const look *l, uintptr_t *at) {
    uintptr_t word = __atomic_load_n(at, __ATOMIC_RELAXED);
    uint32_t n = atomic_load(&count);
    for (uint32_t i = 0; i < n; i++) {
        uintptr_t real = (uintptr_t)entries[i].real, ours = (uintptr_t)entries[i].what->to;
        if (!real || word != (l->back ? ours : real) || l->back == atomic_load(&entries[i].on))
            continue;
        __atomic_compare_exchange_n(at, &word, l->back ? real : ours, false, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED);
        return;
    }
}

/* Whole pages that are writable by now: what the linker protected, or the library did, stays.
 */
static void look_through(look *l, const mt_linked *object, uintptr_t lo, uintptr_t hi) {
    enum { PAGE = 4096 };
    lo = (lo + sizeof lo - 1) & ~(sizeof lo - 1);
    for (uintptr_t at = lo; at + sizeof at <= hi;) {
        uintptr_t next = (at & ~(uintptr_t)(PAGE - 1)) + PAGE;
        int protection = mt_pages_protection(&l->pages, at);
        bool relro = at >= object->relro.lo && at < object->relro.hi;
        if (!relro && protection >= 0 && (protection & PROT_WRITE) && (protection & PROT_READ))
            for (uintptr_t end = next < hi ? next : hi; at + sizeof at <= end; at += sizeof at)
                exchange(l, (uintptr_t *)at);
        at = next;
    }
}

static int visit(struct dl_phdr_info *info, size_t size, void *context) {
    look *l = context;
    (void)size;
    mt_linked o = mt_linked_of(info, !l->program_passed);
    l->program_passed = true;
    if (o.program || mt_linked_is_left_alone(&o) || !mt_slots_defines(&o.slots, "nif_init"))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *p = &info->dlpi_phdr[i];
        uintptr_t lo = info->dlpi_addr + p->p_vaddr;
        if (p->p_type == PT_LOAD && (p->p_flags & PF_W))
            look_through(l, &o, lo, lo + p->p_memsz);
    }
    return 0;
}

static void look_at_all(bool back) {
    look l = {.back = back};
    dl_iterate_phdr(visit, &l);
    mt_pages_empty(&l.pages);
}

void mt_nif_tables_look(void) {
    pthread_mutex_lock(&lock);
    look_at_all(false);
    pthread_mutex_unlock(&lock);
}

/* The entry of this redirection, a new one if need be; NULL: no room. */
static entry *entry_of(const mt_redirection *what) {
    uint32_t n = atomic_load(&count);
    for (uint32_t i = 0; i < n; i++)
        if (entries[i].what == what) return &entries[i];
    if (n == ROOM) return NULL;
    entries[n].what = what;
    entries[n].real = mt_redirect_behind(what->symbol);
    atomic_store_explicit(&count, n + 1, memory_order_release);
    return &entries[n];
}

static uint32_t lists; /* in force */

static int add(const mt_redirection *list, size_t n) {
    if (mt_redirect_add(list, n) != 0) return -1;
    for (size_t i = 0; i < n; i++)
        if (!entry_of(&list[i])) return mt_redirect_remove(list, n), -1;
    if (lists == 0 && mt_redirect_add(&by_name, 1) != 0) return mt_redirect_remove(list, n), -1;
    for (size_t i = 0; i < n; i++) atomic_store(&entry_of(&list[i])->on, true);
    lists++;
    return 0;
}

int mt_nif_tables_add(const mt_redirection *list, size_t n) {
    pthread_mutex_lock(&lock);
    int result = add(list, n);
    pthread_mutex_unlock(&lock);
    return result;
}

void mt_nif_tables_remove(const mt_redirection *list, size_t n) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n; i++) atomic_store(&entry_of(&list[i])->on, false);
    mt_redirect_remove(list, n);
    if (--lists == 0) mt_redirect_remove(&by_name, 1);
    look_at_all(true);
    pthread_mutex_unlock(&lock);
}
