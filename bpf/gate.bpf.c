//go:build ignore

// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The gate in the driver. The root is attached once and stays: some drivers
 * restart the port whenever their program changes (igc, fec, dpaa2). What it
 * dispatches to can be replaced at any time, and a new policy is not even that,
 * but a new image behind the pointer in `generation`.
 */
#include "leave.h"

/* Types that no map declares in full, for bpf2go. */
const struct drop *unused_drop __attribute__((unused));
const struct entry *unused_entry __attribute__((unused));
const struct deep *unused_deep __attribute__((unused));
const enum reason *unused_reason __attribute__((unused));
const enum service *unused_service __attribute__((unused));
const enum format *unused_format __attribute__((unused));
const enum table *unused_table __attribute__((unused));
const enum class *unused_class __attribute__((unused));
const enum place *unused_place __attribute__((unused));
const enum geometry *unused_geometry __attribute__((unused));
const enum media_guard *unused_media_guard __attribute__((unused));
const enum word *unused_word __attribute__((unused));

/* One slot: the program below. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} programs SEC(".maps");

SEC("xdp.frags")
int gate(struct xdp_md *ctx)
{
	return guard(ctx);
}

/*
 * The slot is empty only where somebody has removed the pins by hand. There is
 * no way then to tell what is allowed: the standard ports are shut, and what
 * would take more than a look at the ports is dropped. It calls no function, so
 * that it can be loaded without a JIT, beside a tail call.
 */
static __always_inline int judge_closed(struct xdp_md *ctx)
{
	struct packet p = { .length = linear_length(ctx) };
	union scratch scratch;
	int reason = parse_ethernet(ctx, &p, &scratch);
	const struct udp *ports;
	__u8 protocol;

	if (reason != GO_ON)
		return reason;
	if (p.type == ETH_P_IP) {
		const struct ipv4 *ip = pull(ctx, p.at, &scratch, sizeof(*ip));

		if (!ip || ip->version_ihl != 0x45 ||
		    ntohs(ip->fragment) & (IPV4_OFFSET | IPV4_MORE_FRAGMENTS))
			return REASON_NO_RULES;
		protocol = ip->protocol;
		p.at += sizeof(*ip);
	} else if (p.type == ETH_P_IPV6) {
		const struct ipv6 *ip = pull(ctx, p.at, &scratch, sizeof(*ip));

		if (!ip)
			return REASON_NO_RULES;
		protocol = ip->next;
		p.at += sizeof(*ip);
	} else {
		return REASON_NOT_IP;
	}
	if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
		return REASON_OTHER_PROTOCOL;
	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return REASON_NO_RULES;
	ports = pull(ctx, p.at, &scratch, sizeof(*ports));
	return ports ? judge_without_rules(ports->destination) : REASON_NO_RULES;
}

SEC("xdp.frags")
int root(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &programs, 0);
	return judge_closed(ctx) < REASON_NOT_IP ? XDP_DROP : XDP_PASS;
}

char gate_license[] SEC("license") = "Dual BSD/GPL";
