/* wanted: see the header. Entries are never taken out: a call may still be on its way. */
#include "wanted.h"

#include <dlfcn.h>
#include <string.h>

enum { ENTRIES = 256, REFUSALS = 16 };

static mt_wanted entry[ENTRIES];
static _Atomic uint32_t entries;
static uint64_t initials; /* a bit for the first two letters of each symbol */
static mt_refusal refusal[REFUSALS];
static uint32_t refused;

static uint64_t initial(const char *name) {
    if (name[0] == '\0') return 0;
    return 1ull << (((unsigned char)name[0] * 31u + (unsigned char)name[1]) & 63);
}

/* Not the program's error: looked up once more with success. */
static void *find(void *where, const char *name) {
    void *f = dlsym(where, name);
    if (!f) dlerror();
    return f;
}

static bool same(const mt_redirection *a, const mt_redirection *b) {
    return a->to == b->to && a->where == b->where && strcmp(a->symbol, b->symbol) == 0;
}

static mt_wanted *same_as(const mt_redirection *what) {
    for (uint32_t i = 0; i < entries; i++)
        if (same(&entry[i].what, what)) return &entry[i];
    return NULL;
}

/* Release by the count: whoever finds the entry finds it whole. */
bool mt_wanted_add(const mt_redirection *what) {
    mt_wanted *e = same_as(what);
    if (!e) {
        if (entries == ENTRIES) return false;
        e = &entry[entries];
        e->what = *what;
        e->next = find(RTLD_NEXT, what->symbol);
        atomic_store(&e->behind, find(RTLD_DEFAULT, what->symbol));
        initials |= initial(what->symbol);
        atomic_fetch_add(&entries, 1);
    }
    e->users++;
    return true;
}

void mt_wanted_remove(const mt_redirection *what) {
    mt_wanted *e = same_as(what);
    if (e && e->users) e->users--;
}

static bool covers(const mt_wanted *e, const mt_linked *object) {
    return e->what.where == MT_REDIRECT_ALL ||
           (e->what.where == MT_REDIRECT_PROGRAM) == object->program;
}

mt_wanted *mt_wanted_for(const char *name, const mt_linked *object) {
    mt_wanted *past = NULL;
    if (!(initials & initial(name))) return NULL;
    for (uint32_t i = 0; i < entries; i++) {
        mt_wanted *e = &entry[i];
        if (!covers(e, object) || strcmp(e->what.symbol, name) != 0) continue;
        if (e->users) return e;
        past = e;
    }
    return past;
}

mt_wanted *mt_wanted_at(uint32_t i) {
    return i < atomic_load(&entries) ? &entry[i] : NULL;
}

mt_wanted *mt_wanted_named(const char *name) {
    mt_wanted *e;
    for (uint32_t i = 0; (e = mt_wanted_at(i)); i++)
        if (strcmp(e->what.symbol, name) == 0) return e;
    return NULL;
}

void *mt_wanted_behind(const char *name) {
    mt_wanted *e = mt_wanted_named(name);
    return e ? atomic_load(&e->behind) : NULL;
}

static bool is_listed(const char *path) {
    size_t n = sizeof refusal->object - 1;
    for (uint32_t i = 0; i < refused && i < REFUSALS; i++)
        if (strncmp(refusal[i].object, path, n) == 0) return true;
    return false;
}

void mt_wanted_refuse(const mt_linked *object, const char *symbol, mt_refused why) {
    if (is_listed(object->path) || refused++ >= REFUSALS) return;
    mt_refusal *r = &refusal[refused - 1];
    *r = (mt_refusal){.why = why};
    strncpy(r->symbol, symbol, sizeof r->symbol - 1);
    strncpy(r->object, object->path, sizeof r->object - 1);
}

void mt_wanted_refuse_none(void) {
    refused = 0;
}

uint32_t mt_wanted_refusals(mt_refusal *out, uint32_t max) {
    uint32_t n = refused < REFUSALS ? refused : REFUSALS;
    memcpy(out, refusal, (n < max ? n : max) * sizeof *out);
    return refused;
}
