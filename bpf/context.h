/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Where the same judge runs: in the driver (XDP), or on the way into the stack
 * and out of it (tc), which a program chooses by GATE_TC before it includes
 * this. The rest of the source doesn't know.
 */
#pragma once

#include "gate.h"

#ifdef GATE_TC

typedef struct __sk_buff context;

static __always_inline long load_bytes(context *ctx, __u32 off, void *to, __u32 size)
{
	return bpf_skb_load_bytes(ctx, off, to, size);
}

static __always_inline __u32 frame_length(context *ctx)
{
	return ctx->len;
}

/* The stack has taken the outermost tag off by now. */
static __always_inline __u16 stripped_vlan(context *ctx)
{
	return ctx->vlan_present ? ctx->vlan_tci & 0xfff : 0;
}

static __always_inline int stripped_tags(context *ctx)
{
	return ctx->vlan_present ? 1 : 0;
}

#define VERDICT_PASS TC_ACT_UNSPEC /* on to whoever else filters here */
#define VERDICT_DROP TC_ACT_SHOT

#else

typedef struct xdp_md context;

static __always_inline long load_bytes(context *ctx, __u32 off, void *to, __u32 size)
{
	return bpf_xdp_load_bytes(ctx, off, to, size);
}

static __always_inline __u32 frame_length(context *ctx)
{
	return bpf_xdp_get_buff_len(ctx);
}

static __always_inline __u16 stripped_vlan(context *ctx)
{
	(void)ctx;
	return 0;
}

static __always_inline int stripped_tags(context *ctx)
{
	(void)ctx;
	return 0;
}

#define VERDICT_PASS XDP_PASS
#define VERDICT_DROP XDP_DROP

#endif

/*
 * bound keeps clang from proving a mask redundant: old verifiers can't follow
 * its reasons. mask is all ones.
 */
#define bound(x, mask)                                                                             \
	({                                                                                         \
		__u32 bounded = (x);                                                               \
		asm volatile("%0 &= %1" : "+r"(bounded) : "i"(mask));                              \
		bounded;                                                                           \
	})

/*
 * forget returns x, and the verifier no longer knows that it does. Where ways of
 * different constants meet it would walk what follows once for each of them.
 * noise is any number that it doesn't know either.
 */
#define forget(x, noise)                                                                           \
	({                                                                                         \
		__u32 forgotten = (x);                                                             \
		asm volatile("%0 ^= %1; %0 ^= %1" : "+r"(forgotten) : "r"((__u32)(noise)));        \
		forgotten;                                                                         \
	})

/*
 * Comparisons that are 1 or 0 without a branch, for values of 32 bits: a CPU can't
 * guess wrong, and the verifier has one way to walk and not two. Left alone, clang
 * would make branches of them again.
 */
#define opaque(x)                                                                                  \
	({                                                                                         \
		__u64 kept = (x);                                                                  \
		asm volatile("" : "+r"(kept));                                                     \
		kept;                                                                              \
	})
#define is_below(x, y) (opaque((__u64)(x) - (y)) >> 63)
#define is_same(x, y) is_below((__u64)(x) ^ (y), 1)

/* What lies in the first buffer: nearly always all of the frame. */
static __always_inline __u32 linear_length(context *ctx)
{
	return ctx->data_end - ctx->data;
}

/*
 * pull returns size bytes at off, NULL where the frame ends before them. Some
 * drivers split a frame over buffers; bytes beyond the first one are copied.
 */
static __always_inline const void *pull(context *ctx, __u32 off, void *copy, __u32 size)
{
	void *at = (void *)(long)ctx->data + off;

	if (likely(at + size <= (void *)(long)ctx->data_end))
		return at;
	if (load_bytes(ctx, off, copy, size))
		return NULL;
	return copy;
}

/*
 * Header offsets are below this, so that the verifier can follow sums of them.
 * Nothing honest comes near 32 KiB of headers; what does is dropped.
 */
#define MAX_OFFSET 0x7f00

/* pull_at is pull from an offset that was kept, whose bound is forgotten. */
static __always_inline const void *pull_at(context *ctx, __u32 off, void *copy, __u32 size)
{
	return pull(ctx, bound(off, 0x7fff), copy, size);
}
