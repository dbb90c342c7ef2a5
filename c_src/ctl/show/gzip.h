/* gzip: a file as RFC 1952 has it, of stored blocks (RFC 1951): what reads gzip reads it.
 *
 * Nothing is made smaller: profiles are small, and so nothing is needed but these lines, where
 * zlib would have to be installed wherever mtracectl runs. */
#ifndef MT_CTL_GZIP_H
#define MT_CTL_GZIP_H

#include "ctl/bytes.h"

void mt_gzip_store(const mt_bytes *plain, mt_bytes *out);

#endif
