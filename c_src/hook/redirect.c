/* redirect: see the header. One look goes over all objects and makes each slot what it should
 * be by then: ours, for what is in force, or what it was. */
#include "redirect.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>

#include "linked.h"
#include "pages.h"
#include "record/tracer.h"
#include "stubs.h"
#include "wanted.h"

enum { LATER_NS = 1000000000 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool again; /* somebody wanted a look while the lock was taken */

/* What the last look left to be looked at again. */
static struct {
    unsigned long long adds; /* the loader's count of objects */
    uint64_t at_ns;
    bool unfinished; /* the linker was still at work on an object */
    bool stubs;      /* a call through a stub may have overwritten ours */
} last;

/* One look, inside one call of dl_iterate_phdr: while it has the linker's list. */
typedef struct {
    mt_linked object;  /* the one that is visited */
    mt_linked program; /* the first */
    mt_pages pages;
    uintptr_t own_lo, own_hi;
    bool several; /* there is an allocator besides libc's and the one that serves */
    bool write;   /* the second visit of the object's slots */
    bool foreign; /* the first has found a slot that calls another function */
} look;

typedef enum { NOTHING, BEHIND, STUB, OURS, FOREIGN } holding;

/* Where the linker has not come to a slot yet, an address of the file stands there, which is
 * less than the object is long. One that lies where its file says was there before us. */
static bool is_unrelocated(const mt_linked *object, const void *value) {
    return object->slots.base && (uintptr_t)value < object->hi - object->lo;
}

static holding holding_of(const look *l, const mt_slot *slot, void *value, mt_wanted *e) {
    const mt_linked *o = &l->object;
    bool defined = slot->symbol->st_shndx != SHN_UNDEF;
    void *behind = atomic_load(&e->behind);
    if (value == e->what.to) return OURS;
    if (!value || !behind || value == e->stand_in) return NOTHING;
    if (value == behind) return BEHIND;
    if (slot->kind == MT_SLOT_WORD || is_unrelocated(o, value)) return NOTHING;
    if ((uintptr_t)value - l->own_lo < l->own_hi - l->own_lo) return NOTHING;
    if (!mt_linked_holds(o, value)) return FOREIGN;
    if (defined && (uintptr_t)value == o->slots.base + slot->symbol->st_value) return FOREIGN;
    return slot->kind == MT_SLOT_CALL && mt_linked_is_code(o, value) ? STUB : NOTHING;
}

/* A page that the linker will make read-only may become so at any moment until it is. */
static bool may_store(look *l, const mt_slot *slot) {
    uintptr_t at = (uintptr_t)slot->at;
    int protection = mt_pages_protection(&l->pages, at);
    bool relro = at >= l->object.relro.lo && at < l->object.relro.hi;
    if (protection >= 0 && protection & PROT_WRITE) {
        if (relro) last.unfinished = true;
        return !relro;
    }
    if (protection >= 0 && mt_pages_open(&l->pages, at, protection) == 0) return true;
    mt_wanted_refuse(&l->object, slot->name, MT_REFUSED_PROTECTED);
    return false;
}

/* The linker may be filling it in: what it stored last stays. */
static void exchange(look *l, const mt_slot *slot, void *from, void *to) {
    if (!may_store(l, slot)) return;
    __atomic_compare_exchange_n(slot->at, &from, to, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

static void set_stub(look *l, const mt_slot *slot, void *stub, void *to) {
    if (l->several && !l->object.program) {
        mt_wanted_refuse(&l->object, slot->name, MT_REFUSED_UNBOUND);
        last.unfinished = true;
    } else if (mt_stubs_put(slot->at, stub)) {
        exchange(l, slot, stub, to);
        last.stubs = true;
    }
}

static int visit(const mt_slot *slot, void *context) {
    look *l = context;
    mt_wanted *e = mt_wanted_for(slot->name, &l->object);
    if (!e || (uintptr_t)slot->at % sizeof(void *) != 0) return 0;
    void *value = __atomic_load_n(slot->at, __ATOMIC_RELAXED);
    holding holds = holding_of(l, slot, value, e);
    if (!l->write) {
        if (holds != FOREIGN || !e->users) return 0;
        mt_wanted_refuse(&l->object, slot->name, MT_REFUSED_ELSEWHERE);
        l->foreign = true;
        return 1;
    }
    if (holds == OURS) {
        void *stub = mt_stubs_get(slot->at);
        if (!e->users) exchange(l, slot, value, stub ? stub : atomic_load(&e->behind));
    } else if (e->users && !l->foreign) {
        if (holds == BEHIND) exchange(l, slot, value, e->what.to);
        if (holds == STUB) set_stub(l, slot, value, e->what.to);
    }
    return 0;
}

static int settle(struct dl_phdr_info *info, size_t size, void *context) {
    look *l = context;
    (void)size;
    l->object = mt_linked_of(info, info->dlpi_addr == l->program.slots.base);
    if (mt_linked_is_left_alone(&l->object)) return 0;
    l->foreign = l->write = false;
    mt_slots_each(&l->object.slots, visit, l);
    l->write = true;
    mt_slots_each(&l->object.slots, visit, l);
    mt_pages_close(&l->pages);
    return 0;
}

/* A program that takes the address of a function of a library, and is not position-independent,
 * has a stub of its own for that address. What that calls is what its own slots hold, or
 * another object's. */
static int learn_slot(const mt_slot *slot, void *context) {
    look *l = context;
    mt_wanted *e = mt_wanted_named(slot->name);
    void *value = __atomic_load_n(slot->at, __ATOMIC_RELAXED);
    if (!e || !e->stand_in || atomic_load(&e->behind) || slot->kind != MT_SLOT_CALL) return 0;
    if (!value || is_unrelocated(&l->object, value) || mt_linked_holds(&l->object, value) ||
        mt_linked_holds(&l->program, value) ||
        (uintptr_t)value - l->own_lo < l->own_hi - l->own_lo)
        return 0;
    for (uint32_t i = 0; (e = mt_wanted_at(i)); i++)
        if (e->stand_in && strcmp(e->what.symbol, slot->name) == 0)
            atomic_store(&e->behind, value);
    return 0;
}

static int learn(struct dl_phdr_info *info, size_t size, void *context) {
    look *l = context;
    (void)size;
    l->object = mt_linked_of(info, info->dlpi_addr == l->program.slots.base);
    if (!mt_linked_is_left_alone(&l->object)) mt_slots_each(&l->object.slots, learn_slot, l);
    return 0;
}

static bool has_stand_ins(look *l) {
    bool any = false;
    mt_wanted *e;
    for (uint32_t i = 0; (e = mt_wanted_at(i)); i++) {
        void *behind = atomic_load(&e->behind);
        bool defined = mt_slots_defines(&l->program.slots, e->what.symbol);
        if (behind && !defined && mt_linked_holds(&l->program, behind)) {
            e->stand_in = behind;
            atomic_store(&e->behind, NULL);
            any = true;
        } else if ((uintptr_t)behind - l->own_lo < l->own_hi - l->own_lo) {
            atomic_store(&e->behind, NULL); /* nobody has it but us */
        }
        if (e->users && defined && e->what.where != MT_REDIRECT_LIBRARIES)
            mt_wanted_refuse(&l->program, e->what.symbol, MT_REFUSED_OWN);
    }
    return any;
}

/* What the later steps must know of all objects. */
static int survey(struct dl_phdr_info *info, size_t size, void *context) {
    look *l = context;
    (void)size;
    mt_linked o = mt_linked_of(info, l->program.hi == 0);
    if (o.program) l->program = o;
    if (mt_linked_holds(&o, (const void *)mt_redirect_add)) {
        l->own_lo = o.lo;
        l->own_hi = o.hi;
    }
    last.adds = info->dlpi_adds;
    mt_wanted *e = mt_wanted_named("malloc");
    if (e && !mt_linked_is_left_alone(&o) && mt_slots_defines(&o.slots, "malloc") &&
        !mt_linked_holds(&o, atomic_load(&e->behind)) && !mt_linked_holds(&o, e->next))
        l->several = true;
    return 0;
}

/* For the first object, with the linker's lock held for all that follows; the lock lets its
 * owner in again. */
static int over_all(struct dl_phdr_info *info, size_t size, void *context) {
    look *l = context;
    (void)info, (void)size;
    dl_iterate_phdr(survey, l);
    if (has_stand_ins(l)) dl_iterate_phdr(learn, l);
    mt_wanted *e;
    for (uint32_t i = 0; (e = mt_wanted_at(i)); i++)
        if (e->stand_in && !atomic_load(&e->behind)) atomic_store(&e->behind, e->next);
    mt_stubs_begin();
    dl_iterate_phdr(settle, l);
    mt_stubs_end();
    return 1;
}

static void look_at_all(void) {
    look l = {0};
    atomic_store(&again, false);
    mt_wanted_refuse_none();
    last.unfinished = last.stubs = false;
    dl_iterate_phdr(over_all, &l);
    mt_pages_empty(&l.pages);
    last.at_ns = mt_tracer_now();
}

/* Whoever came meanwhile has left without a look of its own. */
static void leave(void) {
    pthread_mutex_unlock(&lock);
    while (atomic_load(&again) && pthread_mutex_trylock(&lock) == 0) {
        look_at_all();
        pthread_mutex_unlock(&lock);
    }
}

static int put_into_force(const mt_redirection *list, size_t n, bool stay) {
    size_t added = 0;
    pthread_mutex_lock(&lock);
    while (added < n && mt_wanted_add(&list[added])) added++;
    bool all = added == n;
    if (!stay || !all)
        while (added-- > 0) mt_wanted_remove(&list[added]);
    if (all) look_at_all();
    leave();
    return all ? 0 : -1;
}

int mt_redirect_add(const mt_redirection *list, size_t n) {
    return put_into_force(list, n, true);
}

int mt_redirect_find(const mt_redirection *list, size_t n) {
    return put_into_force(list, n, false);
}

void mt_redirect_remove(const mt_redirection *list, size_t n) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < n; i++) mt_wanted_remove(&list[i]);
    look_at_all();
    leave();
}

void mt_redirect_rescan(void) {
    atomic_store(&again, true);
    if (pthread_mutex_trylock(&lock) != 0) return;
    look_at_all();
    leave();
}

static int count_adds(struct dl_phdr_info *info, size_t size, void *adds) {
    (void)size;
    *(unsigned long long *)adds = info->dlpi_adds;
    return 1;
}

void mt_redirect_rescan_if_loaded(void) {
    unsigned long long adds = 0;
    dl_iterate_phdr(count_adds, &adds);
    if (pthread_mutex_trylock(&lock) != 0) return;
    bool due = adds != last.adds || last.unfinished ||
               (last.stubs && mt_tracer_now() - last.at_ns > LATER_NS);
    if (due) look_at_all();
    leave();
}

void *mt_redirect_behind(const char *symbol) {
    return mt_wanted_behind(symbol);
}

uint32_t mt_redirect_refusals(mt_refusal *out, uint32_t max) {
    pthread_mutex_lock(&lock);
    uint32_t n = mt_wanted_refusals(out, max);
    leave();
    return n;
}

void *(*_Atomic mt_redirect_on_dlsym)(void *handle, const char *name, void *found);

/* All others are passed on by a jump: RTLD_NEXT is about whoever called. */
static void *dlsym_of_program(void *handle, const char *name) {
    void *(*behind)(void *, const char *) =
        (void *(*)(void *, const char *))mt_wanted_behind("dlsym");
    if (strcmp(name, "nif_init") != 0 && strcmp(name, "driver_init") != 0)
        return behind(handle, name);
    void *found = behind(handle, name);
    if (!found) return NULL;
    mt_redirect_rescan();
    void *(*instead)(void *, const char *, void *) = atomic_load(&mt_redirect_on_dlsym);
    return instead && strcmp(name, "nif_init") == 0 ? instead(handle, name, found) : found;
}

const mt_redirection mt_redirect_dlsym = {"dlsym", (void *)dlsym_of_program,
                                          MT_REDIRECT_PROGRAM};
