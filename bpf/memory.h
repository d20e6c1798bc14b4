/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the gate remembers between packets: flows that began inside, fragments
 * of dropped packets, bans, and how much a source has sent. All of it is
 * bounded; what is full forgets its oldest.
 */
#pragma once

#include "lookup.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct flow);
	__type(value, __u64); /* when it was seen last, nanoseconds since boot */
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment);
	__type(value, __u32); /* enum reason */
} fragments SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source);
	__type(value, struct ban);
} bans SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct source);
	__type(value, __u64); /* theoretical arrival time, nanoseconds since boot */
} meters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct front);
} flow_front SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct front);
} ban_front SEC(".maps");

/* ---- fronts --------------------------------------------------------------- */

/* Fibonacci hashing: Knuth, The Art of Computer Programming 3, section 6.4. */
#define GOLDEN 0x9e3779b97f4a7c15ULL

static __always_inline __u32 front_bit(__u64 key)
{
	return key * GOLDEN >> (64 - FRONT_BITS);
}

static __always_inline int in_either(const __u64 *halves, __u32 bit)
{
	return (halves[0] | halves[1]) >> (bit & 63) & 1;
}

static __always_inline int front_has(const void *map, __u64 key)
{
	__u32 zero = 0, bit = front_bit(key), rough = bit >> ROUGH_SHIFT;
	const struct front *front = bpf_map_lookup_elem(map, &zero);

	if (!front)
		return 1;
	if (likely(!in_either(front->rough[bound(rough >> 6, ROUGH_WORDS - 1)], rough)))
		return 0;
	return in_either(front->words[bound(bit >> 6, FRONT_WORDS - 1)], bit);
}

static __always_inline void front_add(const void *map, __u64 key)
{
	__u32 zero = 0, bit = front_bit(key), rough = bit >> ROUGH_SHIFT, half;
	struct front *front = bpf_map_lookup_elem(map, &zero);

	if (!front)
		return;
	half = front->current & 1;
	__sync_fetch_and_or(&front->words[bound(bit >> 6, FRONT_WORDS - 1)][half],
			    1ULL << (bit & 63));
	__sync_fetch_and_or(&front->rough[bound(rough >> 6, ROUGH_WORDS - 1)][half],
			    1ULL << (rough & 63));
}

static __always_inline __u64 fold(const struct address *a)
{
	return a->high ^ a->low * GOLDEN;
}

/* Which part of all sources an address belongs to, in the upper bits. */
static __always_inline __u32 mix_of(const struct address *source)
{
	return fold(source) * GOLDEN >> 32;
}

static __always_inline __u64 flow_hash(const struct address *remote, __be16 remote_port,
				       __be16 local_port)
{
	return fold(remote) + ((__u64)remote_port << 48 | (__u64)local_port << 32);
}

/* ---- bans ----------------------------------------------------------------- */

/* Bans and limits know an IPv6 host by its /64: it has all of it to itself. */
static __always_inline struct source source_key(const struct address *a, __u32 service)
{
	struct source key = { .network = a->high, .version = a->version, .service = service };

	return key;
}

static __always_inline int may_be_banned(const struct address *a)
{
	return front_has(&ban_front, a->high + a->version);
}

__noinline int is_banned(const struct address *a)
{
	struct source key;
	const struct ban *ban;

	if (!a)
		return 1;
	if (likely(!may_be_banned(a)))
		return 0;
	key = source_key(a, 0);
	ban = bpf_map_lookup_elem(&bans, &key);
	return ban && ban->until > bpf_ktime_get_boot_ns();
}

/* ---- limits --------------------------------------------------------------- */

/*
 * GCRA. Two CPUs that meet here take turns; who loses three times lets the
 * packet pass, which a flood can't aim for.
 */
