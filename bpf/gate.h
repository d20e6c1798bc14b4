/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the gate shares with the daemon: reasons, the image of one generation,
 * what is remembered between packets, counters and samples. bpf2go generates
 * the Go side of every type here; no twin is kept by hand. Whoever changes the
 * size or meaning of anything here, or the definition of a map, raises
 * FORMAT_LAYOUT: the folder that the maps are pinned in is named by it, and an
 * image of another layout is no image.
 */
#pragma once

#include "kernel.h"

enum format {
	FORMAT_LAYOUT = 3,
	FORMAT_MAGIC = 0x46474e52, /* "RNGF" */
};

/*
 * Why a packet met its verdict. The values are those of appliance.Reason (a
 * test in package gate compares both ends). Those from REASON_NOT_IP on pass,
 * those below drop.
 */
enum reason {
	REASON_NO_RULES = 0,
	REASON_SIP_SOURCE = 1,
	REASON_HTTP_SOURCE = 2,
	REASON_MALFORMED = 3,
	REASON_FRAGMENT_TINY = 4,
	REASON_HEADER_CHAIN = 5,
	REASON_VLAN_DEPTH = 6,
	REASON_FRAGMENT_DROPPED = 7,
	REASON_SOURCE_ROUTE = 8,
	REASON_REDIRECT_ICMP = 9,
	REASON_TUNNEL_SOURCE = 10,
	REASON_TUNNEL_DEPTH = 11,
	REASON_BANNED = 12,
	REASON_FEED = 13,
	REASON_RATE_LIMIT = 14,
	REASON_SIP_PAYLOAD = 15,
	REASON_MEDIA_CUT = 16,
	REASON_MEDIA_STRAY = 17,
	REASON_MEDIA_CUT_OUT = 18, /* of what leaves */

	REASON_NOT_IP = 32,
	REASON_OTHER_PROTOCOL = 33,
	REASON_NOT_GUARDED = 34,
	REASON_SIP_ALLOWED = 35,
	REASON_HTTP_ALLOWED = 36,
	REASON_FRAGMENT_LATER = 37,
	REASON_OPEN_SERVICE = 38,
	REASON_REPLY = 39,
	REASON_EXEMPT = 40,
	REASON_MEDIA = 41,
	REASON_MEDIA_OBSERVED = 42, /* passes, and is sampled */
};

#define REASONS 64

/* What a source may reach: the values of rules.Service. */
enum service {
	SERVICE_SIP = 0,
	SERVICE_HTTP = 1,
	SERVICE_OPEN = 2,
	SERVICE_TUNNEL = 3, /* has no ports */
	SERVICES = 4,
};

/* ---- the image ---------------------------------------------------------- */

/*
 * One generation of the whole policy is a struct image and the pages that it
 * counts from `base` on. All of it is filled and frozen before the gate can see
 * it and never written again. The image is published by one pointer write,
 * after its pages; two halves of the page table take turns, so that the pages
 * of the generation before stay until no CPU reads them.
 *
 * The address space of each family is cut into runs: stretches of addresses
 * with one class. There are two tables of them. In TABLE_ALLOW the class is a
 * set of 1 << enum service, and CLASS_FIRM; in TABLE_FEED it is 1 + the number
 * of the first feed that holds the address, or 0. Services that are shut to
 * strangers never ask the second one, however large it is.
 */
enum table {
	TABLE_ALLOW = 0,
	TABLE_FEED = 1,
	TABLES = 2,
};

enum class {
	CLASS_FIRM = 0x40, /* no ban touches the source */
	CLASS_DEEP = 0x80, /* IPv6, alone: look on in the deep pages */
};

/*
 * Where a generation's pages are, counted from its base. Absent pages are empty
 * slots.
 */
enum place {
	PLACE_INDEX = 0, /* of each table, IPv4 before IPv6 */
	PLACE_LINES = 4, /* of all tables */
	PLACE_DEEP = 36, /* DEEP_PAGES for each table */
	PLACE_END = 52,	 /* as many as a generation can have */
	PLACE_HALF = 64, /* two generations take turns */
	PLACE_SLOTS = 128,
};

enum geometry {
	PAGE_SIZE = 1 << 20,
	INDEX_BITS = 16,  /* entries in an index page */
	LINE_BITS = 14,	  /* lines in a page */
	NUMBER_BITS = 19, /* lines in all pages */
	SPLITS = 4,	  /* in an index entry */
	SPLIT_BITS = 11,
	SPLIT_NONE = (1 << SPLIT_BITS) - 1,
	PART_BITS = 6,	 /* of them, for the parts of an entry */
	TREE_LEVELS = 8, /* a tree has fewer */
	DEEP_BITS = 15,	 /* runs in a deep page */
	DEEP_PAGES = 8,
};

