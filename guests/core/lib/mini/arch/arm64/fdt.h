/* Reads a flattened device tree (Devicetree Specification 0.4, chapter 5). */
#ifndef MINI_FDT_H
#define MINI_FDT_H

#include <stdint.h>

/* One property of a node, as it stands in the tree: big-endian cells or text. */
struct fdt_property {
	const unsigned char *data;
	uint32_t size;
};

/*
 * Finds a property in the first node right below the root whose name begins
 * with `node`. Returns a property of size 0 if there is none, or no tree.
 */
struct fdt_property fdt_find(const void *tree, const char *node, const char *name);
/* Reads `cells` cells from the front of a property; 0 if it is shorter. */
uint64_t fdt_cells(struct fdt_property property, uint32_t skip, uint32_t cells);
/* The tree's own size in bytes, 0 if this is no tree. */
uint32_t fdt_size(const void *tree);

#endif
