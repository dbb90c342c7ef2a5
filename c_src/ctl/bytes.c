/* bytes: see the header. */
#include "bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"

enum { PATH_ROOM = 4096, TEXT_MOST = 4095 };

void mt_bytes_add(mt_bytes *bytes, const void *data, size_t n) {
    if (n > bytes->room - bytes->n) {
        size_t room = 2 * bytes->room + n + 4096;
        uint8_t *more = bytes->failed ? NULL : realloc(bytes->data, room);
        if (!more) {
            bytes->failed = true;
            return;
        }
        bytes->data = more;
        bytes->room = room;
    }
    if (n) memcpy(bytes->data + bytes->n, data, n);
    bytes->n += n;
}

void mt_bytes_fill(mt_bytes *bytes) {
    static const uint8_t zeroes[8];
    mt_bytes_add(bytes, zeroes, -bytes->n % 8);
}

void mt_bytes_free(mt_bytes *bytes) {
    free(bytes->data);
    *bytes = (mt_bytes){0};
}

static int write_all(int fd, const mt_bytes *bytes) {
    for (size_t done = 0; done < bytes->n;) {
        ssize_t n = write(fd, bytes->data + done, bytes->n - done);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return -1;
        done += (size_t)n;
    }
    return 0;
}

/* What is there, and is no plain file, is not replaced but written to. */
static int write_into(const mt_bytes *bytes, const char *path) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0) return -1;
    int failed = write_all(fd, bytes);
    return close(fd) != 0 || failed ? -1 : 0;
}

static int replace(const mt_bytes *bytes, const char *path) {
    char fresh[PATH_ROOM];
    if (snprintf(fresh, sizeof fresh, "%s.XXXXXX", path) >= (int)sizeof fresh) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = mkostemp(fresh, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) return -1;
    int failed = write_all(fd, bytes), why = errno;
    if (close(fd) != 0 && !failed) failed = -1, why = errno;
    if (!failed && rename(fresh, path) != 0) failed = -1, why = errno;
    if (failed) unlink(fresh);
    errno = why;
    return failed;
}

int mt_bytes_write(const mt_bytes *bytes, const char *path) {
    struct stat st;
    if (bytes->failed) {
        mt_say("%s cannot be written: there is not enough memory", path);
        return -1;
    }
    bool plain = lstat(path, &st) != 0 || S_ISREG(st.st_mode);
    if ((plain ? replace(bytes, path) : write_into(bytes, path)) == 0) return 0;
    mt_say("%s cannot be written: %s", path, strerror(errno));
    return -1;
}

static uint32_t *slot_of(const mt_texts *texts, const char *text, size_t n) {
    uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */
    for (size_t i = 0; i < n; i++) h = (h ^ (uint8_t)text[i]) * 0x100000001b3ull;
    for (uint32_t i = (uint32_t)(h ^ h >> 32);; i++) {
        uint32_t *slot = &texts->slot[i & (texts->slots - 1)];
        const char *known =
            (const char *)texts->bytes.data + (*slot ? texts->offset[*slot - 1] : 0);
        if (!*slot || (strncmp(known, text, n) == 0 && known[n] == 0)) return slot;
    }
}

static bool grow(mt_texts *texts) {
    if (texts->n < texts->slots / 2) return true;
    mt_texts more = *texts;
    more.slots = texts->slots ? 2 * texts->slots : 1024;
    more.slot = more.slots ? calloc(more.slots, sizeof *more.slot) : NULL;
    more.offset =
        more.slot ? realloc(texts->offset, more.slots / 2 * sizeof *more.offset) : NULL;
    if (!more.offset) {
        free(more.slot);
        texts->bytes.failed = true;
        return false;
    }
    for (uint32_t i = 0; i < more.n; i++) {
        const char *text = (const char *)more.bytes.data + more.offset[i];
        *slot_of(&more, text, strlen(text)) = i + 1;
    }
    free(texts->slot);
    *texts = more;
    return true;
}

static uint32_t number(mt_texts *texts, const char *text, size_t n) {
    if (!grow(texts)) return 0;
    uint32_t *slot = slot_of(texts, text, n);
    if (*slot) return *slot - 1;
    size_t at = texts->bytes.n;
    mt_bytes_add(&texts->bytes, text, n);
    mt_bytes_add(&texts->bytes, "", 1);
    if (texts->bytes.failed) return 0;
    texts->offset[texts->n] = at;
    *slot = texts->n + 1;
    return texts->n++;
}

uint32_t mt_texts_number(mt_texts *texts, const char *text) {
    if (texts->n == 0) number(texts, "", 0);
    return text ? number(texts, text, strnlen(text, TEXT_MOST)) : 0;
}

void mt_texts_free(mt_texts *texts) {
    mt_bytes_free(&texts->bytes);
    free(texts->offset);
    free(texts->slot);
    *texts = (mt_texts){0};
}
