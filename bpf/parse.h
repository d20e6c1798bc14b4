/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From the first byte of the frame to the destination port. Each step returns
 * the reason that ends the walk, or GO_ON.
 */
#pragma once

#include "gate.h"

#define GO_ON (-1)
#define MAX_TAGS 2
#define MAX_EXTENSIONS 8
#define MAX_OFFSET 0x7fff /* above 22 + 40 + 8 * 2048, the furthest L4 header */

/* What is known of the packet so far. Offsets count from the frame's start. */
struct packet {
	__u32 length; /* of the whole frame, fragments of the buffer included */
	__u32 at;     /* the header to be read next */
	__u32 ip;     /* the IP header */
	__u32 l4;     /* the ports, 0 if unread */
	__u32 end;    /* where the IP packet ends; padding may follow */
	__be16 type;
	__be16 port; /* destination */
	__u16 vlan;
	__u8 version;
	__u8 protocol;
	__u8 first; /* a first fragment: more follow */
};

/*
 * pull returns size bytes at off, NULL where the frame ends before them. Some
 * drivers split a frame over buffers; bytes beyond the first one are copied.
 */
static __always_inline const void *pull(struct xdp_md *ctx, __u32 off, void *copy, __u32 size)
{
	void *at = (void *)(long)ctx->data + off;

	if (likely(at + size <= (void *)(long)ctx->data_end))
		return at;
	if (bpf_xdp_load_bytes(ctx, off, copy, size))
		return NULL;
	return copy;
}

static __always_inline int is_tag(__be16 type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

/*
 * PPPoE sessions (RFC 2516) are not opened: on a WAN that carries IP in PPPoE,
 * everything passes as REASON_NOT_IP, which its counter shows.
 *
 * A tag that the NIC strips in hardware (rxvlan) is not in the frame; the
 * packet is then judged as if it were untagged, which guards it all the same,
 * since nothing here depends on the tag.
 */
static __always_inline int parse_ethernet(struct xdp_md *ctx, struct packet *p)
{
	struct ethernet eth_copy;
	const struct ethernet *eth = pull(ctx, 0, &eth_copy, sizeof(eth_copy));

	if (!eth)
		return REASON_MALFORMED;
	p->type = eth->type;
	p->at = sizeof(*eth);
#pragma unroll
	for (int i = 0; i < MAX_TAGS; i++) {
		struct vlan copy;
		const struct vlan *tag;

		if (likely(!is_tag(p->type)))
			return GO_ON;
		tag = pull(ctx, p->at, &copy, sizeof(copy));
		if (!tag)
			return REASON_MALFORMED;
		if (i == 0)
			p->vlan = ntohs(tag->tci) & 0xfff;
		p->type = tag->type;
		p->at += sizeof(*tag);
	}
	return is_tag(p->type) ? REASON_VLAN_DEPTH : GO_ON;
}

/*
 * A header that doesn't fit: in a first fragment it was cut on purpose (RFC
 * 1858, RFC 7112), in a whole packet it is broken.
 */
static __always_inline int cut_short(__u8 first)
{
	return first ? REASON_FRAGMENT_TINY : REASON_MALFORMED;
}

/*
 * Fragments after the first carry no ports. They pass: the stack can't use
 * them without the first fragment, and that one was judged by its ports. The
 * exception is TCP at offset 1 (8 bytes), which could overwrite the flags of an
 * admitted first fragment (RFC 3128); no honest sender makes one.
 */
static __always_inline int later_fragment(__u32 offset, __u8 protocol)
{
	if (offset == 1 && protocol == IPPROTO_TCP)
		return REASON_FRAGMENT_TINY;
	return REASON_FRAGMENT_LATER;
}

static __always_inline int parse_ipv4(struct xdp_md *ctx, struct packet *p)
{
	struct ipv4 copy;
	const struct ipv4 *ip = pull(ctx, p->at, &copy, sizeof(copy));
	__u32 header, total, fragment;

	if (!ip)
		return REASON_MALFORMED;
	p->ip = p->at;
	p->version = 4;
	p->protocol = ip->protocol;
	header = (ip->version_ihl & 0xf) * 4;
	total = ntohs(ip->total_length);
	if (ip->version_ihl >> 4 != 4 || header < sizeof(*ip))
		return REASON_MALFORMED;
	if (total < header || p->at + total > p->length)
		return REASON_MALFORMED;
	fragment = ntohs(ip->fragment);
	if (unlikely(fragment & IPV4_OFFSET))
		return later_fragment(fragment & IPV4_OFFSET, p->protocol);
	p->first = !!(fragment & IPV4_MORE_FRAGMENTS);
	p->end = p->at + total;
	p->at += header;
	return GO_ON;
}

/* Headers that only lead to the next one. ESP and unknown ones are an end. */
static __always_inline int is_extension(__u8 next)
{
	switch (next) {
	case IPPROTO_HOPOPTS:
	case IPPROTO_ROUTING:
	case IPPROTO_FRAGMENT:
	case IPPROTO_AH:
	case IPPROTO_DSTOPTS:
	case IPPROTO_MH:
	case IPPROTO_HIP:
	case IPPROTO_SHIM6:
		return 1;
	}
	return 0;
}

struct chain {
	__u32 at;
	__u32 end;
	__u8 next;
	__u8 first;
};

/*
 * The walk is a global function: the verifier proves it once and not once for
 * every way that leads here, and only packets with extension headers pay for it.
 */
__noinline int walk_extensions(struct xdp_md *ctx, struct chain *c)
{
	if (!c)
		return REASON_MALFORMED;
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		struct extension copy;
		const struct extension *ext;
		__u32 at = c->at, size;

		if (!is_extension(c->next))
			return GO_ON;
		if (at > MAX_OFFSET || at + sizeof(*ext) > c->end)
			return cut_short(c->first);
		ext = pull(ctx, at, &copy, sizeof(copy));
		if (!ext)
			return REASON_MALFORMED;
		size = (ext->length + 1) * 8;
		if (c->next == IPPROTO_AH) {
			size = (ext->length + 2) * 4; /* RFC 4302 section 2.2 */
		} else if (c->next == IPPROTO_FRAGMENT) {
			__u32 fragment = ntohs(ext->fragment);

			if (fragment >> 3)
				return later_fragment(fragment >> 3, ext->next);
			/* Offset 0 and no more: an atomic fragment, an ordinary
			 * packet (RFC 6946). */
			c->first |= fragment & 1;
			size = sizeof(*ext);
		}
		if (at + size > c->end)
			return cut_short(c->first);
		c->next = ext->next;
		c->at = at + size;
	}
	return is_extension(c->next) ? REASON_HEADER_CHAIN : GO_ON;
}

