/* named_file: see the header. Symbols say which function, debug information which line and
 * what was inlined there. */
#include "named_file.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "name/demangle.h"
#include "name/scopes.h"
#include "named_kept.h"

enum { NAME_ROOM = 4096, PATH_ROOM = 4096, LINES = MT_INLINES + 1 };

/* Is the file at `path` the one that was mapped? */
static bool is_it(const mt_named_file *file, const char *path) {
    mt_elf f;
    if (mt_elf_open(&f, path) != 0) return false;
    bool same = file->identity.build_id_bytes ? mt_elf_is(&f, &file->identity)
                                              : f.identity.build_id_bytes == 0;
    mt_elf_close(&f);
    return same;
}

static const char *last_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static bool in_folder(mt_named_file *file, const mt_named_where *where, const char *folder,
                      int n, const char *name) {
    char path[PATH_ROOM];
    int wrote = snprintf(path, sizeof path, "%.*s/%s", n, folder, name);
    if (wrote >= (int)sizeof path || !is_it(file, path)) return false;
    file->found = mt_arena_string(where->arena, path);
    return file->found != NULL;
}

/* Folders are copies of roots, or all libraries lie in them side by side. */
static bool in_folders(mt_named_file *file, const mt_named_where *where) {
    for (const char *at = where->folders; at && *at;) {
        int n = (int)strcspn(at, ":");
        if (n > 0 && (in_folder(file, where, at, n, file->path + 1) ||
                      in_folder(file, where, at, n, last_name(file->path))))
            return true;
        at += n + (at[n] == ':');
    }
    return false;
}

static const char *reason(const mt_named_file *file) {
    if (access(file->path, F_OK) != 0) return "the file is not there any more";
    if (access(file->path, R_OK) != 0) return "the file may not be read";
    if (!file->identity.build_id_bytes)
        return "what was mapped showed no build id, and the file that is there has one";
    return "the file is not the one that was mapped, it was replaced since";
}

static void lacks(mt_named_file *file, const mt_named_where *where, const char *what) {
    char why[PATH_ROOM];
    snprintf(why, sizeof why, "%.*s: %s", PATH_ROOM - 200, file->path, what);
    file->missing = mt_arena_string(where->arena, why);
}

static void look_for(mt_named_file *file, const mt_named_where *where) {
    if (in_folders(file, where)) return;
    if (is_it(file, file->path)) {
        file->found = file->path;
        return;
    }
    lacks(file, where, reason(file));
}

/* Without a build id nothing but the file itself will do, and that has been checked. */
static const mt_elf_identity *expected(const mt_named_file *file) {
    return file->identity.build_id_bytes ? &file->identity : NULL;
}

static bool can_be_read(mt_named_file *file, const mt_named_where *where) {
    if (file->path[0] != '/') return false;
    if (!file->asked) {
        file->asked = true;
        if (mt_named_kept_take(where->kept, file, where->arena)) return true;
        look_for(file, where);
        if (file->found && stat(file->found, &file->status) != 0)
            file->status = (struct stat){0};
        if ((file->found || expected(file)) &&
            mt_symbols_read_all(&file->symbols, file->found ? file->found : file->path,
                                expected(file), where->search_path) == 0)
            file->missing = NULL; /* its debug file is there */
    }
    return file->found || expected(file);
}

static uint32_t lines_of(mt_named_file *file, const mt_named_where *where, uint64_t address,
                         mt_line *line) {
    if (!where->lines) return 0;
    if (!file->asked_debug) {
        file->asked_debug = true;
        file->debug = mt_debug_open(file->found ? file->found : file->path, expected(file),
                                    where->search_path);
    }
    return file->debug ? mt_debug_lines(file->debug, address, line, LINES, where->arena) : 0;
}

/* As its programmer wrote it, without the version that the linker put behind an '@'. What is
 * plain already stays where it was read, until the file is closed. */
static const char *plain(const char *symbol, const mt_named_where *where) {
    char bare[NAME_ROOM], out[NAME_ROOM];
    size_t n = symbol ? strcspn(symbol, "@") : 0;
    if (!symbol || n == 0 || n >= sizeof bare) return symbol;
    memcpy(bare, symbol, n);
    bare[n] = 0;
    if (mt_demangle(bare, out, sizeof out)) symbol = mt_arena_string(where->arena, out);
    else if (symbol[n]) symbol = mt_arena_string(where->arena, bare);
    return symbol;
}

void mt_named_file_find(mt_named_file *file, const mt_named_where *where, uint64_t address,
                        mt_names_place *place) {
    if (!can_be_read(file, where)) return;
    const mt_symbol *symbol = mt_symbols_at(&file->symbols, address);
    mt_line line[LINES];
    uint32_t n = lines_of(file, where, address, line);
    if (!symbol && n == 0 && !file->symbols.strings[0] && !file->missing)
        lacks(file, where,
              "it is stripped; its debug symbols, from a package or a folder of "
              "MTRACE_DEBUG_PATH, would name it");
    mt_names_frame *frame = mt_arena_take(where->arena, (n ? n : 1) * sizeof *frame);
    if (!frame) return;
    for (uint32_t i = 0; i < n; i++)
        frame[i] = (mt_names_frame){.function = plain(line[i].function, where),
                                    .file = line[i].file,
                                    .line = line[i].line,
                                    .inlined = line[i].inlined};
    mt_names_frame *last = &frame[n ? n - 1 : 0];
    if (symbol && !last->inlined) {
        last->function = plain(symbol->name, where);
        last->offset = address + 1 - symbol->address;
    }
    place->frame = frame;
    place->frames = n ? n : 1;
}

void mt_named_file_close(mt_named_file *file) {
    mt_symbols_free(&file->symbols);
    mt_debug_close(file->debug);
}
