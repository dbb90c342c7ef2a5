/* log: opening, the notes at the end, and what several outputs begin with. */
#include "log.h"

#include <stdlib.h>
#include <string.h>

#include "ctl/commands.h"
#include "maps.h"

/* The threads that --thread means. False: there is none. */
static bool choose_threads(mt_logged *log) {
    const char *wanted = log->options->thread;
    if (!wanted) return true;
    bool any = false;
    log->counts = mt_out_need(calloc(log->stacks.threads.count, sizeof *log->counts));
    for (uint32_t t = 0; t < log->stacks.threads.count; t++) {
        const mt_logged_thread *thread = &log->stacks.thread[t];
        char *end;
        bool is = strtoull(wanted, &end, 10) == thread->tid && *end == 0 && end != wanted;
        if (thread->name && strcmp(thread->name, wanted) == 0) is = true;
        any |= log->counts[t] = is;
    }
    if (!any) mt_say("%s has no thread %s", log->file.path, wanted);
    return any;
}

int mt_logged_open(mt_logged *log, const char *path, const mt_logged_options *options,
                   mt_out *out) {
    *log = (mt_logged){.options = options, .out = out};
    if (mt_logged_file_open(&log->file, &log->stacks, path) != 0 || !choose_threads(log))
        return -1;
    if (options->show.ignore_path && !(log->ignore = mt_ignore_read(options->show.ignore_path)))
        return -1;
    log->names = mt_out_need(mt_names_open(options->show.folders));
    if (options->show.no_lines) mt_names_no_lines(log->names);
    if (options->maps && mt_logged_maps_read(log->names, options->maps, options->show.folders))
        return -1;
    for (uint32_t i = 0; i < log->stacks.objects; i++) {
        const mt_logged_object *o = &log->stacks.object[i];
        mt_names_object(log->names, o->lo, o->hi, o->base, o->since, o->until, o->path,
                        o->build_id, o->build_id_bytes);
    }
    return 0;
}

void mt_logged_close(mt_logged *log) {
    if (log->names) mt_names_close(log->names);
    mt_logged_file_close(&log->file);
    mt_logged_stacks_close(&log->stacks);
    mt_ignore_free(log->ignore);
    free(log->ignored);
    free(log->counts);
}

/* Why there are names missing in what was written. */
static void tell_of_names(const mt_logged *log) {
    enum { SHOWN = 3 };
    uint32_t n = 0;
    for (const char *why; (why = mt_names_missing(log->names, n)); n++)
        if (n < SHOWN) mt_say("no names from %s", why);
    if (n > SHOWN) mt_say("no names from %u more files", n - SHOWN);
}

static const char *plural(uint64_t n) {
    return n == 1 ? "" : "s";
}

#define N(n) (unsigned long long)(n), plural(n)

int mt_logged_tell(const mt_logged *log) {
    const mt_logged_file *f = &log->file;
    tell_of_names(log);
    if (f->damaged)
        mt_say(
            "%s is damaged in %llu place%s, the first at byte %llu, behind %llu event%s: %llu "
            "byte%s could not be read%s",
            f->path, N(f->damaged), (unsigned long long)f->damaged_at, N(log->before_damage),
            N(f->damaged_bytes),
            f->gave_up ? ", and there was too much of it to look for the rest" : "");
    if (f->lost)
        mt_say("%llu block%s of %s %s missing: what was in them is not counted", N(f->lost),
               f->path, f->lost == 1 ? "is" : "are");
    if (f->strange)
        mt_say("%llu block%s of %s %s what this mtracectl does not understand", N(f->strange),
               f->path, f->strange == 1 ? "holds" : "hold");
    if (f->vanished)
        mt_say("%s was emptied or changed while it was read: %llu block%s went", f->path,
               N(f->vanished));
    if (f->cut)
        mt_say("%s breaks off within a block, after %llu event%s: the program was killed then, "
               "or is writing it",
               f->path, N(log->events));
    else if (!log->stacks.has_end && !f->damaged)
        mt_say("%s has no end, it stops after %llu event%s: the program was killed, or still "
               "runs",
               f->path, N(log->events));
    return mt_logged_file_is_damaged(f) || f->vanished ? MT_EXIT_FAILED : 0;
}

void mt_logged_books(mt_logged *log, mt_logged_account *account) {
    account->counts = log->counts;
    mt_logged_account_run(account, &log->file, &log->stacks);
    log->events = account->events;
    log->before_damage = account->before_damage;
}

mt_logged_left *mt_logged_what_is_left(const mt_logged *log, const mt_logged_account *account,
                                       uint64_t age_ns) {
    mt_logged_left *left = mt_out_need(calloc(log->stacks.count, sizeof *left));
    uint64_t end = mt_logged_file_ns(&log->file, account->end);
    for (uint64_t i = 0; i < account->live.cells; i++) {
        const mt_logged_chunk *chunk = &account->live.cell[i];
        if (!chunk->address || (log->counts && !log->counts[chunk->thread])) continue;
        uint64_t born = age_ns ? mt_logged_file_ns(&log->file, chunk->time) : end;
        if (age_ns && (born > end || end - born < age_ns)) continue;
        mt_logged_left *l = &left[chunk->stack];
        if (l->count == 0 || chunk->time < l->oldest) l->oldest = chunk->time;
        if (l->count == 0 || chunk->time > l->youngest) l->youngest = chunk->time;
        l->count++;
        l->bytes += chunk->size;
    }
    return left;
}
