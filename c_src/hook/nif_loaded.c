/* nif_loaded: see the header. */
#include "nif_loaded.h"

#include <dlfcn.h>
#include <link.h>
#include <string.h>
#include <sys/mman.h>

#include "aliases.h"
#include "linked.h"
#include "nif_calls.h"
#include "record/peek.h"

enum { LIBRARIES = 256, PATH = 512, FUNCTIONS = 4096, WITHIN = 128, WORD = sizeof(uintptr_t) };

/* A library, held while the run lasts so that it stays where it is. */
typedef struct library {
    char path[PATH];
    uintptr_t base;
    void *handle;
} library;

/* A function as its library has it; the next one of the same name, of another library, or 0. */
typedef struct wanted {
    void *function, *thunk;
    uint16_t next;
    bool found, wrapped;
} wanted;

typedef struct run {
    uint32_t libraries, functions;
    bool program_passed;
    mt_peek peek;
    mt_aliases aliases;
    mt_nif_loaded result;
    library library[LIBRARIES];
    uint16_t first[MT_CALLERS]; /* by row, number + 1 */
    wanted wanted[FUNCTIONS];
} run;

/* Words that hold a thunk now, to be undone. */
static struct {
    uintptr_t at;
    void *function, *thunk;
} done[FUNCTIONS];
static uint32_t dones;

static run *now;
static mt_nif_loaded last;
static bool blind; /* the last run could not begin */

static int note_library(struct dl_phdr_info *info, size_t size, void *context) {
    run *r = context;
    (void)size;
    mt_linked o = mt_linked_of(info, !r->program_passed);
    r->program_passed = true;
    if (o.program || r->libraries == LIBRARIES || mt_linked_is_left_alone(&o) ||
        !mt_slots_defines(&o.slots, "nif_init") || strlen(o.path) >= PATH)
        return 0;
    library *l = &r->library[r->libraries++];
    strcpy(l->path, o.path);
    l->base = info->dlpi_addr;
    return 0;
}

/* The library's own nif_init, not that of one it depends on. */
static ErlNifEntry *entry_of(library *l) {
    Dl_info info;
    l->handle = dlopen(l->path, RTLD_NOW | RTLD_NOLOAD);
    void *init = l->handle ? dlsym(l->handle, "nif_init") : NULL;
    if (!init || !dladdr(init, &info) || (uintptr_t)info.dli_fbase != l->base) return NULL;
    return ((ErlNifEntry * (*)(void)) init)();
}

static void want(run *r, const char *module, const ErlNifFunc *f) {
    if (!f->name || !f->fptr || r->functions == FUNCTIONS) return;
    void *thunk = mt_nif_calls_thunk((void *)f->fptr, module, f->name, f->arity);
    uint32_t row = mt_callers_row(MT_CALLER_NIF, module, f->name, f->arity);
    r->result.functions++;
    if (!thunk || !row) return;
    r->wanted[r->functions] = (wanted){(void *)f->fptr, thunk, r->first[row], false, false};
    r->first[row] = (uint16_t)++r->functions;
}

/* Of code that is gone nothing needs to be undone. */
static void drop_gone(const mt_peek *peek) {
    uint32_t n = 0;
    void *word;
    for (uint32_t i = 0; i < dones; i++)
        if (mt_peek_copy(peek, done[i].at, &word, WORD) && word == done[i].thunk)
            done[n++] = done[i];
    dones = n;
}

