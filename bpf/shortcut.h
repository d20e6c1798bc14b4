/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The way that most packets go: plain TCP or UDP, untagged, whole, in one
 * buffer, and nothing remembered of their sender. It says what judge() would say
 * of them, out of registers, or that judge() has to look (GO_SLOW). It has no
 * opinion of its own: a test holds both against the same model.
 */
#pragma once

#include "judge.h"

#define GO_SLOW (-4)

/* What is read of a plain packet. */
struct plain {
	const void *ip;
	const void *l4;
	__u32 end; /* of the IP packet, from the frame's start */
	__u32 payload;
	__be16 port;
	__u8 version;
	__u8 protocol;
	__u8 flags;
};

#define IPV4_PLAIN 0x45	      /* version 4, no options */
#define IPV4_FRAGMENTS 0xff3f /* offset and more, in network order */

static __always_inline int read_plain_ip(context *ctx, struct plain *p, const void *end)
{
	const void *frame = (const void *)(long)ctx->data;
	const struct ethernet *eth = frame;
	const struct ipv4 *ip4 = frame + sizeof(*eth);
	const struct ipv6 *ip6 = frame + sizeof(*eth);

	if (frame + sizeof(*eth) + sizeof(*ip4) + sizeof(struct tcp) > end)
		return 0;
	p->ip = ip4;
	if (likely(eth->type == ETH_P_IP)) {
		if (ip4->version_ihl != IPV4_PLAIN || ip4->fragment & IPV4_FRAGMENTS)
			return 0;
		p->version = 4;
		p->protocol = ip4->protocol;
		p->l4 = ip4 + 1;
		p->end = sizeof(*eth) + ntohs(ip4->total_length);
		return 1;
	}
	if (eth->type != ETH_P_IPV6 ||
	    frame + sizeof(*eth) + sizeof(*ip6) + sizeof(struct tcp) > end ||
	    (ip6->version_flow & 0xf0) != 0x60)
		return 0;
	p->version = 6;
	p->protocol = ip6->next;
	p->l4 = ip6 + 1;
	p->end = sizeof(*eth) + sizeof(*ip6) + ntohs(ip6->payload_length);
	return 1;
}

/* Room for a TCP header has been seen to be there, whatever it is. */
static __always_inline int read_plain(context *ctx, struct plain *p)
{
	const void *frame = (const void *)(long)ctx->data;
	const void *end = (const void *)(long)ctx->data_end;
	__u32 off, header;

	if (!read_plain_ip(ctx, p, end) || p->end > (__u32)(end - frame))
		return 0;
	off = p->l4 - frame;
	if (likely(p->protocol == IPPROTO_TCP)) {
		const struct tcp *tcp = p->l4;

		header = (tcp->offset >> 4) * 4;
		if (header < sizeof(*tcp))
			return 0;
		p->flags = tcp->flags;
		p->port = tcp->destination;
	} else if (p->protocol == IPPROTO_UDP) {
		const struct udp *udp = p->l4;
		__u32 length = ntohs(udp->length);

		header = sizeof(*udp);
		if (length < sizeof(*udp) || off + length > p->end)
			return 0;
		p->flags = 0;
		p->port = udp->destination;
	} else {
		return 0;
	}
	p->payload = off + header;
	return p->payload <= p->end;
}

/*
 * Whether the payload may be a SIP request, or media that is guarded. A byte at
 * payload is read only where it is in the buffer, as all are here.
 */
static __always_inline int plain_may_speak(context *ctx, const struct plain *p,
					   const struct image *image)
{
	__u32 telling = LETTER | LINE_END;

	const __u8 *first = (const __u8 *)(long)ctx->data + bound(p->payload, 0xff);

	if (p->payload >= p->end)
		return 0;
	if ((const void *)(first + 1) > (const void *)(long)ctx->data_end)
		return 1;
	if (p->protocol == IPPROTO_UDP && image->media)
		telling |= MEDIA;
	return kinds[*first] & telling;
}

