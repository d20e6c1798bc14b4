// Package bpf is the XDP program of the gate in C, and what bpf2go generates
// from it. There is no logic in Go here; package gate loads and drives it.
//
// One object serves every little-endian CPU that the firmware is built for
// (x86, arm64 and 32-bit arm): the program touches nothing of the CPU's own, so
// objects for each of them would hold the same bytes.
//
// The object is committed, and CI generates it again and fails on a
// difference. Its bytes depend on the compiler's version alone: -nostdinc keeps
// the host's headers out, the identification string is left out, and DWARF is
// stripped. Debian 12 and 13 both carry LLVM 19.1.7 as clang-19 and llvm-19, and
// both builds of it emit these bytes; hence those names below. The default clang
// of Debian 12 is 14, which emits other (equally valid) code.
package bpf

//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -tags linux -target bpfel -type reason -type service -type format -type table -type class -type place -type geometry -type media_guard -type media -type image -type limit -type shape -type entry -type word -type deep -type flow -type fragment -type source -type ban -type front -type tally -type cell -type drop -type control Gate gate.bpf.c -- -O2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
//go:generate go tool bpf2go -cc clang-19 -strip llvm-strip-19 -tags linux -target bpfel -no-global-types TC tc.bpf.c -- -O2 -mcpu=v3 -nostdinc -Wall -Wextra -Werror