/*
 * Both families have the same tables: an address is the upper 64 bits of an IPv6
 * address, or an IPv4 address in the upper half of them. Some of its upper bits
 * pick an index entry, which has a bit in `parts` for each 64th of its addresses.
 * Where that is clear they have no class, or where INDEX_CLASS is set the one in
 * the lower byte of `lines`. Else the address may be in a line: a cache line of 64
 * bytes. `lines` names the first in its lower 19 bits, and above them the four
 * places where the entry's addresses go on to the next line: from the first whose
 * next 11 bits are greater. So strangers mostly read the index alone, which is so
 * small that it stays near the CPU, and the others one line, wherever lines end.
 *
 * A line holds ascending words of three parts: begin, length, class. The last one
 * that begins at most at the address counts. 2^length addresses from begin on have
 * the class, or with the length OPEN all up to the next word; the others, and
 * those before the first word, have class 0. Entries share lines. What is left of
 * a line are words of the length NONE, which begin after every address. begin
 * leaves out the lower bits that are zero in each begin of the table, and the
 * upper ones that all addresses of a line have in common.
 *
 * An entry that five lines can't hold has a tree, and in the place of the first
 * split its levels above the lines, 1 to 7. Each has words for its children, of
 * which again the last counts that begins at most at the address. Node 0 is the
 * root, child c of node n is n * words + 1 + c, and they are counted from the line
 * that the entry names.
 */
#define INDEX_CLASS (1ULL << 63)
#define NUMBER_MASK ((1 << NUMBER_BITS) - 1)

struct entry {
	__u64 lines;
	__u64 parts;
};

/* The words of a table are wide or, where begin needs but 20 bits, narrow. */
enum word {
	WIDE_WORDS = 8,
	WIDE_LENGTH = 8, /* where the length is: above a class of 8 bits */
	WIDE_BEGIN = 14,
	WIDE_BEGIN_BITS = 49,
	WIDE_OPEN = 62,
	WIDE_NONE = 63,
	NARROW_WORDS = 16,
	NARROW_LENGTH = 7, /* no class is CLASS_DEEP */
	NARROW_BEGIN = 12,
	NARROW_BEGIN_BITS = 20,
	NARROW_OPEN = 30,
	NARROW_NONE = 31,
};

struct line {
	__u64 words[WIDE_WORDS];
};

struct narrow {
	__u32 words[NARROW_WORDS];
};

/* How one family of a table is laid out. */
struct shape {
	__u64 first; /* address in the index, which has those with the same fixed bits */
	__u64 fixed;
	__u32 mask;  /* of an index entry's number: one less than there are */
	__u8 shift;  /* bits below the index */
	__u8 split;  /* bits below those that SPLIT_BITS counts */
	__u8 grain;  /* bits below begin */
	__u8 narrow; /* whether its words are */
	__u8 below;  /* class of the addresses before the index, and after */
	__u8 above;
	__u8 reserved[6];
};

/*
 * Networks longer than /64 are looked up in one sorted array of whole
 * addresses, which holds the runs of those /64 that are not of one class. The
 * first page has the first address of every page.
 */
struct deep {
	__u64 high[1 << DEEP_BITS];
	__u64 low[1 << DEEP_BITS];
	__u8 classes[1 << DEEP_BITS];
	__u64 page_high[DEEP_PAGES];
	__u64 page_low[DEEP_PAGES];
	__u32 pages; /* in the first page only */
	__u32 runs;  /* in this page */
	__u32 step;  /* half the smallest power of two that holds the runs */
	__u32 reserved;
};

/* What becomes of media that no call negotiated: the values of rules.MediaGuard. */
enum media_guard {
	MEDIA_OFF = 0,
	MEDIA_OBSERVE = 1,
	MEDIA_ENFORCE = 2,
};

/* A token bucket as GCRA (ITU-T I.371) has it. */
struct limit {
	__u64 interval;	 /* nanoseconds between packets, 0 for no limit */
	__u64 tolerance; /* (burst - 1) * interval */
};

/*
 * A port's service, plus one, is in two bits at byte (p >> 2), bit (p & 3) * 2,
 * where p is the port as a little-endian CPU reads it from the frame. A 16-bit
 * value straight from the packet needs no bound that old verifiers lose in a
 * byte swap.
 */
