package main

import (
	"log/slog"

	"github.com/ringfence/ringfence/appliance"
	"github.com/ringfence/ringfence/appliance/certificate"
	"github.com/ringfence/ringfence/appliance/control"
	"github.com/ringfence/ringfence/appliance/hep"
	"github.com/ringfence/ringfence/appliance/inspector"
	"github.com/ringfence/ringfence/appliance/network"
	"github.com/ringfence/ringfence/appliance/store"
	"github.com/ringfence/ringfence/appliance/watch"
)

// telephony is the inspector with all that it works with.
type telephony struct {
	sip     *proxy
	users   *watching
	tls     identities
	copies  *hep.Exporter
	engine  *watch.Watch
	letters *post
	known   *facts
}

func newTelephony(box *control.Control, disk *store.Store, wan *perimeter, report func(appliance.Event), shut <-chan struct{}, e env, log *slog.Logger) (*telephony, error) {
	visitors, err := inspector.NewWatch(box.Rules, report, box.ShutOut, e.now)
	if err != nil {
		return nil, err
	}
	t := &telephony{
		users:  &watching{watch: visitors, disk: disk, log: log},
		copies: hep.New(report, e.now),
		tls:    identities{certificate.New(certificate.Config{Shelf: disk, Now: e.now, Addresses: network.Addresses}, report), box},
		known:  &facts{},
	}
	t.users.restore()
	if t.letters, err = newPost(box, disk.Outbox(), disk, report, e, log); err != nil {
		return nil, err
	}
	if t.engine, err = newFraud(box, disk, t.letters, t.known, report, e, log); err != nil {
		return nil, err
	}
	parts := inspector.Parts{Keys: t.tls.keys, Report: report, Watch: visitors, Behaviour: t.engine, Media: media{wan}}
	t.sip = newProxy(box, parts, t.copies, shut, e.now)
	t.known.sip = t.sip
	return t, nil
}
