/* symbols: the functions that an ELF file names, in .symtab and .dynsym (System V gABI,
 * chapter 4): static functions too, unless the file was stripped; then those of its separate
 * debug file or of the small one inside it (debug_file.h).
 *
 * A file is believed only if it is the one that is mapped: same build id or, where the object
 * has none, the same program headers. Whatever is wrong with a file, its symbols are then just
 * unknown.
 */
#ifndef MT_NAME_SYMBOLS_H
#define MT_NAME_SYMBOLS_H

#include <stddef.h>
#include <stdint.h>

#include "elf_file.h"

typedef struct mt_symbol {
    uint64_t address, size; /* as in the file; address first: mt_memory_search */
    const char *name;
    uint32_t rank; /* of several names for one place the lowest is shown */
} mt_symbol;

typedef struct mt_symbols {
    mt_symbol *symbol; /* sorted by address, then rank */
    size_t n, room;
    char *strings[2]; /* copies of the string tables */
    size_t string_bytes[2];
} mt_symbols;

/* Reads the symbols of the file at `path`. 0, or -1, and no symbols, if it is not there, not a
 * regular file, damaged, for another machine, or not `expected` (NULL: any). */
int mt_symbols_read(mt_symbols *symbols, const char *path, const mt_elf_identity *expected);

/* The same, and where the file has no .symtab, that of its debug file: looked for under
 * /usr/lib/debug and the folders of `search_path` (between colons, or NULL). If the file itself
 * is gone or another, its build id may still lead to its debug file. */
int mt_symbols_read_all(mt_symbols *symbols, const char *path, const mt_elf_identity *expected,
                        const char *search_path);

/* The name of the function that holds the address, or NULL. The nearest symbol below does not
 * do: in a stripped file that would be some other function. */
const char *mt_symbols_find(const mt_symbols *symbols, uint64_t address);

/* The same, but the whole symbol: where the function begins. */
const mt_symbol *mt_symbols_at(const mt_symbols *symbols, uint64_t address);

void mt_symbols_free(mt_symbols *symbols);

#endif
