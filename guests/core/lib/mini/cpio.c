/* Reads a newc archive where it lies in memory; see cpio.h. */
#include "cpio.h"
#include "text.h"

/* Magic, then thirteen fields of eight hexadecimal digits. */
#define HEADER 110
#define FIELD(n) (6 + 8 * (n))
#define MODE 1
#define SIZE 6
#define NAME_SIZE 11

struct cpio cpio_open(const char *start, const char *end)
{
	return (struct cpio){ .next = start, .end = end };
}

static int read_hex(const char *field, uint32_t *number)
{
	*number = 0;
	for (int i = 0; i < 8; i++) {
		char digit = field[i];
		uint32_t value;

		if (digit >= '0' && digit <= '9')
			value = (uint32_t)(digit - '0');
		else if (digit >= 'a' && digit <= 'f')
			value = (uint32_t)(digit - 'a') + 10;
		else if (digit >= 'A' && digit <= 'F')
			value = (uint32_t)(digit - 'A') + 10;
		else
			return 0;
		*number = *number << 4 | value;
	}
	return 1;
}

static int fault(struct cpio *archive, const char *what)
{
	archive->fault = what;
	return 0;
}

static uint64_t padded(uint64_t size)
{
	return (size + 3) & ~(uint64_t)3;
}

int cpio_next(struct cpio *archive, struct cpio_entry *entry)
{
	const char *header = archive->next;
	uint64_t left = (uint64_t)(archive->end - header);
	uint32_t name_size;
	uint64_t data_at;

	if (left < HEADER)
		return fault(archive, "the archive ends within a header");
	if (memcmp(header, "070701", 6) && memcmp(header, "070702", 6))
		return fault(archive, "there is no header where one is due");
	if (!read_hex(header + FIELD(MODE), &entry->mode) ||
	    !read_hex(header + FIELD(SIZE), &entry->size) ||
	    !read_hex(header + FIELD(NAME_SIZE), &name_size))
		return fault(archive, "a header holds something that is no number");
	data_at = padded(HEADER + (uint64_t)name_size);
	if (!name_size || data_at > left || header[HEADER + name_size - 1])
		return fault(archive, "a name does not end");
	if (data_at + entry->size > left)
		return fault(archive, "the archive ends within a file");
	entry->name = header + HEADER;
	entry->data = header + data_at;
	if (text_equal(entry->name, "TRAILER!!!"))
		return 0;
	if (entry->name[0] == '.' && entry->name[1] == '/')
		entry->name++;
	while (*entry->name == '/')
		entry->name++;
	data_at += padded(entry->size);
	archive->next = data_at > left ? archive->end : header + data_at;
	return 1;
}
