/* mfa: takes a function's name apart, as the VM prints it: 'Elixir.Enum':'map_every?'/3. */
#ifndef MT_NAME_MFA_H
#define MT_NAME_MFA_H

#include <stdbool.h>

/* An atom has at most 255 characters, of at most 4 bytes in UTF-8. */
enum { MT_ATOM_BYTES = 4 * 255 };

/* The atoms' plain text, without quotes and escapes. */
typedef struct mt_mfa {
    char module[MT_ATOM_BYTES + 1], function[MT_ATOM_BYTES + 1];
    unsigned arity;
} mt_mfa;

/* False if the text is no function's name (global::call_nif_shared, lists::codeHeader) or an
 * atom of it is too long; `mfa` is then undefined. An atom in quotes ends at the closing quote,
 * and may hold any ':' or '/'; without quotes (a VM that does not quote) the module ends at the
 * first ':' and the function at the last '/'. Any thread; keeps nothing. */
bool mt_mfa_split(const char *name, mt_mfa *mfa);

#endif
