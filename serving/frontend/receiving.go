package main

import (
	"context"
	"errors"
	"runtime"
	"runtime/metrics"
	"sync"
	"time"
)

const (
	// watchEvery is how often memory is looked at while messages come in.
	watchEvery  = 20 * time.Millisecond
	heapObjects = "/memory/classes/heap/objects:bytes"
)

var errTooMuch = errors.New("too much waits")

// receiving are the calls whose messages are coming in. gRPC's library gathers a message before it
// shows any of it, so that nobody can count its bytes beforehand. Instead memory is watched, and
// when there is too much of it the latest calls are given up.
type receiving struct {
	most    int64
	answers *answers

	lock    sync.Mutex
	last    uint64
	cancels map[uint64]context.CancelCauseFunc
	watched bool
}

func newReceiving(most int64, answers *answers) *receiving {
	return &receiving{most: most, answers: answers, cancels: map[uint64]context.CancelCauseFunc{}}
}

// cancelKey is where a call's context has what ends it.
type cancelKey struct{}

// cancellable returns a context for a call that `begin` can be told of.
func (r *receiving) cancellable(ctx context.Context) context.Context {
	if r.most <= 0 {
		return ctx
	}
	ctx, cancel := context.WithCancelCause(ctx)
	return context.WithValue(ctx, cancelKey{}, cancel)
}

// begin counts a call until the function that it returns is called.
func (r *receiving) begin(ctx context.Context) (end func()) {
	cancel, ok := ctx.Value(cancelKey{}).(context.CancelCauseFunc)
	if !ok {
		return func() {}
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	r.last++
	id := r.last
	r.cancels[id] = cancel
	if !r.watched {
		r.watched = true
		time.AfterFunc(watchEvery, r.watch)
	}
	return func() {
		r.lock.Lock()
		delete(r.cancels, id)
		r.lock.Unlock()
	}
}

// watch gives up the latest call while there is too much, and looks again for as long as messages
// come in.
func (r *receiving) watch() {
	if r.isTooMuch() {
		runtime.GC()
		if r.isTooMuch() {
			r.giveUpOne()
		}
	}
	r.lock.Lock()
	defer r.lock.Unlock()
	if r.watched = len(r.cancels) > 0; r.watched {
		time.AfterFunc(watchEvery, r.watch)
	}
}

func (r *receiving) isTooMuch() bool {
	return heapBytes() > r.most+r.answers.held.Load()+ownBytes
}

func (r *receiving) giveUpOne() {
	r.lock.Lock()
	defer r.lock.Unlock()
	var latest uint64
	for id := range r.cancels {
		latest = max(latest, id)
	}
	// One alone may be larger: Python has a word for it then.
	if cancel := r.cancels[latest]; cancel != nil && len(r.cancels) > 1 {
		cancel(errTooMuch)
		delete(r.cancels, latest)
	}
}

func heapBytes() int64 {
	sample := []metrics.Sample{{Name: heapObjects}}
	metrics.Read(sample)
	return int64(sample[0].Value.Uint64())
}
