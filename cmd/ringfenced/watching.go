package main

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"sync"
	"time"

	"github.com/ringfence/ringfence/appliance/inspector"
	"github.com/ringfence/ringfence/appliance/store"
)

// keepEvery is how long what the inspector learned of its users may be on no disk:
// after a power cut so much of it is learned again.
const keepEvery = time.Minute

// watching runs the inspector's watch and keeps what a restart must not lose.
type watching struct {
	watch *inspector.Watch
	disk  *store.Store
	log   *slog.Logger
	last  []byte // as it is on disk
}

// restore begins with what was kept. Where that can't be used, everything is
// learned anew.
func (w *watching) restore() {
	note, err := w.disk.Accounts(w.watch.Restore)
	if err != nil && !errors.Is(err, fs.ErrNotExist) || note != "" {
		w.log.Warn("accounts are learned anew", "err", err, "note", note)
	}
}

func (w *watching) run(ctx context.Context) error {
	var task sync.WaitGroup
	defer task.Wait()
	task.Go(func() { w.keepOften(ctx) })
	return w.watch.Run(ctx)
}

func (w *watching) keepOften(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.keep()
		case <-ctx.Done():
			w.keep()
			return
		}
	}
}

// keep writes what has changed.
func (w *watching) keep() {
	data, err := w.watch.Memory()
	if err == nil && !bytes.Equal(data, w.last) {
		err = w.disk.PutAccounts(data)
	}
	if err != nil {
		w.log.Error("keep the accounts that were learned", "err", err)
		return
	}
	w.last = data
}
