/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * From the first byte of the frame to the ports. Each step returns the reason
 * that ends the walk, or where to go on.
 */
#pragma once

#include "packet.h"

#define GO_ON (-1)   /* the ports have been read */
#define GO_IN (-2)   /* a tunnel: another packet is inside */
#define GO_LOOK (-3) /* a later fragment: what became of the first? */

#define MAX_TAGS 2
#define MAX_EXTENSIONS 8

static __always_inline int is_tag(__be16 type)
{
	return type == ETH_P_8021Q || type == ETH_P_8021AD;
}

/*
 * A PPPoE session. Linux looks at neither version, type nor code, and takes the
 * protocol in one byte where that is odd, so neither do we.
 */
static __always_inline int parse_pppoe(context *ctx, struct packet *p, union scratch *s)
{
	const struct pppoe *ppp = pull_at(ctx, p->at, s, sizeof(*ppp));
	__u32 end, protocol;
	const __u8 *bytes;

	if (!ppp)
		return REASON_MALFORMED;
	p->at += sizeof(*ppp);
	end = p->at + ntohs(ppp->length);
	if (end > p->length)
		p->length = frame_length(ctx);
	bytes = pull_at(ctx, p->at, s, 1);
	if (end > p->length || end < p->at + 1 || !bytes)
		return REASON_MALFORMED;
	p->limit = end;
	p->at++;
	protocol = *bytes;
	if (!(protocol & 1)) {
		bytes = pull_at(ctx, p->at, s, 1);
		if (end < p->at + 1 || !bytes)
			return REASON_MALFORMED;
		p->at++;
		protocol = protocol << 8 | *bytes;
	}
	if (protocol == PPP_IP)
		p->type = ETH_P_IP;
	else if (protocol == PPP_IPV6)
		p->type = ETH_P_IPV6;
	else
		return REASON_NOT_IP;
	return GO_ON;
}

/*
 * A tag that the NIC strips in hardware (rxvlan) is not in the frame; the
 * packet is then judged as if it were untagged, which guards it all the same,
 * since nothing here depends on the tag.
 */
static __always_inline int parse_ethernet(context *ctx, struct packet *p, union scratch *s)
{
	const struct ethernet *eth = pull(ctx, 0, s, sizeof(*eth));

	if (!eth)
		return REASON_MALFORMED;
	p->type = eth->type;
	p->at = sizeof(*eth);
#pragma unroll
	for (int i = 0; i < MAX_TAGS; i++) {
		const struct vlan *tag;

		if (likely(!is_tag(p->type)))
			break;
		if (i + stripped_tags(ctx) >= MAX_TAGS)
			return REASON_VLAN_DEPTH;
		tag = pull_at(ctx, p->at, s, sizeof(*tag));
		if (!tag)
			return REASON_MALFORMED;
		if (i == 0 && !p->vlan)
			p->vlan = ntohs(tag->tci) & 0xfff;
		p->type = tag->type;
		p->at += sizeof(*tag);
	}
	if (unlikely(p->type == ETH_P_PPP_SES))
		return parse_pppoe(ctx, p, s);
	return is_tag(p->type) ? REASON_VLAN_DEPTH : GO_ON;
}

/*
 * A header that doesn't fit: in a first fragment it was cut on purpose (RFC
 * 1858, RFC 7112), in a whole packet it is broken.
 */
static __always_inline int cut_short(const struct packet *p)
{
	return p->first | p->cut ? REASON_FRAGMENT_TINY : REASON_MALFORMED;
}

/*
 * fits sets where the IP packet ends. In a tunnel whose outer packet is a first
 * fragment the rest of the inner one is yet to come.
 */
static __always_inline int fits(context *ctx, struct packet *p, __u32 end)
{
	__u32 limit = p->limit;

	if (likely(!limit)) {
		if (unlikely(end > p->length))
			p->length = frame_length(ctx);
		limit = p->length;
	}
	if (unlikely(end > limit)) {
		if (!p->cut)
			return 0;
		end = limit;
	}
	p->end = end;
	return 1;
}

/*
 * Fragments after the first carry no ports. They share the fate of the first
 * one. TCP at offset 1 (8 bytes) could overwrite the flags of an admitted first
 * fragment (RFC 3128); no honest sender makes one.
 */
