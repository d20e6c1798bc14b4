/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The verdict on a packet that arrives on the WAN. Only the destination port
 * decides what is guarded: a source port proves nothing, since its sender picks
 * it. appliance/rules has the same in Go, slow and obvious; a test holds the
 * two together.
 */
#pragma once

#include "media.h"

/*
 * The ports that stay shut while there is no image, in host order, 0 for none.
 * The daemon sets them from rules.StandardPorts before it loads the program.
 */
#define STANDARD_PORTS 8
const volatile __u16 standard_ports[STANDARD_PORTS];

/*
 * Without rules the standard ports are shut for everybody and the rest passes:
 * the site keeps its internet and its management path, and nobody reaches SIP.
 */
static __always_inline int judge_without_rules(__be16 port)
{
	__u16 host = ntohs(port);

	for (int i = 0; i < STANDARD_PORTS; i++)
		if (host && standard_ports[i] == host)
			return REASON_NO_RULES;
	return REASON_NOT_GUARDED;
}

/* The first packet of a TCP connection. */
static __always_inline int opens(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP && (p->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
}

static __always_inline int is_tcp(const struct packet *p)
{
	return p->protocol == IPPROTO_TCP;
}

/* Room to work in, beside the packet. */
struct room {
	union {
		struct {
			struct address source;
			union scratch scratch;
		};
		struct packet inner; /* of a tunnel, once the outer one has been read */
	};
};

/* ---- ports that nobody guards --------------------------------------------- */

/*
 * What a SIP request is told by, as loosely as the loosest of its readers (pjsip)
 * takes RFC 3261 section 7.1: line ends that are skipped, a method in any case or
 * its first letter, blanks, and a scheme.
 */
#define REQUEST_HEAD 64
#define METHOD_MOST 10

enum kind { LINE_END = 1, LETTER = 2, BLANK = 4, MEDIA = 8 /* version 2 of RTP */ };

static const __u8 kinds[256] = {
	['\r'] = LINE_END,	['\n'] = LINE_END,	['\t'] = BLANK,		 [' '] = BLANK,
	['A' ... 'Z'] = LETTER, ['a' ... 'z'] = LETTER, [0x80 ... 0xbf] = MEDIA,
};

struct head {
	__u8 bytes[REQUEST_HEAD + 8]; /* zeros from the payload's end on */
};

/* Where the first byte is, from at on, that is not of the kind. */
__noinline int skip(const struct head *head, __u32 at, __u32 kind)
{
	for (int i = 0; i < REQUEST_HEAD && head; i++) {
		if (at >= REQUEST_HEAD || !(kinds[head->bytes[bound(at, REQUEST_HEAD - 1)]] & kind))
			break;
		at++;
	}
	return at;
}

/* Whether the five bytes at scheme are "sip:", "tel:" or "sips:", in any case. */
static __always_inline int is_scheme(const __u8 *c)
{
	__u32 word = (__u32)c[0] | c[1] << 8 | c[2] << 16 | (__u32)c[3] << 24;

	word |= 0x00202020; /* letters only: 0x1a would become a colon */
	if (word == 0x3a706973 || word == 0x3a6c6574)
		return 1;
	return (word | 0x20000000) == 0x73706973 && c[4] == ':';
}

/*
 * looks_like_sip says whether a request line begins at off. What has not come to
 * its scheme within the head hides it on purpose.
 */
__noinline int looks_like_sip(context *ctx, __u32 off, __u32 end)
{
	struct head head = {};
	__u32 size = end - off, at, letters;

	if (off > MAX_OFFSET)
		return 1;
	if (off >= end)
		return 0;
	if (size > REQUEST_HEAD)
		size = REQUEST_HEAD;
	if (load_bytes(ctx, off, head.bytes, bound(size - 1, REQUEST_HEAD - 1) + 1))
		return 0;
	letters = skip(&head, 0, LINE_END);
	at = skip(&head, letters, LETTER);
	letters = at - letters;
	if (letters > METHOD_MOST)
		return 0;
	if (at < size && (!letters || !(kinds[head.bytes[bound(at, REQUEST_HEAD - 1)]] & BLANK)))
		return 0;
	at = skip(&head, at, BLANK);
	if (size == REQUEST_HEAD && at + 5 > size)
		return 1;
	return is_scheme(&head.bytes[bound(at, REQUEST_HEAD - 1)]);
}

static __always_inline int may_look_like_sip(context *ctx, const struct packet *p, union scratch *s)
{
	const __u8 *first;

	if (!p->payload || p->payload >= p->end)
		return 0;
	if (p->payload > MAX_OFFSET)
		return 1;
	first = pull_at(ctx, p->payload, s, 1);
	return first && kinds[*first] & (LETTER | LINE_END);
}

/* A first fragment that is too short to tell: the rest would come later. */
static __always_inline int hides_request(const struct packet *p)
{
	return p->payload && (p->first | p->cut) && p->payload + REQUEST_HEAD > p->end;
}

/*
 * A stranger's SIP on a port that nobody guards: a PBX may listen there. A
 * stream that began inside may carry anything at the start of a segment, and a
 * telephone may be called by whom it registered with.
 */
__noinline int judge_payload(context *ctx, const struct packet *p, const struct image *image)
{
	struct address source;
	__u32 class;

	if (!p || !image)
		return REASON_MALFORMED;
	if (!hides_request(p) && !looks_like_sip(ctx, p->payload, p->end))
		return REASON_NOT_GUARDED;
	if (!fetch_address(ctx, p, SOURCE_OFF(p), &source))
		return REASON_MALFORMED;
	class = allowed(image, &source);
	if (class >> SERVICE_SIP & 1)
		return REASON_NOT_GUARDED;
	if (hides_request(p))
		return REASON_FRAGMENT_TINY;
	if (!is_tcp(p) && !(class & CLASS_FIRM) && is_banned(&source))
		return REASON_SIP_PAYLOAD;
	return is_reply(ctx, p, !is_tcp(p)) ? REASON_NOT_GUARDED : REASON_SIP_PAYLOAD;
}

/* What a class says of the services, without CLASS_FIRM. */
#define SERVICES_MASK ((1 << SERVICES) - 1)

/* A new connection from outside, to whatever port: bans and feeds hold. */
__noinline int judge_opening(context *ctx, const struct packet *p, const struct image *image)
{
	struct address source;
	__u32 class;

	if (!p || !image || !fetch_address(ctx, p, SOURCE_OFF(p), &source))
		return REASON_MALFORMED;
	class = allowed(image, &source);
	if (!(class & CLASS_FIRM) && is_banned(&source))
		return REASON_BANNED;
	if (!(class & SERVICES_MASK) && listed(image, &source))
		return REASON_FEED;
	return REASON_NOT_GUARDED;
}

static __always_inline int judge_unguarded(context *ctx, const struct packet *p,
					   const struct image *image, struct room *room)
{
	if (unlikely(opens(p))) {
		int reason = judge_opening(ctx, p, image);

		if (reason != REASON_NOT_GUARDED)
			return reason;
	}
	if (unlikely(hides_request(p) || may_look_like_sip(ctx, p, &room->scratch))) {
		int reason = judge_payload(ctx, p, image);

		if (reason != REASON_NOT_GUARDED)
			return reason;
	}
	if (p->protocol == IPPROTO_UDP && image->media)
		return judge_media(ctx, p, image);
	return REASON_NOT_GUARDED;
}

/* ---- ports that somebody guards ------------------------------------------- */

/* Whether the packet's flow may be known, at the cost of one load. */
static __always_inline int may_be_reply(context *ctx, const struct packet *p, struct room *room)
{
	const __be16 *port = pull_at(ctx, p->l4, &room->scratch, sizeof(*port));

	return port && front_has(&flow_front, flow_hash(&room->source, *port, p->port));
}

/* Replies to what began inside pass whoever sends them; a new connection is none. */
static __always_inline int passes_as_reply(context *ctx, const struct packet *p)
{
	return !opens(p) && is_reply(ctx, p, 1);
}

__noinline int judge_banned(context *ctx, const struct packet *p)
{
	if (!p)
		return REASON_BANNED;
	return is_tcp(p) && passes_as_reply(ctx, p) ? REASON_REPLY : REASON_BANNED;
}

__noinline int judge_reply(context *ctx, const struct packet *p, const struct address *source,
			   __u32 class, __u32 otherwise)
{
	if (!p || !source)
		return otherwise;
	if (!is_tcp(p) && !(class & CLASS_FIRM) && is_banned(source))
		return otherwise;
	return passes_as_reply(ctx, p) ? REASON_REPLY : otherwise;
}

__noinline int judge_open(context *ctx, const struct packet *p, const struct image *image,
			  const struct address *source, __u32 class)
{
	const struct limit *limit;

	if (!p || !image || !source)
		return REASON_MALFORMED;
	limit = &image->limits[SERVICE_OPEN];
	if (!(class & CLASS_FIRM) && is_banned(source))
		return judge_banned(ctx, p);
	if (!(class & SERVICES_MASK) && listed(image, source))
		return passes_as_reply(ctx, p) ? REASON_REPLY : REASON_FEED;
	if (limit->interval && is_over(limit, source, SERVICE_OPEN))
		return REASON_RATE_LIMIT;
	return REASON_OPEN_SERVICE;
}

static __always_inline int judge_allowed(context *ctx, const struct packet *p,
					 const struct image *image, __u32 class,
					 enum service service, struct room *room)
{
	const struct limit *limit = &image->limits[bound(service, SERVICES - 1)];

	if (!(class & CLASS_FIRM) && is_banned(&room->source))
		return judge_banned(ctx, p);
	if (limit->interval && is_over(limit, &room->source, service))
		return REASON_RATE_LIMIT;
	return service == SERVICE_SIP ? REASON_SIP_ALLOWED : REASON_HTTP_ALLOWED;
}

static __always_inline int judge_guarded(context *ctx, struct packet *p, const struct image *image,
					 enum service service, struct room *room)
{
	int otherwise = service == SERVICE_SIP ? REASON_SIP_SOURCE : REASON_HTTP_SOURCE;
	struct address *source = &room->source;
	__u32 class;

	if (!read_source(ctx, p, &room->scratch, source))
		return REASON_MALFORMED;
	class = allowed(image, source);
	if (unlikely(service == SERVICE_OPEN))
		return judge_open(ctx, p, image, source, class);
	if (class >> service & 1)
		return judge_allowed(ctx, p, image, class, service, room);
	if (unlikely(may_be_reply(ctx, p, room)))
		return judge_reply(ctx, p, source, class, otherwise);
	return otherwise;
}

/* What a guarded port says of a packet, or GO_ON where nobody guards its port. */
static __always_inline int judge_service(context *ctx, struct packet *p, const struct image *image,
					 struct room *room)
{
	__u32 service;

	if (unlikely(!image)) {
		int reason = judge_without_rules(p->port);

		return reason == REASON_NOT_GUARDED ? GO_ON : reason;
	}
	service = service_of(image, p->port);
	return service ? judge_guarded(ctx, p, image, service - 1, room) : GO_ON;
}

/*
 * One image judges the whole of a packet, whatever is published meanwhile. Cuts
 * come after what guarded ports drop anyway: a flood of that need not ask for them.
 */
static __always_inline int judge_ports(context *ctx, struct packet *p, const struct image *image,
				       struct room *room)
{
	int reason = judge_service(ctx, p, image, room);

	if (reason >= 0 && reason < REASON_NOT_IP)
		return reason;
	if (p->protocol == IPPROTO_UDP && unlikely(cuts_in_force()) && is_cut(ctx, p, 0))
		return REASON_MEDIA_CUT;
	if (reason != GO_ON)
		return reason;
	return image ? judge_unguarded(ctx, p, image, room) : REASON_NOT_GUARDED;
}

/* ---- tunnels -------------------------------------------------------------- */

/* Whether the source may send tunnels: GO_ON, or why not. */
static __always_inline int admit_tunnel(context *ctx, const struct packet *p,
					const struct image *image, struct room *room)
{
	struct address *source = &room->source;
	__u32 class;

	if (!image)
		return GO_ON;
	if (!fetch_address(ctx, p, SOURCE_OFF(p), source))
		return REASON_MALFORMED;
	class = allowed(image, source);
	if (!(class & CLASS_FIRM) && is_banned(source))
		return REASON_BANNED;
	if (class >> SERVICE_TUNNEL & 1 || is_reply(ctx, p, 1))
		return GO_ON;
	return REASON_TUNNEL_SOURCE;
}

/*
 * What comes out of a tunnel enters the box on a device that the gate does not
 * sit on, so the packet inside is judged here, as if it had come without.
 */
__noinline int judge_tunnel(context *ctx, struct packet *p)
{
	const struct image *image = current_image();
	struct room room;
	int reason;

	if (!p)
		return REASON_MALFORMED;
	reason = admit_tunnel(ctx, p, image, &room);
	if (reason != GO_ON)
		return reason;
	reason = descend(ctx, p, &room.scratch);
	if (reason == GO_LOOK)
		return judge_later(ctx, p);
	if (reason == GO_ON)
		return judge_ports(ctx, p, image, &room);
	return reason;
}

/* The packet inside is another one; the first fragment that counts is the outer. */
static __always_inline int judge_unusual(context *ctx, const struct packet *p, struct room *room,
					 int found)
{
	struct packet *inner = &room->inner;
	int reason;

	if (found == GO_LOOK)
		return judge_later(ctx, p);
	*inner = *p;
	reason = judge_tunnel(ctx, inner);
	if (inner->first && !p->first)
		remember_fragment(ctx, inner, reason);
	return reason;
}

/* ---- the whole ------------------------------------------------------------ */

static __always_inline int judge(context *ctx, struct packet *p, struct room *room)
{
	int reason = parse_frame(ctx, p, &room->scratch);

	if (likely(reason == GO_ON))
		reason = judge_ports(ctx, p, current_image(), room);
	else if (reason < GO_ON)
		reason = judge_unusual(ctx, p, room, reason);
	if (unlikely(p->first))
		remember_fragment(ctx, p, reason);
	return reason;
}
