/* Reads a newc archive where it lies in memory (Linux, Documentation/driver-api/early-userspace). */
#ifndef MINI_CPIO_H
#define MINI_CPIO_H

#include <stddef.h>
#include <stdint.h>

struct cpio_entry {
	/* Without a leading `./` or `/`. */
	const char *name;
	uint32_t mode;
	const char *data;
	uint32_t size;
};

struct cpio {
	const char *next, *end;
	/* What made the reading stop early, or NULL. */
	const char *fault;
};

struct cpio cpio_open(const char *start, const char *end);
/* Reads the next entry; returns 0 at the trailer or a fault. */
int cpio_next(struct cpio *archive, struct cpio_entry *entry);

#endif
