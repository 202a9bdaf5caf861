package main

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// smallReserve is room for small answers beside large ones that nobody takes.
	smallReserve = 32 << 20
	// patience is how long a client may take nothing of its answers.
	patience = 30 * time.Second
	// leastTaken is what it must take meanwhile: pings are no progress.
	leastTaken = 4 << 10
)

// answers are the bytes of all answers that Python has given and that clients have not taken yet.
// Python counts them no longer.
type answers struct {
	most int64
	held atomic.Int64
}

// take says whether there was room for an answer; one alone may be larger.
func (a *answers) take(size int64) bool {
	room := a.most
	if size <= largeBytes {
		room += smallReserve
	}
	if held := a.held.Add(size); a.most > 0 && held > room && held > size {
		a.held.Add(-size)
		return false
	}
	return true
}

func (a *answers) giveBack(size int64) { a.held.Add(-size) }

// trackedConn is a connection that knows what it has to send: it gives its place back once it is
// closed, and is closed when its client takes nothing of an answer.
type trackedConn struct {
	net.Conn
	open    *atomic.Int64
	answers *answers
	written atomic.Int64

	lock     sync.Mutex
	unsent   int64
	watching bool
	closed   bool
}

func (c *trackedConn) Write(data []byte) (int, error) {
	count, err := c.Conn.Write(data)
	c.written.Add(int64(count))
	return count, err
}

func (c *trackedConn) Close() error {
	c.lock.Lock()
	if !c.closed {
		c.closed = true
		c.open.Add(-1)
		c.answers.giveBack(c.unsent)
	}
	c.lock.Unlock()
	return c.Conn.Close()
}

// CloseWrite ends what is sent: the client reads an answer to its end before the connection is closed
// with unread data, by which it would be thrown away.
func (c *trackedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// carry holds an answer until `carried`, or until the connection is closed; false: no room.
func (c *trackedConn) carry(size int64) bool {
	if !c.answers.take(size) {
		return false
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.closed {
		c.answers.giveBack(size)
		return true
	}
	c.unsent += size
	if !c.watching {
		c.watching = true
		c.watch(patience)
	}
	return true
}

func (c *trackedConn) carried(size int64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	if !c.closed {
		c.unsent -= size
		c.answers.giveBack(size)
	}
}

// watch closes the connection if by then nothing of its answers was taken.
func (c *trackedConn) watch(after time.Duration) {
	before := c.written.Load()
	time.AfterFunc(after, func() {
		c.lock.Lock()
		stalled := c.unsent > 0 && c.written.Load()-before < leastTaken
		if c.watching = c.unsent > 0 && !stalled && !c.closed; c.watching {
			c.watch(after)
		}
		c.lock.Unlock()
		if stalled {
			c.Close()
		}
	})
}
