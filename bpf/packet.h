/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What is known of a packet while it is read, and the addresses in it.
 */
#pragma once

#include "context.h"

/* Where a walk along IPv6 extension headers is. */
struct chain {
	__u32 at;
	__u32 end;
	__be32 id; /* of fragments */
	__u8 next;
	__u8 first;
	__u8 cut;
};

/*
 * Where pull may copy a header to. One is enough, since each header is done with
 * before the next is read; the kernel gives a program 512 bytes of stack.
 */
union scratch {
	struct ipv6 largest;
	struct chain chain;
};

/* What is known of the packet so far. Offsets count from the frame's start. */
struct packet {
	__u32 length;  /* of the frame */
	__u32 at;      /* the header to be read next */
	__u32 limit;   /* where what encloses the IP packet ends, 0 for the frame */
	__u32 end;     /* where the IP packet ends; padding may follow */
	__u32 ip;      /* the IP header */
	__u32 l4;      /* the ports, 0 if unread */
	__u32 payload; /* of TCP and UDP, 0 if there is none to look at */
	__be32 id;     /* of fragments */
	__be16 type;
	__be16 port; /* destination */
	__u16 vlan;
	__u8 version;
	__u8 protocol;
	__u8 flags;    /* of TCP */
	__u8 first;    /* a first fragment: more follow */
	__u8 cut;      /* it lies in a first fragment and may go on in later ones */
	__u8 reserved; /* no padding: the verifier wants every byte written */
};

/* An address as lookups want it. */
struct address {
	__u64 high; /* host order; an IPv4 address is here */
	__u64 low;
	__u32 version;
	__u32 reserved;
};

/* Reads the address that lies at off, the source's or the destination's. */
static __always_inline int read_address(context *ctx, __u32 off, __u8 version, union scratch *s,
					struct address *a)
{
	const __be32 *words = pull_at(ctx, off, s, version == 4 ? 4 : 16);

	if (!words)
		return 0;
	a->version = version;
	a->reserved = 0;
	a->high = ntohl(words[0]);
	a->low = 0;
	if (version == 4)
		return 1;
	a->high = a->high << 32 | ntohl(words[1]);
	a->low = (__u64)ntohl(words[2]) << 32 | ntohl(words[3]);
	return 1;
}

static __always_inline int read_source(context *ctx, const struct packet *p, union scratch *s,
				       struct address *a)
{
	if (p->version == 4)
		return read_address(ctx, p->ip + 12, 4, s, a);
	return read_address(ctx, p->ip + 8, 6, s, a);
}

#define SOURCE_OFF(p) ((p)->version == 4 ? 12 : 8)
#define DESTINATION_OFF(p) ((p)->version == 4 ? 16 : 24)

/* fetch_address is read_address for those that can spare a call but no stack. */
static __always_inline int fetch_address(context *ctx, const struct packet *p, __u32 off,
					 struct address *a)
{
	__builtin_memset(a, 0, sizeof(*a));
	a->version = p->version;
	if (load_bytes(ctx, p->ip + off, &a->high, 4))
		return 0;
	if (p->version == 4) {
		a->high = ntohl((__u32)a->high);
		return 1;
	}
	if (load_bytes(ctx, p->ip + off, &a->high, 16))
		return 0;
	a->high = __builtin_bswap64(a->high);
	a->low = __builtin_bswap64(a->low);
	return 1;
}