struct image {
	__u32 magic;
	__u32 layout;
	__u8 digest[16]; /* of the rules, as text, zero padded */
	__u32 ports;	 /* how many are guarded; with 0 there are no rules */
	__u32 feeds;	 /* how many there are */
	__u32 base;	 /* of the pages: 0 or half of PLACE_SLOTS */
	__u32 pages;	 /* how many there are */
	__u32 media;	 /* enum media_guard */
	__u32 reserved;
	struct limit limits[SERVICES];
	struct shape shapes[TABLES][2] __attribute__((aligned(32))); /* IPv4, IPv6 */
	__u8 services[16384];
};

/* ---- what is remembered between packets --------------------------------- */

/* A flow that began inside. Addresses: IPv4 has the first 4 bytes. */
struct flow {
	__u8 remote[16];
	__be16 remote_port;
	__be16 local_port;
	__u8 version;
	__u8 protocol;
	__u16 reserved;
};

/*
 * UDP packets of calls: see appliance.MediaKey. Whoever is inside has no address
 * here, since NAT changes it. A zero port is that of a key that asks for none.
 */
struct media {
	__u8 remote[16]; /* IPv4 has the first 4 bytes */
	__be16 remote_port;
	__be16 local_port;
	__u8 version; /* 0 where there is no remote address */
	__u8 reserved[3];
};

/* A packet in fragments whose first was dropped. */
struct fragment {
	__u8 source[16];
	__u8 destination[16];
	__be32 id;
	__u8 version;
	__u8 protocol; /* IPv4 only: RFC 8200 doesn't compare it */
	__u16 reserved;
};

/* A source as bans and limits know it: an IPv4 address or an IPv6 /64. */
struct source {
	__u64 network; /* host order */
	__u32 version;
	__u32 service; /* of a limit, 0 in a ban */
};

struct ban {
	__u64 until; /* nanoseconds since boot (CLOCK_BOOTTIME) */
	__u64 since;
	char why[48]; /* for a person, zero padded */
};

/*
 * A Bloom filter in front of a hash table: a clear bit proves that a key is not
 * there, at the cost of one load. A rough bit stands for 128 of them: while few
 * keys are there, nearly all questions end at rough bits, which stay in the CPU's
 * first cache. Bits are never cleared one by one. Now and then the daemon clears
 * one of the halves and makes it current: what sets a bit sets it in the current
 * half, what tests asks both.
 */
#define FRONT_BITS 19
#define FRONT_WORDS (1 << (FRONT_BITS - 6))
#define ROUGH_SHIFT 7
#define ROUGH_WORDS (FRONT_WORDS >> ROUGH_SHIFT)

struct front {
	__u64 words[FRONT_WORDS][2];
	__u64 rough[ROUGH_WORDS][2];
	__u32 current;
	__u32 reserved[15];
};

/* ---- counters and samples ----------------------------------------------- */

/*
 * The budget for samples is shared out over cells, by reason and by source, on
 * each CPU, so that a flood spends its own and no other's. The daemon renews
 * all of them at once: it raises the epoch. With a dead daemon nothing is
 * renewed and a drop costs one read.
 */
#define CELLS_BITS 3
#define CELL_BUDGET 2

struct cell {
	__u32 epoch; /* in which it was renewed last */
	__u32 left;
	__u64 skipped; /* drops since the last sample */
};

/* An exact count, one for each CPU and reason. */
struct tally {
	__u64 packets;
	__u64 bytes; /* without the FCS, nor what is past the packet and the first buffer */
	struct cell cells[1 << CELLS_BITS];
};

/* One sampled drop. Addresses and ports are as in the frame, zero if unread. */
struct drop {
	__u8 source[16]; /* an IPv4 address has the first 4 */
	__u8 destination[16];
	__be16 source_port;
	__be16 destination_port;
	__u32 length;
	__u32 ifindex;
	__u16 vlan;   /* outermost identifier, 0 if untagged */
	__u8 version; /* 4, 6, or 0 where no IP header was read */
	__u8 protocol;
	__u32 reason;
	__u32 reserved;
	__u64 weight; /* how many drops it stands for, itself included */
};

/*
 * What the daemon tells the gate outside any generation. Interfaces that are
 * exempt are not ours to guard, though their driver shares one program among
 * all its ports: drops there are undone.
 */
#define EXEMPT 8
#define FAR_BITS 12
#define FAR_WORDS (1 << (FAR_BITS - 6))

struct control {
	__u32 epoch;	      /* of the sample budget */
	__u32 cuts;	      /* how many keys may be in media_cut */
	__u32 exempt[EXEMPT]; /* interface indexes, 0 for none */
	__u64 far[FAR_WORDS]; /* of the addresses in media_cut, a bit for each hash */
};
