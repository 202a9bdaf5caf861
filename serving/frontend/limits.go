package main

import (
	"net"
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

// takeMore is take for who has some already: if nobody else holds any, they may be more.
func (b *budget) takeMore(had, bytes int64) bool {
	if held := b.held.Add(bytes); held > b.most && held > had+bytes && b.most > 0 {
		b.held.Add(-bytes)
		return false
	}
	return true
}

func (b *budget) giveBack(bytes int64) { b.held.Add(-bytes) }

// limit is the most connections of all ports together, and what they share.
type limit struct {
	most    int64
	open    *atomic.Int64
	answers *answers
}

func (l limit) of(listener net.Listener) net.Listener { return &limitedListener{listener, l} }

// limitedListener closes connections above a number at once: those that are open go on, and the
// process never runs out of file descriptors.
type limitedListener struct {
	net.Listener
	limit
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if open := l.open.Add(1); open > l.most && l.most > 0 {
			l.open.Add(-1)
			conn.Close()
			continue
		}
		return &trackedConn{Conn: conn, open: l.open, answers: l.answers}, nil
	}
}
