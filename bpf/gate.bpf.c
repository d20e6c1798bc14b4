//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The gate: decides for each frame that enters on the WAN whether its source
 * may speak to a guarded port. The program is attached once and stays; a new
 * policy is a new image behind the one pointer in `generation`.
 *
 * Only the destination port decides. A source port proves nothing, since its
 * sender picks it. Replies to connections that begin behind the gate come to
 * the local port of that connection, which therefore must not be a guarded
 * one: package network reserves the guarded ports (ip_local_reserved_ports),
 * so that the box never picks one by chance (50600 lies in the usual range).
 */
#include "parse.h"

/* One slot: the image in force. The template's size is that of every image. */
struct image_map {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_RDONLY_PROG | BPF_F_MMAPABLE); /* page aligned */
	__type(key, __u32);
	__type(value, struct image);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct image_map);
} generation SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, REASONS);
	__type(key, enum reason);
	__type(value, struct tally);
} tallies SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct credit);
} credits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} drops SEC(".maps");

/* Types that no map declares in full, for bpf2go. */
const struct image *unused_image __attribute__((unused));
const struct drop *unused_drop __attribute__((unused));
const enum service *unused_service __attribute__((unused));
const enum format *unused_format __attribute__((unused));

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

/* Keeps clang from proving the mask redundant: old verifiers can't follow. */
static __always_inline __u32 run_index(__u32 i)
{
	asm volatile("%0 &= %1" : "+r"(i) : "i"(RUNS - 1));
	return i;
}

static __always_inline __u8 find_v4(const struct image *image, __be32 source)
{
	__u32 key = ntohl(source), at = 0, step = image->v4_step;

	for (int i = 0; i < RUNS_BITS && step; i++, step >>= 1) {
		__u32 next = run_index(at + step);

		if (next < image->v4_runs && image->v4_first[next] <= key)
			at = next;
	}
	return image->v4_services[run_index(at)];
}

static __always_inline __u8 find_v6(const struct image *image, const __be32 *source)
{
	__u64 high = (__u64)ntohl(source[0]) << 32 | ntohl(source[1]);
	__u64 low = (__u64)ntohl(source[2]) << 32 | ntohl(source[3]);
	__u32 at = 0, step = image->v6_step;

	for (int i = 0; i < RUNS_BITS && step; i++, step >>= 1) {
		__u32 next = run_index(at + step);
		const struct address6 *first = &image->v6_first[next];

		if (next >= image->v6_runs || first->high > high)
			continue;
		if (first->high < high || first->low <= low)
			at = next;
	}
	return image->v6_services[run_index(at)];
}

static __always_inline __u8 find(struct xdp_md *ctx, struct packet *p, const struct image *image)
{
	if (p->version == 4) {
		struct ipv4 copy;
		const struct ipv4 *ip = pull(ctx, p->ip, &copy, sizeof(copy));

		return ip ? find_v4(image, ip->source) : 0;
	}
	struct ipv6 copy;
	const struct ipv6 *ip = pull(ctx, p->ip, &copy, sizeof(copy));

	return ip ? find_v6(image, ip->source) : 0;
}

static __always_inline int serves(const struct image *image, enum service service, __be16 port)
{
	return image->port_bits[service][port >> 3] >> (port & 7) & 1;
}

static __always_inline const struct image *current_image(void)
{
	__u32 zero = 0;
	void *inner = bpf_map_lookup_elem(&generation, &zero);
	const struct image *image;

	if (!inner)
		return NULL;
	image = bpf_map_lookup_elem(inner, &zero);
	if (!image || image->magic != FORMAT_MAGIC || image->layout != FORMAT_LAYOUT ||
	    !image->ports)
		return NULL;
	return image;
}

static __always_inline int judge(struct xdp_md *ctx, struct packet *p)
{
	const struct image *image;
	int reason = parse(ctx, p);

	if (reason != GO_ON)
		return reason;
	image = current_image();
	if (unlikely(!image))
		return judge_without_rules(p->port);
	if (serves(image, SERVICE_SIP, p->port))
		return find(ctx, p, image) >> SERVICE_SIP & 1 ? REASON_SIP_ALLOWED :
								REASON_SIP_SOURCE;
	if (serves(image, SERVICE_HTTP, p->port))
		return find(ctx, p, image) >> SERVICE_HTTP & 1 ? REASON_HTTP_ALLOWED :
								 REASON_HTTP_SOURCE;
	return REASON_NOT_GUARDED;
}

/* Reads the frame again, so that the packets that pass keep nothing for it. */
static __always_inline void fill(struct xdp_md *ctx, struct packet *p, struct drop *d)
{
	__builtin_memset(d, 0, sizeof(*d));
	d->length = p->length;
	d->ifindex = ctx->ingress_ifindex;
	d->vlan = p->vlan;
	d->version = p->version;
	d->protocol = p->protocol;
	if (p->version == 4) {
		bpf_xdp_load_bytes(ctx, p->ip + 12, d->source, 4);
		bpf_xdp_load_bytes(ctx, p->ip + 16, d->destination, 4);
	} else if (p->version == 6) {
		bpf_xdp_load_bytes(ctx, p->ip + 8, d->source, 32); /* both */
	}
	if (p->l4)
		bpf_xdp_load_bytes(ctx, p->l4, &d->source_port, 4); /* both */
}

/*
 * There is no clock on this path: the daemon refills the credit at its own
 * pace, and it polls, so that no drop pays for a wake-up. Two CPUs may take the
 * last credit at once; the ring buffer is the hard bound.
 */
static __always_inline void sample(struct xdp_md *ctx, struct packet *p, enum reason reason)
{
	__u32 zero = 0;
	struct credit *credit = bpf_map_lookup_elem(&credits, &zero);
	struct drop *d;

	if (!credit || credit->left <= 0)
		return;
	__sync_fetch_and_add(&credit->left, -1);
	d = bpf_ringbuf_reserve(&drops, sizeof(*d), 0);
	if (!d)
		return;
	fill(ctx, p, d);
	d->reason = reason;
	bpf_ringbuf_submit(d, BPF_RB_NO_WAKEUP);
}

/* The only way out: counts, samples and turns the reason into the verdict. */
static __always_inline int leave(struct xdp_md *ctx, struct packet *p, enum reason reason)
{
	struct tally *tally = bpf_map_lookup_elem(&tallies, &reason);

	if (tally) {
		tally->packets++;
		tally->bytes += p->length;
	}
	if (reason >= REASON_NOT_IP)
		return XDP_PASS;
	sample(ctx, p, reason);
	return XDP_DROP;
}

SEC("xdp.frags")
int gate(struct xdp_md *ctx)
{
	struct packet p = { .length = bpf_xdp_get_buff_len(ctx) };

	return leave(ctx, &p, judge(ctx, &p));
}

char gate_license[] SEC("license") = "Dual BSD/GPL";
