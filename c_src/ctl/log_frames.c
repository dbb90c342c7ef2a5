/* log_frames: stacks as text. */
#include "log_frames.h"

#include <string.h>

static const char *last_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static uint32_t frames_of(const mt_logged *log, uint32_t stack, uint32_t depth) {
    uint32_t frames = log->stacks.stack[stack].frames;
    return depth && depth < frames ? depth : frames;
}

static void frame_text(mt_out *out, uint64_t address, const mt_names_place *place,
                       const mt_names_frame *f) {
    mt_out_print(out, "[0x%llx] ", (unsigned long long)address);
    mt_out_plain(out, f->function ? f->function : "?");
    if (f->function && !f->inlined)
        mt_out_print(out, " +0x%llx", (unsigned long long)f->offset);
    if (place->object) {
        mt_out_str(out, " ");
        mt_out_plain(out, last_name(place->object));
        if (!f->function) mt_out_print(out, "+0x%llx", (unsigned long long)place->in_file);
    }
    if (f->file) {
        mt_out_str(out, " ");
        mt_out_plain(out, f->file);
        mt_out_print(out, ":%u", f->line);
    }
    mt_out_str(out, f->inlined ? " (inlined)\n" : "\n");
}

void mt_logged_frames_text(mt_logged *log, uint32_t stack, uint64_t at, uint32_t depth) {
    const uint64_t *address = mt_logged_stacks_addresses(&log->stacks, stack);
    uint32_t frames = frames_of(log, stack, depth);
    if (frames == 0) mt_out_str(log->out, "  (no stack)\n");
    for (uint32_t i = 0; i < frames; i++) {
        const mt_names_place *place = mt_names_find(log->names, address[i], at);
        for (uint32_t f = 0; f < place->frames; f++) {
            mt_out_print(log->out, "  #%u ", i);
            frame_text(log->out, address[i], place, &place->frame[f]);
        }
    }
}

static void string(mt_out *to, const char *key, const char *value) {
    mt_out_str(to, key);
    mt_out_json(to, value ? value : "");
    mt_out_str(to, "\"");
}

static void frame_full(mt_out *to, uint64_t address, const mt_names_place *place,
                       const mt_names_frame *f) {
    mt_out_str(to, "{\"address\":\"");
    mt_out_hex(to, address);
    mt_out_str(to, "\"");
    if (f->function) string(to, ",\"function\":\"", f->function);
    if (f->function && !f->inlined) {
        mt_out_str(to, ",\"offset\":");
        mt_out_number(to, f->offset);
    }
    if (place->object) {
        string(to, ",\"object\":\"", place->object);
        mt_out_str(to, ",\"in_file\":\"");
        mt_out_hex(to, place->in_file);
        mt_out_str(to, "\"");
    }
    if (f->file) {
        string(to, ",\"file\":\"", f->file);
        mt_out_str(to, ",\"line\":");
        mt_out_number(to, f->line);
    }
    mt_out_str(to, f->inlined ? ",\"inlined\":true}" : "}");
}

/* A function without a name is its object and place there, or its address. */
static void frame_short(mt_out *to, uint64_t address, const mt_names_place *place,
                        const mt_names_frame *f) {
    mt_out_str(to, "{\"f\":\"");
    if (f->function) mt_out_json(to, f->function);
    else if (place->object) {
        mt_out_json(to, last_name(place->object));
        mt_out_str(to, "+");
        mt_out_hex(to, place->in_file);
    } else mt_out_hex(to, address);
    string(to, "\",\"s\":\"", f->file);
    mt_out_str(to, ",\"l\":");
    mt_out_number(to, f->line);
    mt_out_str(to, "}");
}

void mt_logged_frames_json(const mt_logged *log, mt_out *to, uint32_t stack, uint64_t at,
                           uint32_t depth, bool full) {
    const uint64_t *address = mt_logged_stacks_addresses(&log->stacks, stack);
    uint32_t frames = frames_of(log, stack, depth);
    mt_out_str(to, "[");
    for (uint32_t i = 0; i < frames; i++) {
        const mt_names_place *place = mt_names_find(log->names, address[i], at);
        for (uint32_t f = 0; f < place->frames; f++) {
            if (i || f) mt_out_str(to, ",");
            (full ? frame_full : frame_short)(to, address[i], place, &place->frame[f]);
        }
    }
    mt_out_str(to, "]");
}

static void caller(mt_out *to, uint64_t address, const mt_names_place *place, bool comparable) {
    const char *object = place->object ? place->object : "(unknown)";
    const mt_names_frame *f = &place->frame[place->frames - 1];
    mt_out_plain(to, comparable ? last_name(object) : object);
    mt_out_str(to, "::");
    if (f->function) mt_out_plain(to, f->function);
    else if (place->object) mt_out_print(to, "+0x%llx", (unsigned long long)place->in_file);
    else if (comparable) mt_out_str(to, "(unknown)");
    else mt_out_hex(to, address);
}

void mt_logged_frames_callers(const mt_logged *log, mt_out *to, uint32_t stack, uint64_t at,
                              uint32_t depth, bool comparable) {
    const uint64_t *address = mt_logged_stacks_addresses(&log->stacks, stack);
    uint32_t frames = frames_of(log, stack, depth ? depth + 1 : 0);
    if (frames < 2) mt_out_str(to, "(unknown)::(unknown)");
    for (uint32_t i = 1; i < frames; i++) {
        if (i > 1) mt_out_str(to, " < ");
        caller(to, address[i], mt_names_find(log->names, address[i], at), comparable);
    }
}

const char *mt_logged_frames_called(const mt_logged *log, uint32_t stack, uint64_t at,
                                    mt_log_op op) {
    static const char *const family[] = {
        "malloc",        "calloc",   "realloc", "reallocarray", "posix_memalign",
        "aligned_alloc", "memalign", "valloc",  "pvalloc",      "strdup",
        "strndup",       "free",     "cfree",   "free_sized",   "free_aligned_sized"};
    const char *function = NULL;
    if (log->stacks.stack[stack].frames)
        function =
            mt_names_find(log->names, *mt_logged_stacks_addresses(&log->stacks, stack), at)
                ->frame->function;
    for (size_t i = 0; function && i < sizeof family / sizeof *family; i++)
        if (strcmp(family[i], function) == 0) return family[i];
    if (op == MT_LOG_FREE) return "free";
    return op == MT_LOG_ALLOC ? "malloc" : "realloc";
}