static __always_inline int parse_ipv6(struct xdp_md *ctx, struct packet *p)
{
	struct ipv6 copy;
	const struct ipv6 *ip = pull(ctx, p->at, &copy, sizeof(copy));

	if (!ip)
		return REASON_MALFORMED;
	p->ip = p->at;
	p->version = 6;
	p->protocol = ip->next;
	if ((ip->version_flow & 0xf0) != 0x60)
		return REASON_MALFORMED;
	p->at += sizeof(*ip);
	p->end = p->at + ntohs(ip->payload_length);
	if (p->end > p->length)
		return REASON_MALFORMED;
	if (unlikely(is_extension(ip->next))) {
		struct chain c = { .at = p->at, .end = p->end, .next = ip->next };
		int reason = walk_extensions(ctx, &c);

		if (reason != GO_ON)
			return reason;
		p->at = c.at;
		p->first = c.first;
		p->protocol = c.next;
	}
	return GO_ON;
}

static __always_inline int parse_udp(struct xdp_md *ctx, struct packet *p)
{
	struct udp copy;
	const struct udp *udp;
	__u32 length;

	if (p->at > MAX_OFFSET || p->at + sizeof(*udp) > p->end)
		return cut_short(p->first);
	udp = pull(ctx, p->at, &copy, sizeof(copy));
	if (!udp)
		return REASON_MALFORMED;
	p->l4 = p->at;
	p->port = udp->destination;
	/* The length counts the whole datagram, beyond a first fragment's end. */
	length = ntohs(udp->length);
	if (length < sizeof(*udp) || (!p->first && p->at + length > p->end))
		return REASON_MALFORMED;
	return GO_ON;
}

static __always_inline int parse_tcp(struct xdp_md *ctx, struct packet *p)
{
	struct tcp copy;
	const struct tcp *tcp;
	__u32 header;

	if (p->at > MAX_OFFSET || p->at + sizeof(*tcp) > p->end)
		return cut_short(p->first);
	tcp = pull(ctx, p->at, &copy, sizeof(copy));
	if (!tcp)
		return REASON_MALFORMED;
	p->l4 = p->at;
	p->port = tcp->destination;
	header = (tcp->offset >> 4) * 4;
	if (header < sizeof(*tcp))
		return REASON_MALFORMED;
	if (p->at + header > p->end)
		return cut_short(p->first);
	return GO_ON;
}

static __always_inline int parse(struct xdp_md *ctx, struct packet *p)
{
	int reason = parse_ethernet(ctx, p);

	if (reason != GO_ON)
		return reason;
	if (p->type == ETH_P_IP)
		reason = parse_ipv4(ctx, p);
	else if (p->type == ETH_P_IPV6)
		reason = parse_ipv6(ctx, p);
	else
		reason = REASON_NOT_IP;
	if (reason != GO_ON)
		return reason;
	if (p->protocol == IPPROTO_UDP)
		return parse_udp(ctx, p);
	if (p->protocol == IPPROTO_TCP)
		return parse_tcp(ctx, p);
	return REASON_OTHER_PROTOCOL;
}