static __always_inline int later_fragment(__u32 offset, __u8 protocol)
{
	if (offset == 1 && protocol == IPPROTO_TCP)
		return REASON_FRAGMENT_TINY;
	return GO_LOOK;
}

/*
 * Options matter by one kind: a route that the sender prescribes leads past
 * whatever the addresses promise. Only packets with options pay for the walk.
 */
#define MAX_OPTIONS 40

__noinline int walk_options(context *ctx, __u32 at, __u32 size)
{
	__u8 options[MAX_OPTIONS + 24] = {};
	__u32 next = 0;

	if (at > MAX_OFFSET || size < 1 || size > MAX_OPTIONS ||
	    load_bytes(ctx, at, options, bound(size - 1, 63) + 1))
		return REASON_MALFORMED;
	for (int i = 0; i < MAX_OPTIONS; i++) {
		__u32 kind = options[bound(next, 63)], length = options[bound(next + 1, 63)];
		__u32 single = is_same(kind, IPV4_OPTION_NOP);

		if (next >= size || kind == IPV4_OPTION_END)
			return GO_ON;
		length = single + length * (1 - single);
		next += length;
		if (length + single < 2 || next > size)
			return REASON_MALFORMED;
		if (kind == IPV4_OPTION_LSRR || kind == IPV4_OPTION_SSRR)
			return REASON_SOURCE_ROUTE;
	}
	return GO_ON;
}

static __always_inline int parse_ipv4(context *ctx, struct packet *p, union scratch *s)
{
	const struct ipv4 *ip = pull_at(ctx, p->at, s, sizeof(*ip));
	__u32 header, total, fragment, start = p->at;

	if (!ip || (p->limit && start + sizeof(*ip) > p->limit))
		return cut_short(p);
	p->ip = start;
	p->version = 4;
	p->protocol = ip->protocol;
	header = (ip->version_ihl & 0xf) * 4;
	total = ntohs(ip->total_length);
	if (ip->version_ihl >> 4 != 4 || header < sizeof(*ip) || total < header)
		return REASON_MALFORMED;
	fragment = ntohs(ip->fragment);
	if (!fits(ctx, p, start + total))
		return REASON_MALFORMED;
	p->at += header;
	if (unlikely(fragment & (IPV4_OFFSET | IPV4_MORE_FRAGMENTS))) {
		p->id = ip->id;
		if (fragment & IPV4_OFFSET)
			return later_fragment(fragment & IPV4_OFFSET, p->protocol);
		p->first = 1;
	}
	if (unlikely(header > sizeof(*ip))) {
		if (p->at > p->end) /* an inner packet whose header is cut */
			return cut_short(p);
		return walk_options(ctx, start + sizeof(*ip), header - sizeof(*ip));
	}
	return GO_ON;
}

/* Headers that only lead to the next one. ESP and unknown ones are an end. */
#define BIT(n) (1ULL << ((n) & 63))
#define EXTENSIONS_0                                                                               \
	(BIT(IPPROTO_HOPOPTS) | BIT(IPPROTO_ROUTING) | BIT(IPPROTO_FRAGMENT) | BIT(IPPROTO_AH) |   \
	 BIT(IPPROTO_DSTOPTS))
#define EXTENSIONS_128 (BIT(IPPROTO_MH) | BIT(IPPROTO_HIP) | BIT(IPPROTO_SHIM6))

static __always_inline int is_extension(__u8 next)
{
	__u32 group = next >> 6;
	__u64 known = EXTENSIONS_0;

	if (group == 2)
		known = EXTENSIONS_128;
	else if (group)
		return 0;
	return known >> (next & 63) & 1;
}

/*
 * The walk is a global function: the verifier proves it once and not once for
 * every way that leads here, and only packets with extension headers pay for it.
 */
