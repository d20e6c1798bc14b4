package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/control/api"
)

func (a *app) top() *cobra.Command {
	var window string
	var limit int
	cmd := command("top", "who knocks most often, and the calls in progress; live on a terminal, q leaves", cobra.NoArgs,
		func(ctx context.Context, _ []string) error {
			answer, err := a.client().Top(ctx, window, limit)
			if err != nil {
				return err
			}
			if a.view.live && !a.json {
				return a.watch(ctx, answer, limit)
			}
			return show(a, answer, func(answer api.Top) { a.printTop(answer, nil) })
		})
	cmd.Flags().StringVar(&window, "window", "5m", "over the last `span`: 5m, 1h or 24h")
	cmd.Flags().IntVar(&limit, "limit", 8, "lines of each ranking")
	return cmd
}

// Control sequences of a terminal (ECMA-48 and xterm's private modes).
const (
	enterScreen = "\x1b[?1049h\x1b[?25l" // the other screen, no cursor
	leaveScreen = "\x1b[?25h\x1b[?1049l"
	topLeft     = "\x1b[H"
	clearBelow  = "\x1b[J"
	clearRight  = "\x1b[K"
)

// watch redraws in place, once a second, until q is pressed or ctx ends.
func (a *app) watch(ctx context.Context, answer api.Top, limit int) error {
	keys, err := readKeys(int(a.env.stdin.Fd()))
	if err != nil {
		return fmt.Errorf("read the keyboard: %w", err)
	}
	defer keys.restore()
	fmt.Fprint(a.env.stdout, enterScreen)
	defer fmt.Fprint(a.env.stdout, leaveScreen)
	var before *api.Top
	for {
		a.view.now = a.env.now()
		a.view.measure()
		a.printTop(answer, before)
		a.view.picture()
		fmt.Fprint(a.env.stdout, topLeft)
		if err := a.view.flush(); err != nil {
			return err
		}
		fmt.Fprint(a.env.stdout, clearRight+clearBelow)
		if keys.quit() || ctx.Err() != nil {
			return nil
		}
		last := answer
		before = &last
		if answer, err = a.client().Top(ctx, answer.Window, limit); err != nil {
			return err
		}
	}
}

// printTop writes one picture; before is the one before it, for rates.
func (a *app) printTop(t api.Top, before *api.Top) {
	v := a.view
	blocked, passed := totals(t.Tallies)
	rate := ""
	if before != nil {
		was, _ := totals(before.Tallies)
		if span := t.Time.Sub(before.Time).Seconds(); span > 0 {
			rate = fmt.Sprintf(", %.0f a second", float64(blocked-min(was, blocked))/span)
		}
	}
	v.line(cell{v.when(t.Time), dim}, cell{fmt.Sprintf("  %d packets dropped%s", blocked, rate), bold},
		cell{fmt.Sprintf(", %d let through, %d calls in progress", passed, len(t.Live)), plain})
	v.line()
	a.printTallies(t.Tallies, t.Refusals)
	v.line()
	if rows := rankings(t); len(rows) > 0 {
		v.line(cell{fmt.Sprintf("Dropped in the last %s:", t.Window), dim})
		v.table([]string{"SOURCE", "SHARE", "PORT", "SHARE", "REASON", "PACKETS"}, rows)
		v.line()
	}
	var rows [][]cell
	for _, c := range t.Live {
		rows = append(rows, []cell{{c.ID, dim}, {length(t.Time.Sub(c.Start)), plain}, {orDash(c.From), plain},
			{orDash(either(c.Number, c.Dialled)), bold}, {orDash(c.Label), plain}, {talk(c), plain}})
	}
	if len(rows) == 0 {
		v.line(cell{"No calls in progress.", dim})
		return
	}
	v.table([]string{"ID", "SINCE", "FROM", "NUMBER", "WHERE", "STATE"}, rows)
}

func totals(tallies appliance.Tallies) (blocked, passed uint64) {
	for reason, tally := range tallies {
		if reason.Verdict() == appliance.Block {
			blocked += tally.Packets
		} else {
			passed += tally.Packets
		}
	}
	return blocked, passed
}

// rankings puts the three side by side. Shares are of the packets that the
// samples stand for; reasons are counted one by one.
func rankings(t api.Top) [][]cell {
	var rows [][]cell
	for i := range max(len(t.Sources), len(t.Ports), len(t.Reasons)) {
		row := make([]cell, 6)
		if i < len(t.Sources) {
			row[0], row[1] = cell{t.Sources[i].Key, bold}, cell{share(t.Sources[i], t.Packets), plain}
		}
		if i < len(t.Ports) {
			row[2], row[3] = cell{t.Ports[i].Key, plain}, cell{share(t.Ports[i], t.Packets), plain}
		}
		if i < len(t.Reasons) {
			row[4], row[5] = cell{t.Reasons[i].Key, plain}, cell{fmt.Sprint(t.Reasons[i].Count), plain}
		}
		rows = append(rows, row)
	}
	return rows
}

// share is what a key has at least and at most, of so many.
func share(one api.Count, of uint64) string {
	percent := func(n uint64) float64 { return 100 * float64(n) / float64(max(of, 1)) }
	least, most := fmt.Sprintf("%.0f", percent(one.Count-min(one.Over, one.Count))), fmt.Sprintf("%.0f", percent(min(one.Count, of)))
	if least == most {
		return most + " %"
	}
	return least + "-" + most + " %"
}

// keys reads single key strokes.
type keys struct {
	fd     int
	before unix.Termios
}

// refreshTenths is the pause between two pictures, in tenths of a second: the
// time that a read waits for a key (termios(3), VTIME).
const refreshTenths = 10

// readKeys has the terminal hand over every key at once, unseen.
func readKeys(fd int) (*keys, error) {
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	raw := *before
	raw.Lflag &^= unix.ICANON | unix.ECHO
	raw.Cc[unix.VMIN], raw.Cc[unix.VTIME] = 0, refreshTenths
	return &keys{fd, *before}, unix.IoctlSetTermios(fd, unix.TCSETS, &raw)
}

func (k *keys) restore() { _ = unix.IoctlSetTermios(k.fd, unix.TCSETS, &k.before) }

// quit waits for a key, for the pause at most, and reports whether it was q.
func (k *keys) quit() bool {
	var key [1]byte
	n, err := unix.Read(k.fd, key[:])
	if err != nil || n == 0 {
		time.Sleep(tooQuick(err))
		return false
	}
	return key[0] == 'q' || key[0] == 'Q'
}

// tooQuick keeps a keyboard that has gone from turning the loop into a busy one.
func tooQuick(err error) time.Duration {
	if err == nil || errors.Is(err, unix.EINTR) {
		return 0
	}
	return time.Second
}
