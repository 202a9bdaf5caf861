package main

import (
	"net"
	"sync"
	"sync/atomic"
)

// budget is a number of bytes that all who hold some share.
type budget struct {
	most int64
	held atomic.Int64
}

// take says whether there was room for so many bytes more; if so, they are held.
func (b *budget) take(bytes int64) bool {
	if b.held.Add(bytes) > b.most && b.most > 0 {
		b.held.Add(-bytes)
		return false
	}
	return true
}

// takeOrAlone is take for bytes that are here already: if nobody else holds any, they may be more.
func (b *budget) takeOrAlone(bytes int64) bool {
	if held := b.held.Add(bytes); held > b.most && held > bytes && b.most > 0 {
		b.held.Add(-bytes)
		return false
	}
	return true
}

func (b *budget) giveBack(bytes int64) { b.held.Add(-bytes) }

// limitedListener closes connections above a number at once: those that are open go on, and the
// process never runs out of file descriptors.
type limitedListener struct {
	net.Listener
	most int64
	open *atomic.Int64
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) > l.most {
			l.open.Add(-1)
			conn.Close()
			continue
		}
		return &countedConn{Conn: conn, open: l.open}, nil
	}
}

// countedConn gives its place back once it is closed.
type countedConn struct {
	net.Conn
	open *atomic.Int64
	once sync.Once
}

func (c *countedConn) Close() error {
	c.once.Do(func() { c.open.Add(-1) })
	return c.Conn.Close()
}

// CloseWrite lets Go's HTTP server end an answer before it closes a connection with unread data:
// otherwise the client's side would throw the answer away.
func (c *countedConn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
