/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The part of the kernel's stable interface that the gate uses. Written out
 * here, and not taken from the host's headers, so that the object's bytes
 * depend on nothing but this folder and the compiler.
 * Source: include/uapi/linux/bpf.h and the RFCs named below.
 */
#pragma once

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef int __s32;
typedef unsigned long long __u64;
typedef long long __s64;
typedef __u16 __be16; /* network order */
typedef __u32 __be32;

#define NULL ((void *)0)
#define SEC(name) __attribute__((section(name), used))
#define __always_inline inline __attribute__((always_inline))
#define __noinline __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* Map definitions are read from BTF: numbers as array sizes, types as pointers. */
#define __uint(name, val) int(*name)[val]
#define __type(name, val) typeof(val) *name
#define __array(name, val) typeof(val) *name[]

/* The objects are little-endian only (see bpf.go). */
#define ntohs(x) __builtin_bswap16(x)
#define ntohl(x) __builtin_bswap32(x)

enum xdp_action { XDP_ABORTED, XDP_DROP, XDP_PASS, XDP_TX, XDP_REDIRECT };

/* include/uapi/linux/pkt_cls.h and tcx in bpf.h agree on these values. */
enum tc_action { TC_ACT_UNSPEC = -1, TC_ACT_SHOT = 2 };

struct xdp_md {
	__u32 data;
	__u32 data_end;
	__u32 data_meta;
	__u32 ingress_ifindex;
	__u32 rx_queue_index;
	__u32 egress_ifindex;
};

struct __sk_buff {
	__u32 len;
	__u32 pkt_type;
	__u32 mark;
	__u32 queue_mapping;
	__u32 protocol;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 vlan_proto;
	__u32 priority;
	__u32 ingress_ifindex;
	__u32 ifindex;
	__u32 tc_index;
	__u32 cb[5];
	__u32 hash;
	__u32 tc_classid;
	__u32 data;
	__u32 data_end;
};

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_RINGBUF = 27,

	BPF_F_NO_PREALLOC = 1 << 0,
	BPF_F_RDONLY_PROG = 1 << 7,
	BPF_F_MMAPABLE = 1 << 10,

	BPF_RB_NO_WAKEUP = 1,
};

static void *(*bpf_map_lookup_elem)(const void *map, const void *key) = (void *)1;
static long (*bpf_map_update_elem)(const void *map, const void *key, const void *value,
				   __u64 flags) = (void *)2;
static long (*bpf_map_delete_elem)(const void *map, const void *key) = (void *)3;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)5;
static long (*bpf_tail_call)(void *ctx, const void *map, __u32 index) = (void *)12;
static long (*bpf_skb_load_bytes)(const struct __sk_buff *skb, __u32 off, void *to,
				  __u32 len) = (void *)26;
static __u64 (*bpf_ktime_get_boot_ns)(void) = (void *)125;
static void *(*bpf_ringbuf_reserve)(void *ringbuf, __u64 size, __u64 flags) = (void *)131;
static void (*bpf_ringbuf_submit)(void *data, __u64 flags) = (void *)132;
static __u64 (*bpf_xdp_get_buff_len)(struct xdp_md *ctx) = (void *)188;
static long (*bpf_xdp_load_bytes)(struct xdp_md *ctx, __u32 off, void *to, __u32 len) = (void *)189;

/* IEEE 802.3 and 802.1Q. Types are compared in network order. */
#define ETH_P_IP 0x0008	     /* 0x0800 */
#define ETH_P_IPV6 0xdd86    /* 0x86dd */
#define ETH_P_8021Q 0x0081   /* 0x8100, customer tag */
#define ETH_P_8021AD 0xa888  /* 0x88a8, service tag */
#define ETH_P_PPP_SES 0x6488 /* 0x8864, PPPoE session */

struct ethernet {
	__u8 destination[6];
	__u8 source[6];
	__be16 type;
};

struct vlan {
	__be16 tci; /* priority 3, drop eligible 1, identifier 12 */
	__be16 type;
};

/* RFC 2516 section 4; the PPP protocol follows, in one byte or two. */
struct pppoe {
	__u8 version_type;
	__u8 code;
	__be16 session;
	__be16 length;
};

#define PPP_IP 0x21
#define PPP_IPV6 0x57

/* IANA protocol numbers. */
#define IPPROTO_HOPOPTS 0
#define IPPROTO_ICMP 1
#define IPPROTO_IPIP 4
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_DCCP 33
#define IPPROTO_IPV6 41
#define IPPROTO_ROUTING 43
#define IPPROTO_FRAGMENT 44
#define IPPROTO_GRE 47
#define IPPROTO_AH 51
#define IPPROTO_ICMPV6 58
#define IPPROTO_DSTOPTS 60
#define IPPROTO_SCTP 132
#define IPPROTO_MH 135
#define IPPROTO_UDPLITE 136
#define IPPROTO_HIP 139
#define IPPROTO_SHIM6 140

/* RFC 791 section 3.1. */
struct ipv4 {
	__u8 version_ihl;
	__u8 tos;
	__be16 total_length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__be32 source;
	__be32 destination;
};

/* RFC 791 section 3.1, options: copied, class, number in one byte. */
#define IPV4_OPTION_END 0
#define IPV4_OPTION_NOP 1
#define IPV4_OPTION_LSRR 131
#define IPV4_OPTION_SSRR 137

#define ICMP_REDIRECT 5	    /* RFC 792 */
#define ICMPV6_REDIRECT 137 /* RFC 4861 section 4.5 */

/* RFC 2784 and 2890; flags and version in the order of the wire. */
struct gre {
	__u8 flags;
	__u8 version;
	__be16 type;
};

#define GRE_CHECKSUM 0x80
#define GRE_ROUTING 0x40 /* RFC 1701 */
#define GRE_KEY 0x20
#define GRE_SEQUENCE 0x10
#define GRE_VERSION 0x07

#define IPV4_MORE_FRAGMENTS 0x2000
#define IPV4_OFFSET 0x1fff

/* RFC 8200 section 3. */
struct ipv6 {
	__be32 version_flow;
	__be16 payload_length;
	__u8 next;
	__u8 hop_limit;
	__be32 source[4];
	__be32 destination[4];
};

/* The first 8 bytes that every header of RFC 8200 section 4 begins with. */
struct extension {
	__u8 next;
	__u8 length; /* unit and bias depend on the header */
	__be16 word; /* of a fragment: offset 13, reserved 2, more 1; of routing: type 8 first */
	__be32 rest; /* of a fragment: identification */
};

/* RFC 768. */
struct udp {
	__be16 source;
	__be16 destination;
	__be16 length;
	__be16 checksum;
};

#define TCP_SYN 0x02
#define TCP_ACK 0x10

/* RFC 9293 section 3.1. */
struct tcp {
	__be16 source;
	__be16 destination;
	__be32 sequence;
	__be32 acknowledgement;
	__u8 offset; /* high four bits, in 4-byte words */
	__u8 flags;
	__be16 window;
	__be16 checksum;
	__be16 urgent;
};
