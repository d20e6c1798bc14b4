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

/* ---- lines ---------------------------------------------------------------- */

static __always_inline const void *line_at(const struct image *image, __u32 number)
{
	__u32 page = bound(number >> LINE_BITS, (1 << (NUMBER_BITS - LINE_BITS)) - 1);
	const struct line *lines = page_at(image, PLACE_LINES + page);

	return lines ? &lines[bound(number, (1 << LINE_BITS) - 1)] : NULL;
}

/*
 * How many words are below a key. The sums are told apart from each other, or
 * clang makes one long chain of them, which the CPU must walk step by step.
 */
static __always_inline __u64 wide_below(const struct line *line, __u64 key)
{
	const __u64 *words = line->words;
	__u64 one = 0, two = 0;

	key = opaque(key); /* clang would make branches of what it knows of it */
#pragma unroll
	for (int i = 0; i < WIDE_WORDS; i += 2) {
		one += (words[i] - key) >> 63;
		two += (words[i + 1] - key) >> 63;
	}
	return opaque(one) + opaque(two);
}

static __always_inline __u64 narrow_below(const struct narrow *line, __u64 key)
{
	const __u32 *words = line->words;
	__u64 one = 0, two = 0;

	key = opaque(key);
#pragma unroll
	for (int i = 0; i < NARROW_WORDS; i += 2) {
		one += ((__u64)words[i] - key) >> 63;
		two += ((__u64)words[i + 1] - key) >> 63;
	}
	return opaque(one) + opaque(two);
}

/* Above each word that begins at most at an address. */
static __always_inline __u64 wide_key(__u64 at)
{
	return (at << WIDE_BEGIN) + (WIDE_NONE << WIDE_LENGTH);
}

static __always_inline __u64 narrow_key(__u64 at)
{
	return (at << NARROW_BEGIN) + (NARROW_NONE << NARROW_LENGTH);
}

/*
 * The class that a word gives an address. Where no word of the line begins before
 * the address it is the last word of all, which is as far away as if it had ended.
 */
static __always_inline __u32 class_within(__u64 distance, __u32 length, __u32 class)
{
	__u64 past = (distance & ~(1ULL << 63)) >> (length & 63);

	return class & -(__u32)((opaque(past) - 1) >> 63);
}

static __always_inline __u32 class_in_wide(const struct line *line, __u64 at)
{
	__u64 word = line->words[bound(wide_below(line, wide_key(at)) - 1, WIDE_WORDS - 1)];

	return class_within(at - (word >> WIDE_BEGIN), word >> WIDE_LENGTH, word & 0xff);
}

static __always_inline __u32 class_in_narrow(const struct narrow *line, __u64 at)
{
	__u64 word = line->words[bound(narrow_below(line, narrow_key(at)) - 1, NARROW_WORDS - 1)];

	return class_within(at - (word >> NARROW_BEGIN), word >> NARROW_LENGTH & 31, word & 0x7f);
}

/* The line that a tree leads to. */
__noinline int line_in_tree(const struct image *image, __u32 root, __u32 levels, __u64 at,
			    __u32 narrow)
{
	__u32 node = 0;

	for (__u32 level = 0; image && level < TREE_LEVELS - 1 && level < levels; level++) {
		const void *line = line_at(image, root + node);

		if (!line)
			break;
		if (narrow)
			node = node * NARROW_WORDS + narrow_below(line, narrow_key(at));
		else
			node = node * WIDE_WORDS + wide_below(line, wide_key(at));
	}
	return root + node;
}

/* How many lines after its first one an index entry has for a part of it. */
static __always_inline __u32 splits_below(__u64 lines, __u32 part)
{
	__u32 below = 0;

#pragma unroll
	for (int i = 0; i < SPLITS; i++)
		below += is_below(lines >> (NUMBER_BITS + i * SPLIT_BITS) & SPLIT_NONE, part);
	return below;
}

static __always_inline __u32 class_of_upper(const struct image *image, enum table table,
					    __u32 family, __u64 key)
{
	const struct shape *shape = &image->shapes[table][family];
	const struct entry *entry;
	const void *line;
	__u32 at_entry, part, number, levels;
	__u64 lines, at;

	if (unlikely((key ^ shape->first) & shape->fixed))
		return key < shape->first ? shape->below : shape->above;
	entry = page_at(image, PLACE_INDEX + table * 2 + family);
	if (!entry)
		return 0;
	at_entry = (key >> (shape->shift & 63)) & shape->mask;
	entry += bound(at_entry, (1 << INDEX_BITS) - 1);
	part = key >> (shape->split & 63) & SPLIT_NONE;
	lines = entry->lines;
	if (!(entry->parts >> (part >> (SPLIT_BITS - PART_BITS)) & 1))
		return lines & 0xff & -(__u32)(lines >> 63);
	number = lines & NUMBER_MASK;
	levels = lines >> NUMBER_BITS & SPLIT_NONE;
	at = key >> (shape->grain & 63);
	at &= (1ULL << (shape->narrow ? NARROW_BEGIN_BITS : WIDE_BEGIN_BITS)) - 1;
	if (unlikely(levels < TREE_LEVELS))
		number = line_in_tree(image, number, levels, at, shape->narrow);
	else
		number += splits_below(lines, part);
	line = line_at(image, number);
	if (!line)
		return 0;
	return shape->narrow ? class_in_narrow(line, at) : class_in_wide(line, at);
}

/* ---- IPv6 beyond /64 ------------------------------------------------------- */

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

/* ---- both families --------------------------------------------------------- */

static __always_inline __u32 class_of(const struct image *image, enum table table,
				      const struct address *a)
{
	/* Of 4 and 6: arithmetic, so that the families are one to the verifier. */
	__u32 family = bound(a->version >> 1, 1), class;

	class = class_of_upper(image, table, family, a->high << ((family ^ 1) * 32));
	if (unlikely(class == CLASS_DEEP))
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