__noinline int walk_extensions(context *ctx, struct chain *c)
{
	if (!c)
		return REASON_MALFORMED;
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		struct extension ext;
		__u32 at = c->at, size;

		if (!is_extension(c->next))
			return GO_ON;
		if (at > MAX_OFFSET || at + sizeof(ext) > c->end)
			return c->cut ? REASON_FRAGMENT_TINY : REASON_MALFORMED;
		if (load_bytes(ctx, at, &ext, sizeof(ext)))
			return REASON_MALFORMED;
		size = (ext.length + 1) * 8;
		if (c->next == IPPROTO_AH) {
			size = (ext.length + 2) * 4; /* RFC 4302 section 2.2 */
		} else if (c->next == IPPROTO_FRAGMENT) {
			__u32 fragment = ntohs(ext.word);

			if (c->first) /* a fragment of a fragment */
				return REASON_MALFORMED;
			c->id = ext.rest;
			if (fragment >> 3)
				return later_fragment(fragment >> 3, ext.next);
			/* Offset 0 and no more: an atomic fragment, an ordinary
			 * packet (RFC 6946). */
			c->first |= fragment & 1;
			c->cut |= c->first;
			size = sizeof(ext);
		}
		if (at + size > c->end)
			return c->cut ? REASON_FRAGMENT_TINY : REASON_MALFORMED;
		/* Type 0, whose segments are hosts: RFC 5095. */
		if (c->next == IPPROTO_ROUTING && !(ext.word & 0xff))
			return REASON_SOURCE_ROUTE;
		c->next = ext.next;
		c->at = at + size;
	}
	return is_extension(c->next) ? REASON_HEADER_CHAIN : GO_ON;
}

static __always_inline int parse_extensions(context *ctx, struct packet *p, union scratch *s)
{
	struct chain *c = &s->chain;
	int reason;

	__builtin_memset(c, 0, sizeof(*c));
	c->at = p->at;
	c->end = p->end;
	c->next = p->protocol;
	c->cut = p->cut;
	reason = walk_extensions(ctx, c);
	p->at = c->at;
	p->id = c->id;
	p->first = c->first;
	p->protocol = c->next;
	return reason;
}

static __always_inline int parse_ipv6(context *ctx, struct packet *p, union scratch *s)
{
	const struct ipv6 *ip = pull_at(ctx, p->at, s, sizeof(*ip));
	__u32 start = p->at;

	if (!ip || (p->limit && start + sizeof(*ip) > p->limit))
		return cut_short(p);
	p->ip = start;
	p->version = 6;
	p->protocol = ip->next;
	if ((ip->version_flow & 0xf0) != 0x60)
		return REASON_MALFORMED;
	p->at += sizeof(*ip);
	if (!fits(ctx, p, p->at + ntohs(ip->payload_length)))
		return REASON_MALFORMED;
	if (unlikely(is_extension(p->protocol)))
		return parse_extensions(ctx, p, s);
	return GO_ON;
}

static __always_inline int parse_udp(context *ctx, struct packet *p, union scratch *s)
{
	const struct udp *udp;
	__u32 length;

	if (p->at > MAX_OFFSET || p->at + sizeof(*udp) > p->end)
		return cut_short(p);
	udp = pull_at(ctx, p->at, s, sizeof(*udp));
	if (!udp)
		return REASON_MALFORMED;
	p->l4 = p->at;
	p->payload = p->at + sizeof(*udp);
	p->port = udp->destination;
	if (unlikely(p->protocol != IPPROTO_UDP))
		return GO_ON;
	/* The length counts the whole datagram, beyond a first fragment's end. */
	length = ntohs(udp->length);
	if (length < sizeof(*udp) || (!(p->first | p->cut) && p->at + length > p->end))
		return REASON_MALFORMED;
	return GO_ON;
}

static __always_inline int parse_tcp(context *ctx, struct packet *p, union scratch *s)
{
	const struct tcp *tcp;
	__u32 header;

	if (p->at > MAX_OFFSET || p->at + sizeof(*tcp) > p->end)
		return cut_short(p);
	tcp = pull_at(ctx, p->at, s, sizeof(*tcp));
	if (!tcp)
		return REASON_MALFORMED;
	p->l4 = p->at;
	p->port = tcp->destination;
	p->flags = tcp->flags;
	header = (tcp->offset >> 4) * 4;
	if (header < sizeof(*tcp))
		return REASON_MALFORMED;
	if (p->at + header > p->end)
		return cut_short(p);
	p->payload = p->at + header;
	return GO_ON;
}

/* SCTP and DCCP begin with the ports too, and have 12 bytes of header. */
static __always_inline int parse_ports(context *ctx, struct packet *p, union scratch *s)
{
	const struct udp *ports;

	if (p->at > MAX_OFFSET || p->at + 12 > p->end)
		return cut_short(p);
	ports = pull_at(ctx, p->at, s, sizeof(*ports));
	if (!ports)
		return REASON_MALFORMED;
	p->l4 = p->at;
	p->port = ports->destination;
	return GO_ON;
}

