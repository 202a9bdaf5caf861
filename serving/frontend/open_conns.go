package main

import (
	"sync"
	"sync/atomic"
	"time"
)

// lookEvery is how often connections are looked at.
const lookEvery = 50 * time.Millisecond

// watched is a connection of a port.
type watched interface {
	comparable
	// serve ends with the connection.
	serve()
	// lookAt ends what has taken too long.
	lookAt(now time.Duration)
}

// openConns are the connections of a port. All are looked at again and again: which of them has
// waited too long, and whose client has gone. No request needs a timer or a second reader for that.
type openConns[C watched] struct {
	started time.Time
	// now is the time since then, as last looked: nothing here needs it to be exact.
	now atomic.Int64

	lock     sync.Mutex
	conns    map[C]struct{}
	watching bool
	// none is closed once there is no connection, if somebody waits for that.
	none chan struct{}
}

// begin has the clock go. The lock is held; `keep` follows, unless nothing comes of a connection.
func (o *openConns[C]) begin() {
	if o.conns == nil {
		o.started, o.conns = time.Now(), map[C]struct{}{}
	}
	if !o.watching {
		o.watching = true
		o.look()
		go o.watch()
	}
}

// keep serves a connection until its end. The lock is held.
func (o *openConns[C]) keep(c C) {
	o.conns[c] = struct{}{}
	go func() {
		c.serve()
		o.lock.Lock()
		defer o.lock.Unlock()
		delete(o.conns, c)
		if len(o.conns) == 0 && o.none != nil {
			close(o.none)
			o.none = nil
		}
	}()
}

// clock returns the time since the port's first connection, some `lookEvery` late.
func (o *openConns[C]) clock() time.Duration { return time.Duration(o.now.Load()) }

func (o *openConns[C]) look() time.Duration {
	now := time.Since(o.started)
	o.now.Store(int64(now))
	return now
}

// watch looks at all connections while there are any.
func (o *openConns[C]) watch() {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for range ticker.C {
		now := o.look()
		o.lock.Lock()
		if len(o.conns) == 0 {
			o.watching = false
			o.lock.Unlock()
			return
		}
		for c := range o.conns {
			c.lookAt(now)
		}
		o.lock.Unlock()
	}
}

// awaitNone waits until there is no connection; false: there are some after that time.
func (o *openConns[C]) awaitNone(limit time.Duration) bool {
	none := make(chan struct{})
	o.lock.Lock()
	if len(o.conns) == 0 {
		o.lock.Unlock()
		return true
	}
	o.none = none
	o.lock.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-none:
		return true
	case <-timer.C:
		return false
	}
}
