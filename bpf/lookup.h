/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Reads the image in force: which service a port has, and the class of an
 * address. The structures stand in gate.h. Nothing here branches on a key but
 * where the data say so: comparing is subtracting, and the sign counts.
 */
#pragma once

#include "parse.h"

/*
 * Functions that are not static are verified once, for any arguments, and not
 * once for every way that leads to them. They ask for pointers that are not
 * null, and for maps that the program could write, which it never does here:
 * who fills an image freezes it.
 */

/* One slot: the image in force. */
struct image_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE); /* page aligned */
	__type(key, __u32);
	__type(value, struct image);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct image_map);
} generation SEC(".maps");

/* Maps of a fixed size, for which every lookup below is inlined by the kernel. */
struct page {
	__u8 bytes[PAGE_SIZE];
};

struct page_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG | BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct page);
};

/* Else only pointers lead to the type, and clang would leave it out of BTF. */
const struct page *unused_page __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, PLACE_SLOTS);
	__type(key, __u32);
	__array(values, struct page_map);
} pages SEC(".maps");

static __always_inline const struct image *current_image(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&generation, &zero);
	const struct image *image;

	if (!inner)
		return NULL;
	image = bpf_map_lookup_elem(inner, &zero);
	if (!image || *(const __u64 *)image != (FORMAT_MAGIC | (__u64)FORMAT_LAYOUT << 32) ||
	    !image->ports)
		return NULL;
	return image;
}

static __always_inline const void *page_at(const struct image *image, __u32 place)
{
	__u32 slot = image->base + place, zero = 0;
	void *inner = bpf_map_lookup_elem(&pages, &slot);

	return inner ? bpf_map_lookup_elem(inner, &zero) : NULL;
}

/* The service that a port has, plus one, or 0. The port is as in the frame. */
static __always_inline __u32 service_of(const struct image *image, __be16 port)
{
	return image->services[port >> 2] >> ((port & 3) * 2) & 3;
}

/* ---- IPv4 ----------------------------------------------------------------- */

/* Picks the last line whose first word is at most key. */
static __always_inline __u32 find_line(const struct line *lines, __u32 at, __u32 count, __u32 key)
{
	for (int i = 0; i <= LINE_BITS && count > 1; i++) {
		__u32 half = count >> 1;
		__u32 next = bound(at + half, (1 << LINE_BITS) - 1);
		/* All ones where the run begins at most here. */
		__u64 not_above = ((__u64)lines[next].words[0] - key - 1) >> 63;

		at += half & -(__u32)not_above;
		count -= half;
	}
	return bound(at, (1 << LINE_BITS) - 1);
}

static __always_inline __u32 find_word(const struct line *line, __u32 key)
{
	__u64 above = key, words = 0;

	above++;
#pragma unroll
	for (int i = 0; i < LINE_WORDS; i++)
		words += ((__u64)line->words[i] - above) >> 63;
	/* The first run of the first line is never above: there is at least one. */
	return line->words[bound(words - 1, LINE_WORDS - 1)];
}

static __always_inline __u32 class_of_v4(const struct image *image, enum table table, __u32 ip)
{
	__u32 shift = image->shift[table] & 31, index = ip >> shift, entry, key;
	const __u32 *entries;
	const struct line *lines;

	entries = page_at(image, PLACE_INDEX + table);
	if (!entries)
		return 0;
	entry = entries[bound(index, (1 << INDEX_BITS) - 1)];
	if (entry & INDEX_CLASS)
		return entry & 0xff;
	lines = page_at(image, PLACE_LINES + ((entry & INDEX_LINE_MASK) >> LINE_BITS));
	if (!lines)
		return 0;
	key = ip << 8 | 0xff;
	entry = find_line(lines, entry & ((1 << LINE_BITS) - 1), entry >> INDEX_LINE_BITS, key) *
		sizeof(struct line);
	return find_word((const void *)lines + entry, key) & 0xff;
}

/* ---- IPv6 ----------------------------------------------------------------- */

