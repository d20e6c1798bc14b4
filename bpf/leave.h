/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The only way out: counts, samples and turns the reason into the verdict.
 */
#pragma once

#include "shortcut.h"

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, enum reason);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} drops SEC(".maps");

/* Reads the frame again, so that the packets that pass keep nothing for it. */
static __always_inline void fill(context *ctx, const struct packet *p, struct drop *d)
{
	__builtin_memset(d, 0, sizeof(*d));
	d->length = p->length;
	d->ifindex = ctx->ingress_ifindex;
	d->vlan = p->vlan;
	d->version = p->version;
	d->protocol = p->protocol;
	if (p->version == 4) {
		load_bytes(ctx, p->ip + 12, d->source, 4);
		load_bytes(ctx, p->ip + 16, d->destination, 4);
	} else if (p->version == 6) {
		load_bytes(ctx, p->ip + 8, d->source, 32); /* both */
	}
	if (p->l4)
		load_bytes(ctx, p->l4, &d->source_port, 4); /* both */
}

__noinline int sample(context *ctx, const struct packet *p, __u32 reason, __u64 weight)
{
	struct drop *d;

	if (!p)
		return 0;
	d = bpf_ringbuf_reserve(&drops, sizeof(*d), 0);
	if (!d)
		return 0;
	fill(ctx, p, d);
	d->reason = reason;
	d->weight = weight;
	bpf_ringbuf_submit(d, BPF_RB_NO_WAKEUP);
	return 1;
}

/* A driver that hides which port a packet came by gives 0, as empty places do. */
static __always_inline int is_exempt(const struct control *control, __u32 ifindex)
{
	for (int i = 0; i < EXEMPT; i++)
		if (ifindex && control->exempt[i] == ifindex)
			return 1;
	return 0;
}

__noinline int mix_packet(context *ctx, const struct packet *p)
{
	struct address source;

	if (!p || !p->version || !fetch_address(ctx, p, SOURCE_OFF(p), &source))
		return 0;
	return mix_of(&source);
}

static __always_inline struct cell *cell_of(struct tally *tally, __u32 mix)
{
	return &tally->cells[mix >> (32 - CELLS_BITS)];
}

/*
 * Whether the budget has a sample left for this drop, and how many drops it
 * would stand for. There is no clock here, and no wake-up: the daemon polls.
 */
static __always_inline __u64 spend(struct tally *tally, const struct control *control, __u32 mix)
{
	struct cell *cell = cell_of(tally, mix);
	__u64 weight = ++cell->skipped;

	if (cell->epoch != control->epoch) {
		cell->epoch = control->epoch;
		cell->left = CELL_BUDGET;
	}
	if (likely(!cell->left))
		return 0;
	cell->left--;
	cell->skipped = 0;
	return weight;
}

static __always_inline struct tally *count(enum reason reason, __u32 length)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &reason);

	if (tally) {
		tally->packets++;
		tally->bytes += length;
	}
	return tally;
}

/* What the budget allows for a packet: whose sample it would be, or none. */
struct due {
	struct tally *tally;
	__u64 weight;
};

/* Counts a packet and turns its reason into the verdict. */
static __always_inline int settle(context *ctx, enum reason reason, __u32 length, __u32 mix,
				  struct due *due)
{
	const struct control *control = current_control();
	int verdict = reason >= REASON_NOT_IP ? VERDICT_PASS : VERDICT_DROP;

	due->weight = 0;
	if (!control)
		return verdict;
	if (verdict == VERDICT_DROP && unlikely(control->exempt[0]) &&
	    is_exempt(control, ctx->ingress_ifindex)) {
		count(REASON_EXEMPT, length);
		return VERDICT_PASS;
	}
	due->tally = count(reason, length);
	if (due->tally && (verdict == VERDICT_DROP || reason == REASON_MEDIA_OBSERVED))
		due->weight = spend(due->tally, control, mix);
	return verdict;
}

/* A sample that found no room: the next one stands for it too. */
static __always_inline void owe(const struct due *due, __u32 mix)
{
	cell_of(due->tally, mix)->skipped = due->weight;
}

/* sample of a plain packet. What it needs of it is put together here alone. */
__noinline int sample_plain(context *ctx, __u32 version, __u32 protocol, __u32 reason, __u64 weight)
{
	struct packet p = {
		.length = linear_length(ctx),
		.ip = sizeof(struct ethernet),
		.l4 = sizeof(struct ethernet) +
		      (version == 4 ? sizeof(struct ipv4) : sizeof(struct ipv6)),
		.vlan = stripped_vlan(ctx),
		.version = version,
		.protocol = protocol,
	};

	return sample(ctx, &p, reason, weight);
}

static __always_inline int leave_plain(context *ctx, const struct plain *p, __u32 mix,
				       enum reason reason)
{
	struct due due;
	int verdict = settle(ctx, reason, linear_length(ctx), mix, &due);

	if (unlikely(due.weight) && !sample_plain(ctx, p->version, p->protocol, reason, due.weight))
		owe(&due, mix);
	return verdict;
}

/* The way of all that is not plain, or has to be looked at. */
static __always_inline int judge_and_leave(context *ctx)
{
	struct packet p = { .length = linear_length(ctx), .vlan = stripped_vlan(ctx) };
	struct room room;
	struct due due;
	__u32 mix = 0;
	int reason = judge(ctx, &p, &room), verdict;

	if (unlikely(!p.ip))
		p.length = frame_length(ctx);
	if (reason < REASON_NOT_IP || reason == REASON_MEDIA_OBSERVED)
		mix = mix_packet(ctx, &p);
	verdict = settle(ctx, reason, p.length, mix, &due);
	if (unlikely(due.weight) && !sample(ctx, &p, reason, due.weight))
		owe(&due, mix);
	return verdict;
}

/* What a frame that arrives on the WAN goes through. */
static __always_inline int guard(context *ctx)
{
	struct plain plain;
	__u32 mix = 0;
	int reason = shortcut(ctx, &plain, &mix);

	if (likely(reason >= REASON_NOT_IP)) {
		count(reason, linear_length(ctx));
		return VERDICT_PASS;
	}
	return reason >= 0 ? leave_plain(ctx, &plain, mix, reason) : judge_and_leave(ctx);
}
