package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ringfence/ringfence/appliance/certificate"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/fetch"
	"github.com/ringfence/ringfence/appliance/gate"
	"github.com/ringfence/ringfence/appliance/health"
	"github.com/ringfence/ringfence/appliance/inspector"
	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/notify"
	"github.com/ringfence/ringfence/appliance/store"
	"github.com/ringfence/ringfence/appliance/watch"
)

// The hands are what the heads ask for.
var (
	_ inspector.Media      = media{}
	_ inspector.Behaviour  = (*watch.Watch)(nil)
	_ control.Watch        = (*watch.Watch)(nil)
	_ control.Audits       = (*store.Store)(nil)
	_ watch.Keeper         = (*store.Store)(nil)
	_ watch.Messenger      = (*post)(nil)
	_ watch.Cutter         = (*facts)(nil)
	_ watch.Facts          = (*facts)(nil)
	_ notify.Spool         = store.Outbox{}
	_ control.Gate         = (*perimeter)(nil)
	_ control.Documents    = (*store.Store)(nil)
	_ control.Lists        = (*store.Store)(nil)
	_ control.Records      = (*store.Store)(nil)
	_ control.Network      = surroundings{}
	_ control.Web          = (*fetch.Fetcher)(nil)
	_ control.Inspector    = (*proxy)(nil)
	_ control.Certificates = identities{}
	_ certificate.Shelf    = (*store.Store)(nil)
	_ control.Health       = (*health.Monitor)(nil)
	_ health.Gate          = (*perimeter)(nil)
	_ health.Inspector     = (*proxy)(nil)
	_ health.Store         = (*store.Store)(nil)
	_ health.Documents     = wanted{}
	_ health.Ports         = ports{}
)

// retention is what the records may take of the data partition: at about 1,200
// bytes a call with its trail, 50,000 of them are 60 MB.
func retention() store.Retention {
	return store.Retention{Age: 90 * 24 * time.Hour, Rows: 50_000, Bytes: 96 << 20}
}

// run is the whole command; its result is the exit status.
func run(ctx context.Context, e env) int {
	c, err := parse(e)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintf(e.stderr, "ringfenced: %v\n", err)
		return 2
	case c.version:
		fmt.Fprintln(e.stdout, version())
		return 0
	case c.detach:
		err = detach(c)
	default:
		err = serve(ctx, e, c)
	}
	if err != nil {
		fmt.Fprintf(e.stderr, "ringfenced: %v\n", err)
		return 1
	}
	return 0
}

// detach takes the gate and the egress lock off, for uninstalling.
func detach(c config) error {
	if conn, err := net.Dial("unix", c.socket); err == nil {
		conn.Close()
		return fmt.Errorf("a daemon answers at %s: stop it first", c.socket)
	}
	return errors.Join(gate.Remove(c.bpffs), network.Open())
}

// task is something long-lived. Run returns nil after ctx ended, and an error
// where the daemon can't go on without it.
type task struct {
	name string
	run  func(ctx context.Context) error
}

// serve is the parts list of the box, in the order in which they depend on each
// other. The gate is shut before any SIP listener opens, and stays attached
// when serve returns.
func serve(ctx context.Context, e env, c config) error {
	log := slog.New(slog.NewTextHandler(e.stderr, nil))
	log.Info("start", "version", version(), "state", c.state)

	disk, err := store.Open(c.state, retention(), e.now)
	if err != nil {
		return fmt.Errorf("open store: %w", err)
	}
	defer closing(log, "store", disk.Close)

	queue := control.NewQueue()
	wan := newPerimeter(c, e, queue.Report)
	defer closing(log, "gate", wan.Close)

	tracker, changed := newTracker(e, queue.Report)
	box := control.New(control.Hands{Gate: wan, Documents: disk, Lists: disk, Records: disk, Network: surroundings{tracker}, Web: fetch.New(fetch.Config{}), Audits: disk}, queue, e.now, log)
	dns := directory{tracker, box, disk, changed, log}
	dns.restore()
	kernel := ports{e.proc}
	shut := newShutting(box, kernel, log)
	shut.try()

	phones, err := newTelephony(box, disk, wan, queue.Report, shut.done, e, log)
	if err != nil {
		return err
	}
	sip := phones.sip
	monitor := health.New(version(), e.now, wanted{box, tracker, phones.tls.keeper, sip, wan}, wan, sip, disk, kernel)
	phones.known.monitor = monitor
	api := control.NewServer(box, sip, phones.engine, monitor, phones.tls, log)
	socket, err := control.Listen(c.socket)
	if err != nil {
		return fmt.Errorf("open control socket: %w", err)
	}
	clock := schedule{box: box, wan: wan, names: dns, kernel: kernel, disk: disk, monitor: monitor, engine: phones.engine, accounts: phones.sip.Accounts, report: queue.Report, now: e.now, log: log}

	err = together(ctx, log, []task{
		{"gate", shut.run},
		{"records", box.Run},
		{"dns", tracker.Run},
		{"names", dns.run},
		{"feeds", fetching{box, shut.done, wait}.run},
		{"certificates", phones.tls.run},
		{"files", phones.tls.keeper.Run},
		{"inspector", sip.run},
		{"behaviour", phones.engine.Run},
		{"notices", phones.letters.run},
		{"guard", phones.users.run},
		{"copies", exporting{box, phones.copies}.run},
		{"samples", func(ctx context.Context) error { return wan.sample(ctx, box.Sample) }},
		{"schedule", clock.run},
		{"links", clock.links},
		{"control", func(ctx context.Context) error { return api.Serve(ctx, socket) }},
	})
	box.Flush()
	log.Info("stop", "gate", "stays attached")
	return err
}

// closing says what could not be put away in order. Nothing can be done then.
func closing(log *slog.Logger, name string, end func() error) {
	if err := end(); err != nil {
		log.Error("close", "part", name, "err", err)
	}
}

// together runs every task until ctx ends or one of them fails, and waits for
// all.
func together(ctx context.Context, log *slog.Logger, tasks []task) error {
	group, ctx := errgroup.WithContext(ctx)
	for _, one := range tasks {
		group.Go(func() error {
			log.Info("task starts", "task", one.name)
			if err := one.run(ctx); err != nil {
				return fmt.Errorf("run %s: %w", one.name, err)
			}
			if ctx.Err() == nil {
				return fmt.Errorf("run %s: it ended by itself", one.name)
			}
			return nil
		})
	}
	return group.Wait()
}