__noinline int is_over(const struct limit *limit, const struct address *a, __u32 service)
{
	__u64 now = bpf_ktime_get_ns(), interval, *arrival;
	struct source key;

	if (!limit || !a)
		return 1;
	interval = limit->interval;
	key = source_key(a, service);
	arrival = bpf_map_lookup_elem(&meters, &key);
	if (!arrival) {
		__u64 first = now + interval;

		bpf_map_update_elem(&meters, &key, &first, 0);
		return 0;
	}
	for (int i = 0; i < 3; i++) {
		__u64 seen = *(volatile __u64 *)arrival, due = seen > now ? seen : now;

		if (due - now > limit->tolerance)
			return 1;
		if (__sync_val_compare_and_swap(arrival, seen, due + interval) == seen)
			return 0;
	}
	return 0;
}

/* ---- flows ---------------------------------------------------------------- */

/*
 * How long a flow may be silent: UDP as conntrack does for streams, generously;
 * TCP by RFC 5382 REQ-5; tunnels keep quiet for longer.
 */
#define SECOND 1000000000ULL
#define IDLE_UDP (180 * SECOND)
#define IDLE_TCP (7440 * SECOND)
#define IDLE_TUNNEL (600 * SECOND)

static __always_inline __u64 idle_bound(__u8 protocol)
{
	switch (protocol) {
	case IPPROTO_TCP:
		return IDLE_TCP;
	case IPPROTO_IPIP:
	case IPPROTO_IPV6:
	case IPPROTO_GRE:
		return IDLE_TUNNEL;
	}
	return IDLE_UDP;
}

/* ports: the packet's, the remote one first, as ingress sees them. */
static __always_inline int flow_key(context *ctx, const struct packet *p, __u32 remote_off,
				    __be16 remote_port, __be16 local_port, struct flow *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->version = p->version;
	key->protocol = p->protocol;
	key->remote_port = remote_port;
	key->local_port = local_port;
	if (p->version == 4)
		return !load_bytes(ctx, p->ip + remote_off, key->remote, 4);
	return !load_bytes(ctx, p->ip + remote_off, key->remote, 16);
}

/*
 * is_reply tells whether an arriving packet belongs to a flow that began
 * inside. Where the local port is not guarded nobody counts the time: those are
 * TCP connections, and only the table's size bounds them.
 */
__noinline int is_reply(context *ctx, const struct packet *p, int guarded)
{
	__be16 ports[2] = { 0, 0 };
	struct flow key;
	const __u64 *seen;

	if (!p)
		return 0;
	if (p->l4 && load_bytes(ctx, p->l4, ports, sizeof(ports)))
		return 0;
	if (!flow_key(ctx, p, SOURCE_OFF(p), ports[0], ports[1], &key))
		return 0;
	seen = bpf_map_lookup_elem(&flows, &key);
	if (!seen)
		return 0;
	/* Signed: another CPU may see the flow after the clock was read here. */
	__s64 silent = bpf_ktime_get_boot_ns() - *(const volatile __u64 *)seen;

	return !guarded || silent <= (__s64)idle_bound(p->protocol);
}

/* ---- fragments ------------------------------------------------------------ */

static __always_inline int fragment_key(context *ctx, const struct packet *p, struct fragment *key)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->id = p->id;
	key->version = p->version;
	if (p->version == 6) {
		if (load_bytes(ctx, p->ip + 8, key->source, 16))
			return 0;
		return !load_bytes(ctx, p->ip + 24, key->destination, 16);
	}
	key->protocol = p->protocol;
	if (load_bytes(ctx, p->ip + 12, key->source, 4))
		return 0;
	return !load_bytes(ctx, p->ip + 16, key->destination, 4);
}

/* remember keeps the fate of a first fragment for those that follow. */
__noinline int remember_fragment(context *ctx, const struct packet *p, __u32 reason)
{
	struct fragment key;

	if (!p || !fragment_key(ctx, p, &key))
		return 0;
	if (reason >= REASON_NOT_IP)
		return bpf_map_delete_elem(&fragments, &key);
	return bpf_map_update_elem(&fragments, &key, &reason, 0);
}

__noinline int judge_later(context *ctx, const struct packet *p)
{
	struct fragment key;

	if (!p || !fragment_key(ctx, p, &key))
		return REASON_MALFORMED;
	return bpf_map_lookup_elem(&fragments, &key) ? REASON_FRAGMENT_DROPPED :
						       REASON_FRAGMENT_LATER;
}