int mt_nif_loaded_begin(void) {
    run *r = mmap(NULL, sizeof *r, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    blind = true;
    if (r == MAP_FAILED) return -1;
    mt_peek_open(&r->peek);
    if (!mt_aliases_read(&r->aliases)) {
        mt_peek_close(&r->peek);
        munmap(r, sizeof *r);
        return -1;
    }
    drop_gone(&r->peek);
    dl_iterate_phdr(note_library, r);
    for (uint32_t i = 0; i < r->libraries; i++) {
        const ErlNifEntry *entry = entry_of(&r->library[i]);
        if (!entry || !mt_nif_calls_knows(entry)) continue;
        for (int k = 0; k < entry->num_of_funcs; k++) want(r, entry->name, &entry->funcs[k]);
    }
    now = r;
    blind = false;
    return 0;
}

/* The address of the only word of the code that is the function or its thunk; 0: none, or two.
 */
static uintptr_t find_word(const run *r, const mt_nif_code *code, const wanted *w,
                           uintptr_t *value) {
    uintptr_t words[WITHIN / WORD], lo = (code->lo + WORD - 1) & ~(uintptr_t)(WORD - 1),
                                    found = 0;
    uint32_t n = code->hi > lo
                     ? (uint32_t)((code->hi - lo < WITHIN ? code->hi - lo : WITHIN) / WORD)
                     : 0;
    if (!n || !mt_peek_copy(&r->peek, lo, words, n * WORD)) return 0;
    for (uint32_t i = 0; i < n; i++) {
        if (words[i] != (uintptr_t)w->function && words[i] != (uintptr_t)w->thunk) continue;
        if (found) return 0;
        found = lo + i * WORD;
        *value = words[i];
    }
    return found;
}

static bool exchange(const mt_aliases *aliases, uintptr_t at, void *from, void *to) {
    uintptr_t alias = mt_aliases_find(aliases, at);
    return alias && __atomic_compare_exchange_n((void **)alias, &from, to, false,
                                                __ATOMIC_RELEASE, __ATOMIC_RELAXED);
}

/* True if the code holds this function, of this library, and calls go through the thunk now. */
static bool wrap(run *r, const mt_nif_code *code, const wanted *w) {
    uintptr_t value = 0, at = find_word(r, code, w, &value);
    if (!at) return false;
    if (value == (uintptr_t)w->thunk) return true;
    if (dones == FUNCTIONS || !exchange(&r->aliases, at, w->function, w->thunk)) return false;
    done[dones].at = at;
    done[dones].function = w->function;
    done[dones++].thunk = w->thunk;
    return true;
}

/* Code of an older instance of the module may hold another library's function. */
void mt_nif_loaded_see(const mt_nif_code *code) {
    uint32_t row = mt_callers_find(MT_CALLER_NIF, code->module, code->function, code->arity);
    for (uint32_t i = row ? now->first[row] : 0; i; i = now->wanted[i - 1].next) {
        wanted *w = &now->wanted[i - 1];
        w->found = true;
        if (wrap(now, code, w)) w->wrapped = true;
    }
}

void mt_nif_loaded_end(mt_nif_loaded *result) {
    run *r = now;
    now = NULL;
    for (uint32_t i = 0; i < r->functions; i++)
        if (r->wanted[i].wrapped) r->result.wrapped++;
        else if (r->wanted[i].found) r->result.left++;
    *result = last = r->result;
    for (uint32_t i = 0; i < r->libraries; i++)
        if (r->library[i].handle) dlclose(r->library[i].handle);
    mt_peek_close(&r->peek);
    munmap(r, sizeof *r);
}

const char *mt_nif_loaded_lacks(void) {
    if (blind)
        return "NIFs that were loaded before Mtrace came are not known as callers: there was no "
               "memory, or /proc/self/maps cannot be read";
    if (last.left)
        return "some NIFs that were loaded before Mtrace came are not known as callers: their code "
               "does not look as expected, or cannot be written";
    if (last.functions && !last.wrapped)
        return "NIFs that were loaded before Mtrace came are not known as callers: this VM does "
               "not tell where their code is";
    return NULL;
}

/* Code that is gone has another word there, or none. */
void mt_nif_loaded_undo(void) {
    mt_aliases aliases;
    mt_peek peek;
    void *word;
    bool read = mt_aliases_read(&aliases);
    mt_peek_open(&peek);
    for (uint32_t i = 0; read && i < dones; i++)
        if (mt_peek_copy(&peek, done[i].at, &word, WORD) && word == done[i].thunk)
            exchange(&aliases, done[i].at, done[i].thunk, done[i].function);
    mt_peek_close(&peek);
    dones = 0;
}