static __always_inline const void *node_at(const struct image *image, enum table table,
					   __u32 number)
{
	const struct node *nodes;

	if (likely(number < NEAR_NODES))
		return &image->near[table][bound(number, NEAR_NODES - 1)];
	number -= NEAR_NODES;
	nodes = page_at(image, PLACE_NODES + (number >> LINE_BITS));
	return nodes ? &nodes[bound(number, (1 << LINE_BITS) - 1)] : NULL;
}

static __always_inline __u64 below(const __u64 *keys, int i, __u64 key)
{
	return (keys[i] - key) >> 63;
}

/*
 * How many of the first four keys are below this one. The sum is told apart from
 * others, or clang makes one long chain of them, which the CPU must walk step by
 * step.
 */
static __always_inline __u64 four_below(const __u64 *keys, __u64 key)
{
	__u64 two = below(keys, 0, key) + below(keys, 1, key);
	__u64 more = below(keys, 2, key) + below(keys, 3, key);

	asm volatile("" : "+r"(two), "+r"(more));
	return two + more;
}

/*
 * The last address of deep pages that is at most this one; the address's /64 is
 * known to be in them.
 */
__noinline int class_in_deep(const struct image *image, __u32 table, __u64 high, __u64 low)
{
	__u32 place = PLACE_DEEP + table * DEEP_PAGES, at = 0;
	const struct deep *deep = image ? page_at(image, place) : NULL;

	if (!deep)
		return 0;
	for (__u32 i = 1; i < DEEP_PAGES; i++) {
		__u64 page_high = deep->page_high[i], page_low = deep->page_low[i];

		if (i >= deep->pages || page_high > high || (page_high == high && page_low > low))
			break;
		at = i;
	}
	deep = page_at(image, place + at);
	if (!deep)
		return 0;
	/* Were the first step a constant, the verifier would walk every path. */
	__u32 step = deep->step;

	at = 0;
	for (int i = 0; i < DEEP_BITS && step; i++, step >>= 1) {
		__u32 next = bound(at + step, (1 << DEEP_BITS) - 1);

		if (next >= deep->runs || deep->high[next] > high)
			continue;
		if (deep->high[next] < high || deep->low[next] <= low)
			at = next;
	}
	return deep->classes[bound(at, (1 << DEEP_BITS) - 1)];
}

/* The class of the upper 64 bits alone; CLASS_DEEP where they don't decide. */
static __always_inline __u32 class_of_v6(const struct image *image, enum table table, __u64 high)
{
	const struct tree *tree = &image->trees[table][high >> 63];
	__u64 key = high & ~(1ULL << 63);
	const struct leaf *leaf;
	__u32 at = 0;

	for (__u32 level = 0; level < TREE_LEVELS && level < tree->levels; level++) {
		const struct node *node = node_at(image, table, tree->nodes[level] + at);
		__u64 skip;

		if (!node)
			return 0;
		skip = four_below(node->keys, key) + four_below(node->keys + 4, key);
		at = at * (NODE_KEYS + 1) + skip;
	}
	leaf = node_at(image, table, tree->leaves + at);
	if (!leaf)
		return 0;
	at = four_below(leaf->keys, key) + below(leaf->keys, 4, key) + below(leaf->keys, 5, key) +
	     below(leaf->keys, 6, key);
	return leaf->classes[bound(at, LEAF_KEYS)];
}

/* ---- both ----------------------------------------------------------------- */

static __always_inline __u32 class_of(const struct image *image, enum table table,
				      const struct address *a)
{
	__u32 class;

	if (likely(a->version == 4))
		return class_of_v4(image, table, a->high);
	class = class_of_v6(image, table, a->high);
	if (unlikely(class & CLASS_DEEP))
		return class_in_deep(image, table, a->high, a->low);
	return class;
}

/* The feeds are asked on few packets: one copy of the code serves all of them. */
__noinline int listed(const struct image *image, const struct address *a)
{
	return image && a && image->feeds ? class_of(image, TABLE_FEED, a) : 0;
}

/* The allowlist, for all but the shortcut. */
__noinline int allowed(const struct image *image, const struct address *a)
{
	return image && a ? class_of(image, TABLE_ALLOW, a) : 0;
}