static __always_inline void read_plain_source(const struct plain *p, struct address *a)
{
	const struct ipv4 *ip4 = p->ip;
	const struct ipv6 *ip6 = p->ip;

	a->version = p->version;
	a->reserved = 0;
	if (p->version == 4) {
		a->high = ntohl(ip4->source);
		a->low = 0;
		return;
	}
	/* An untagged frame's addresses are aligned to 8 bytes where its IP header is to 4. */
	a->high = __builtin_bswap64(*(const __u64 *)&ip6->source[0]);
	a->low = __builtin_bswap64(*(const __u64 *)&ip6->source[2]);
}

/* Calls must not take the long way because some other one was cut. */
static __always_inline int plain_may_be_cut(const struct plain *p)
{
	const struct control *control;
	struct address source;

	if (p->protocol != IPPROTO_UDP)
		return 0;
	control = current_control();
	if (likely(control && !control->cuts))
		return 0;
	read_plain_source(p, &source);
	return !control || may_be_cut(control, &source);
}

/* Whether the packet may belong to a flow that began inside. */
static __always_inline int plain_may_be_reply(const struct plain *p, const struct address *source)
{
	const __be16 *source_port = p->l4;

	return front_has(&flow_front, flow_hash(source, *source_port, p->port));
}

/* A service that is open to all but the feeds. */
static __always_inline int plain_open(const struct plain *p, const struct image *image,
				      const struct address *source, __u32 class, __u32 feed)
{
	if (!(class & CLASS_FIRM) && may_be_banned(source))
		return GO_SLOW;
	if (!(class & SERVICES_MASK) && feed)
		return plain_may_be_reply(p, source) ? GO_SLOW : REASON_FEED;
	return image->limits[SERVICE_OPEN].interval ? GO_SLOW : REASON_OPEN_SERVICE;
}

/* Services that are shut to all but the allowlist. */
static __always_inline int plain_shut(const struct plain *p, const struct image *image,
				      const struct address *source, __u32 class,
				      enum service service)
{
	if (class >> service & 1) {
		if (image->limits[bound(service, SERVICES - 1)].interval)
			return GO_SLOW;
		if (!(class & CLASS_FIRM) && may_be_banned(source))
			return GO_SLOW;
		return service == SERVICE_SIP ? REASON_SIP_ALLOWED : REASON_HTTP_ALLOWED;
	}
	if (plain_may_be_reply(p, source))
		return GO_SLOW;
	return service == SERVICE_SIP ? REASON_SIP_SOURCE : REASON_HTTP_SOURCE;
}

static __always_inline int plain_guarded(struct plain *p, const struct image *image,
					 enum service service, __u32 *mix)
{
	struct address source;
	__u32 class, feed = 0;

	/* So that TCP and UDP are one thing to the verifier from here on. */
	p->protocol = forget(p->protocol, p->port);
	read_plain_source(p, &source);
	/* Though it is asked for last: a long list's answer comes from far memory, and
	 * what does not depend on it is done meanwhile. */
	if (service == SERVICE_OPEN)
		feed = listed(image, &source);
	*mix = mix_of(&source);
	class = class_of(image, TABLE_ALLOW, &source);
	if (service == SERVICE_OPEN)
		return plain_open(p, image, &source, class, feed);
	return plain_shut(p, image, &source, class, service);
}

static __always_inline int plain_ports(context *ctx, struct plain *p, __u32 *mix)
{
	const struct image *image = current_image();
	__u32 service;

	if (!image)
		return GO_SLOW;
	service = service_of(image, p->port);
	if (service)
		return plain_guarded(p, image, service - 1, mix);
	if ((p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN || plain_may_speak(ctx, p, image))
		return GO_SLOW;
	return REASON_NOT_GUARDED;
}

static __always_inline int shortcut(context *ctx, struct plain *p, __u32 *mix)
{
	int reason;

	if (!read_plain(ctx, p))
		return GO_SLOW;
	reason = plain_ports(ctx, p, mix);
	if (reason < REASON_NOT_IP || likely(!plain_may_be_cut(p)))
		return reason;
	return GO_SLOW;
}
