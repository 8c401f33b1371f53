/* Reads a flattened device tree; see fdt.h. */
#include "fdt.h"
#include "../../text.h"

#define MAGIC 0xd00dfeed
#define BEGIN_NODE 1
#define END_NODE 2
#define PROPERTY 3
#define NOP 4

/* Offsets of the header's fields. */
#define TOTAL_SIZE 4
#define STRUCTURE 8
#define STRINGS 12

static uint32_t read32(const unsigned char *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

uint32_t fdt_size(const void *tree)
{
	const unsigned char *start = tree;

	return start && read32(start) == MAGIC ? read32(start + TOTAL_SIZE) : 0;
}

static uint32_t aligned(uint32_t size)
{
	return (size + 3) & ~3u;
}

struct fdt_property fdt_find(const void *tree, const char *node, const char *name)
{
	const unsigned char *start = tree;
	uint32_t size = fdt_size(tree);
	uint32_t at, strings, depth = 0;
	int here = 0;

	if (!size)
		return (struct fdt_property){ 0 };
	at = read32(start + STRUCTURE);
	strings = read32(start + STRINGS);
	while (at + 4 <= size) {
		uint32_t token = read32(start + at);

		at += 4;
		if (token == BEGIN_NODE) {
			const char *found = (const char *)start + at;

			here = ++depth == 2 && text_after(found, node);
			at += aligned((uint32_t)strlen(found) + 1);
		} else if (token == END_NODE) {
			depth--;
			here = 0;
		} else if (token == PROPERTY && at + 8 <= size) {
			uint32_t length = read32(start + at);
			uint32_t label = strings + read32(start + at + 4);

			at += 8;
			if (length > size - at || label >= size)
				break;
			if (here && text_equal((const char *)start + label, name))
				return (struct fdt_property){ start + at, length };
			at += aligned(length);
		} else if (token != NOP) {
			break;
		}
	}
	return (struct fdt_property){ 0 };
}

uint64_t fdt_cells(struct fdt_property property, uint32_t skip, uint32_t cells)
{
	uint64_t value = 0;

	if (4 * (skip + cells) > property.size)
		return 0;
	for (uint32_t i = 0; i < cells; i++)
		value = value << 32 | read32(property.data + 4 * (skip + i));
	return value;
}
