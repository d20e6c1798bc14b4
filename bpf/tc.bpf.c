//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The gate in the stack's own hooks. ingress is the same judge for interfaces
 * whose driver has no native XDP. egress is what remembers, on every WAN
 * interface, the flows that begin inside, so that replies to them pass, also
 * where their local port happens to be a guarded one: a phone behind the box
 * may well send from 5060. It runs behind NAT, and drops nothing but the media of
 * calls that were cut.
 */
#define GATE_TC
#include "leave.h"

SEC("tc")
int ingress(struct __sk_buff *ctx)
{
	return guard(ctx);
}

/* An answer begins no flow, or who is answered once would be let in for good. */
static __always_inline int answers(context *ctx, const struct packet *p)
{
	static const char status[8] = "SIP/2.0 "; /* RFC 3261 section 7.2 */
	__u64 head, want;

	if (!p->payload || p->payload + 8 > p->end || load_bytes(ctx, p->payload, &head, 8))
		return 0;
	__builtin_memcpy(&want, status, 8);
	return head == want;
}

/*
 * Whether a datagram from a guarded port begins a flow. Who may come in anyway
 * needs none: what is taken from the allowlist shall not live on as a flow.
 */
static __always_inline int begins(context *ctx, const struct packet *p, const struct image *image,
				  const struct address *remote, enum service service)
{
	__u32 class = allowed(image, remote);

	if (service == SERVICE_OPEN)
		return !(class & SERVICES_MASK) && !is_banned(remote) && listed(image, remote);
	return !(class >> service & 1) && !answers(ctx, p);
}

/* A telephone that registers anywhere can be called from there. */
static __always_inline int asks(context *ctx, const struct packet *p)
{
	union scratch scratch;

	return !is_tcp(p) && may_look_like_sip(ctx, p, &scratch) &&
	       looks_like_sip(ctx, p->payload, p->end);
}

/* What holds a NAT's binding open between requests: empty lines, zeros, STUN. */
#define KEEPALIVE 32

static __always_inline int keeps_alive(const struct packet *p)
{
	return p->payload && !is_tcp(p) && p->end - p->payload <= KEEPALIVE;
}

static __always_inline void renew(const struct flow *key)
{
	__u64 now = bpf_ktime_get_boot_ns();
	__u64 *seen = bpf_map_lookup_elem(&flows, key);

	if (seen)
		*seen = now;
}

static __always_inline void remember(const struct flow *key)
{
	__u64 now = bpf_ktime_get_boot_ns();

	bpf_map_update_elem(&flows, key, &now, 0);
}

static __noinline void observe_ports(context *ctx, const struct packet *p)
{
	const struct image *image = current_image();
	__be16 ports[2]; /* local, remote */
	struct address remote;
	struct flow key;
	__u32 service;

	if (load_bytes(ctx, p->l4, ports, sizeof(ports)) ||
	    !fetch_address(ctx, p, DESTINATION_OFF(p), &remote) ||
	    !flow_key(ctx, p, DESTINATION_OFF(p), ports[1], ports[0], &key))
		return;
	service = image ? service_of(image, ports[0]) : 0;
	if (!service && image && image->media && p->protocol == IPPROTO_UDP)
		ask_for_media(&key);
	if (opens(p))
		remember(&key);
	else if (service && is_tcp(p))
		renew(&key);
	else if (service && begins(ctx, p, image, &remote, service - 1))
		remember(&key);
	else if (!service && asks(ctx, p))
		remember(&key);
	else if (!service && keeps_alive(p))
		renew(&key);
	else
		return;
	if (service || !image)
		front_add(&flow_front, flow_hash(&remote, ports[1], ports[0]));
}

static __noinline void observe_tunnel(context *ctx, const struct packet *p)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct flow key;

	if (flow_key(ctx, p, DESTINATION_OFF(p), 0, 0, &key))
		bpf_map_update_elem(&flows, &key, &now, 0);
}

SEC("tc")
int egress(struct __sk_buff *ctx)
{
	struct packet p = { .length = linear_length(ctx) };
	union scratch scratch;
	int reason = parse_frame(ctx, &p, &scratch);

	if (reason == GO_ON && p.protocol == IPPROTO_UDP && unlikely(cuts_in_force()) &&
	    is_cut(ctx, &p, 1)) {
		count(REASON_MEDIA_CUT_OUT, p.length);
		return TC_ACT_SHOT;
	}
	if (reason == GO_ON)
		observe_ports(ctx, &p);
	else if (reason == GO_IN)
		observe_tunnel(ctx, &p);
	return TC_ACT_UNSPEC;
}

char tc_license[] SEC("license") = "Dual BSD/GPL";
