//go:build !profile

package main

import "io"

// recording does nothing: no daemon that is built for a box can be told to write
// profiles. See profile.go.
func recording(io.Writer) (end func()) { return func() {} }
