/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Media of calls: what a cut stops, in both directions, and what may come in from
 * the internet. The daemon writes both tables, from what the two sides of each
 * call negotiated; every entry has an end, so that a dead daemon leaves nothing
 * open or shut for ever. appliance/rules/media.go is the same in Go.
 */
#pragma once

#include "memory.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG);
	__type(key, __u32);
	__type(value, struct control);
} controls SEC(".maps");

static __always_inline const struct control *current_control(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&controls, &zero);
}

/* Values of both: until when, nanoseconds since boot. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct media);
	__type(value, __u64);
} media_cut SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct media);
	__type(value, __u64);
} media_ok SEC(".maps");

/*
 * Datagrams that somebody inside sends from ports that nobody guards, and when
 * last: what comes back may look like media, whatever it is. It stands apart from
 * `flows`, whose entries a download of datagrams would push out.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, __u64);
} media_flows SEC(".maps");

static __always_inline int stands(void *map, const struct media *key)
{
	const __u64 *until = bpf_map_lookup_elem(map, key);

	return until && *until > bpf_ktime_get_boot_ns();
}

/* ---- cuts ----------------------------------------------------------------- */

/* While no call is cut, the tables of cuts cost a packet this one look. */
static __always_inline int cuts_in_force(void)
{
	const struct control *control = current_control();

	return control && control->cuts;
}

/* Whether calls with that address may have been cut: a clear bit proves that not. */
static __always_inline int may_be_cut(const struct control *control, const struct address *far)
{
	__u32 bit = fold(far) * GOLDEN >> (64 - FAR_BITS);

	return control->far[bound(bit >> 6, FAR_WORDS - 1)] >> (bit & 63) & 1;
}

/* Reads whom a datagram comes from or, outward, goes to, and both ports. */
static __always_inline int media_key(context *ctx, const struct packet *p, int outward,
				     struct media *key)
{
	__be16 ports[2];
	__u32 off = outward ? DESTINATION_OFF(p) : SOURCE_OFF(p);

	__builtin_memset(key, 0, sizeof(*key));
	if (load_bytes(ctx, p->l4, ports, sizeof(ports)))
		return 0;
	key->version = p->version;
	key->remote_port = outward ? ports[1] : ports[0];
	key->local_port = outward ? ports[0] : ports[1];
	if (p->version == 4)
		return !load_bytes(ctx, p->ip + off, key->remote, 4);
	return !load_bytes(ctx, p->ip + off, key->remote, 16);
}

/*
 * is_cut asks by the two ends, by the far end, and by its address and our port:
 * some providers send from another port than they name.
 */
__noinline int is_cut(context *ctx, const struct packet *p, int outward)
{
	struct media key;
	__be16 local;

	if (!p || !media_key(ctx, p, outward, &key))
		return 0;
	if (stands(&media_cut, &key))
		return 1;
	local = key.local_port;
	key.local_port = 0;
	if (stands(&media_cut, &key))
		return 1;
	key.local_port = local;
	key.remote_port = 0;
	return stands(&media_cut, &key);
}

/* ---- the guard ------------------------------------------------------------ */

/* RFC 3550 section 5.1, RFC 5761 section 4. */
#define RTP_HEADER 12
#define RTCP_HEADER 8
#define RTCP_FIRST 192
#define RTCP_LAST 223
#define STATIC_LAST 34
#define DYNAMIC_FIRST 96

/* Nobody takes media at a system port (RFC 6335 section 6), but a name server's queries
 * begin with any two bytes. */
#define FIRST_PORT 1024

/* Whether a payload is RTP or RTCP by its looks. */
__noinline int looks_like_media(context *ctx, const struct packet *p)
{
	__u8 head[4];
	__u32 size, kind;

	if (!p || !p->payload || p->payload + RTCP_HEADER > p->end ||
	    load_bytes(ctx, p->payload, head, sizeof(head)) || head[0] >> 6 != 2)
		return 0;
	size = p->end - p->payload;
	if (head[1] >= RTCP_FIRST && head[1] <= RTCP_LAST)
		return size >= 4 * (1 + ((__u32)head[2] << 8 | head[3]));
	kind = head[1] & 0x7f;
	if (kind > STATIC_LAST && kind < DYNAMIC_FIRST)
		return 0;
	return size >= RTP_HEADER + 4 * (head[0] & 0x0fU);
}

/* Whether somebody inside sends to whom the datagram comes from. */
static __always_inline int was_asked_for(const struct media *from)
{
	struct flow key = {
		.remote_port = from->remote_port,
		.local_port = from->local_port,
		.version = from->version,
		.protocol = IPPROTO_UDP,
	};
	const __u64 *seen;

	__builtin_memcpy(key.remote, from->remote, sizeof(key.remote));
	seen = bpf_map_lookup_elem(&media_flows, &key);
	if (!seen)
		return 0;
	return (__s64)(bpf_ktime_get_boot_ns() - *(const volatile __u64 *)seen) <= (__s64)IDLE_UDP;
}

/* What the source may do, asked as seldom as possible. */
__noinline int may_speak_sip(context *ctx, const struct packet *p, const struct image *image)
{
	struct address source;

	if (!p || !image || !fetch_address(ctx, p, SOURCE_OFF(p), &source))
		return 0;
	return allowed(image, &source) >> SERVICE_SIP & 1;
}

/* What becomes of media that no call negotiated and nobody inside asked for. */
static __always_inline int stray(const struct image *image)
{
	return image->media == MEDIA_ENFORCE ? REASON_MEDIA_STRAY : REASON_MEDIA_OBSERVED;
}

#define GO_ASK (-5) /* it passes where its source may speak SIP */

/* One packet's keys, from the one that most media matches on. */
__noinline int find_media(context *ctx, const struct packet *p)
{
	struct media key;
	int asked;

	if (!p || !media_key(ctx, p, 0, &key))
		return REASON_MALFORMED;
	asked = was_asked_for(&key);
	key.remote_port = 0;
	if (stands(&media_ok, &key))
		return REASON_MEDIA;
	if (asked)
		return REASON_NOT_GUARDED;
	__builtin_memset(&key, 0, sizeof(key));
	if (stands(&media_ok, &key))
		return REASON_MEDIA;
	key.local_port = p->port;
	return stands(&media_ok, &key) ? GO_ASK : REASON_MEDIA_STRAY;
}

/*
 * A datagram to a port that nobody guards. It is inlined, so that old kernels, which
 * add up the stack of all calls, have one less to count.
 */
static __always_inline int judge_media(context *ctx, const struct packet *p,
				       const struct image *image)
{
	int found;

	if (ntohs(p->port) < FIRST_PORT || !looks_like_media(ctx, p))
		return REASON_NOT_GUARDED;
	found = find_media(ctx, p);
	if (found == REASON_MEDIA_STRAY || (found == GO_ASK && !may_speak_sip(ctx, p, image)))
		return stray(image);
	return found == GO_ASK ? REASON_MEDIA : found;
}

/* ask_for_media remembers a datagram that leaves, at most once in a second. */
static __always_inline void ask_for_media(const struct flow *key)
{
	__u64 now = bpf_ktime_get_boot_ns();
	__u64 *seen = bpf_map_lookup_elem(&media_flows, key);

	if (!seen)
		bpf_map_update_elem(&media_flows, key, &now, 0);
	else if (now - *seen > SECOND)
		*seen = now;
}