/* An ICMP redirect would have the box send elsewhere what is its gateway's. */
static __always_inline int parse_icmp(context *ctx, struct packet *p, __u8 redirect,
				      union scratch *s)
{
	const __u8 *type;

	if (p->at > MAX_OFFSET || p->at >= p->end)
		return REASON_OTHER_PROTOCOL;
	type = pull_at(ctx, p->at, s, 1);
	return type && *type == redirect ? REASON_REDIRECT_ICMP : REASON_OTHER_PROTOCOL;
}

static __always_inline int parse_rest(context *ctx, struct packet *p, union scratch *s)
{
	switch (p->protocol) {
	case IPPROTO_SCTP:
	case IPPROTO_DCCP:
		return parse_ports(ctx, p, s);
	case IPPROTO_ICMP:
		return p->version == 4 ? parse_icmp(ctx, p, ICMP_REDIRECT, s) :
					 REASON_OTHER_PROTOCOL;
	case IPPROTO_ICMPV6:
		return p->version == 6 ? parse_icmp(ctx, p, ICMPV6_REDIRECT, s) :
					 REASON_OTHER_PROTOCOL;
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
		return GO_IN;
	}
	return REASON_OTHER_PROTOCOL;
}

/* Reads an IP packet of p->type at p->at. */
static __always_inline int parse_packet(context *ctx, struct packet *p, union scratch *s)
{
	int reason;

	if (p->type == ETH_P_IP)
		reason = parse_ipv4(ctx, p, s);
	else if (p->type == ETH_P_IPV6)
		reason = parse_ipv6(ctx, p, s);
	else
		return REASON_NOT_IP;
	if (reason != GO_ON)
		return reason;
	if (likely(p->protocol == IPPROTO_TCP))
		return parse_tcp(ctx, p, s);
	if (likely(p->protocol == IPPROTO_UDP) || p->protocol == IPPROTO_UDPLITE)
		return parse_udp(ctx, p, s);
	return parse_rest(ctx, p, s);
}

static __always_inline int parse_frame(context *ctx, struct packet *p, union scratch *s)
{
	int reason = parse_ethernet(ctx, p, s);

	if (reason != GO_ON)
		return reason;
	p->at = forget(p->at, p->length);
	return parse_packet(ctx, p, s);
}

/* ---- tunnels ------------------------------------------------------------ */

/* RFC 2784 section 2 and RFC 2890 section 2. */
static __always_inline int parse_gre(context *ctx, struct packet *p, union scratch *s)
{
	const struct gre *gre;
	__u32 size = sizeof(*gre);

	if (p->at > MAX_OFFSET || p->at + sizeof(*gre) > p->end)
		return cut_short(p);
	gre = pull_at(ctx, p->at, s, sizeof(*gre));
	if (!gre)
		return REASON_MALFORMED;
	if (gre->version & GRE_VERSION)
		return REASON_OTHER_PROTOCOL; /* PPTP, RFC 2637 */
	if (gre->flags & GRE_ROUTING)
		return REASON_MALFORMED;
	size += gre->flags & GRE_CHECKSUM ? 4 : 0;
	size += gre->flags & GRE_KEY ? 4 : 0;
	size += gre->flags & GRE_SEQUENCE ? 4 : 0;
	p->type = gre->type;
	p->at += size;
	return p->at > p->end ? cut_short(p) : GO_ON;
}

/*
 * descend reads the packet in a tunnel in the place of the one around it. In a
 * first fragment the outer packet's identification stays.
 */
static __always_inline int descend(context *ctx, struct packet *p, union scratch *s)
{
	int reason = GO_ON;

	if (p->protocol == IPPROTO_GRE)
		reason = parse_gre(ctx, p, s);
	else
		p->type = p->protocol == IPPROTO_IPIP ? ETH_P_IP : ETH_P_IPV6;
	if (reason != GO_ON)
		return reason;
	if (p->type != ETH_P_IP && p->type != ETH_P_IPV6)
		return REASON_TUNNEL_DEPTH; /* Ethernet, WCCP's redirected packets */
	if (p->at > MAX_OFFSET)
		return cut_short(p);
	p->limit = p->end;
	p->cut |= p->first;
	p->first = 0;
	reason = parse_packet(ctx, p, s);
	return reason == GO_IN ? REASON_TUNNEL_DEPTH : reason;
}
