/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the gate shares with the daemon: reasons, the image of one generation,
 * counters and samples. bpf2go generates the Go side of every type here; no
 * twin is kept by hand. Whoever changes the size or meaning of anything here, or
 * the definition of a map, raises FORMAT_LAYOUT: the folder that the maps are
 * pinned in is named by it, and an image of another layout is no image.
 */
#pragma once

#include "kernel.h"

enum format {
	FORMAT_LAYOUT = 1,
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

	REASON_NOT_IP = 32,
	REASON_OTHER_PROTOCOL = 33,
	REASON_NOT_GUARDED = 34,
	REASON_SIP_ALLOWED = 35,
	REASON_HTTP_ALLOWED = 36,
	REASON_FRAGMENT_LATER = 37,
};

#define REASONS 64

/* What a guarded port serves: the values of rules.Service. */
enum service {
	SERVICE_SIP = 0,
	SERVICE_HTTP = 1,
	SERVICES = 2,
};

/*
 * One generation of the whole policy. It is filled and frozen before the gate
 * can see it and never written again; a new policy is a new image.
 *
 * Sources are a partition of the address space: run i goes from first[i] to
 * the address before first[i+1], and services[i] (bits 1 << enum service) holds
 * for all of it. Run 0 begins at the lowest address, so every address lies in
 * exactly one run and a lookup can't miss.
 *
 * A port's bit is at byte (p >> 3), bit (p & 7) of its service, where p is the
 * port as a little-endian CPU reads it from the frame. A 16-bit value straight
 * from the packet needs no bound that old verifiers lose in a byte swap.
 */
#define RUNS_BITS 14
#define RUNS (1 << RUNS_BITS)

struct address6 {
	__u64 high; /* host order */
	__u64 low;
};

struct image {
	__u32 magic;
	__u32 layout;
	__u8 digest[16]; /* of the rules, as text, zero padded */
	__u32 ports;	 /* how many are guarded; with 0 there are no rules */
	__u32 v4_runs;
	__u32 v6_runs;
	__u32 v4_step; /* half the smallest power of two that holds v4_runs */
	__u32 v6_step;
	__u32 reserved[5];
	__u8 port_bits[SERVICES][8192];
	__u32 v4_first[RUNS]; /* host order */
	struct address6 v6_first[RUNS];
	__u8 v4_services[RUNS];
	__u8 v6_services[RUNS];
};

/* An exact count, one for each CPU and reason. */
struct tally {
	__u64 packets;
	__u64 bytes; /* of the frame as XDP sees it, without the FCS */
};

/*
 * How many drops may still be sampled. The daemon refills it; the gate only
 * takes. With a dead daemon it stays at 0 and a drop costs one read.
 */
struct credit {
	__s64 left;
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
};
