package main

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// lateness is how long after its limit a request is given up: a run ends by itself at the limit.
	lateness = 100 * time.Millisecond
	// Of the time to drain, an eighth is for idle connections, and no more than mostIdle.
	idleShare = 8
	mostIdle  = 5 * time.Second
)

// restPort answers HTTP/1.1.
type restPort struct {
	listener net.Listener
	link     *link
	bodies   *budget
	token    *token
	wanted   *restConfig
	most     int64
	// draining has each answer say that it is the last one of its connection, closing ends idle ones.
	draining, closing atomic.Bool

	openConns[*httpConn]
}

// newRESTPort binds what is asked for.
func newRESTPort(wanted *config, l *link, bodies *budget, limit limit, guard *token) (*restPort, error) {
	rest := &wanted.REST
	listener, err := net.Listen("tcp", net.JoinHostPort(rest.Host, strconv.Itoa(rest.Port)))
	if err != nil {
		return nil, fmt.Errorf("Couldn't start HTTP server on port %d: %s", rest.Port, reason(err))
	}
	return &restPort{
		listener: limit.of(listener), link: l, bodies: bodies, token: guard, wanted: rest,
		most: wanted.MostRequestBytes,
	}, nil
}

func (p *restPort) serve() { go accept(p.listener, "REST", p.answer) }

func (p *restPort) answer(conn *trackedConn) {
	p.lock.Lock()
	defer p.lock.Unlock()
	p.begin()
	c, err := newHTTPConn(p, conn)
	if err != nil || p.closing.Load() {
		conn.Close()
		return
	}
	p.keep(c)
}

// drain ends once every request has been answered, at the latest after `grace`. A connection that is
// kept is ended by an answer that says so: one that is closed while it lies idle may meet a request on
// its way, which then fails.
func (p *restPort) drain(grace time.Duration) {
	end := time.Now().Add(grace)
	p.draining.Store(true)
	p.awaitNone(min(grace/idleShare, mostIdle))
	p.closing.Store(true)
	p.listener.Close()
	p.end(func(now phase) bool { return now == phaseNew || now == phaseIdle })
	if !p.awaitNone(time.Until(end)) {
		p.end(func(phase) bool { return true })
	}
}

// end closes the connections that are in some phases.
func (p *restPort) end(is func(phase) bool) {
	p.lock.Lock()
	defer p.lock.Unlock()
	for c := range p.conns {
		c.lock.Lock()
		if is(c.phase) {
			c.conn.Close()
		}
		c.lock.Unlock()
	}
}

// lookAt ends what has taken too long.
func (c *httpConn) lookAt(now time.Duration) {
	c.lock.Lock()
	waited, most := now-c.since, time.Duration(0)
	switch c.phase {
	case phaseNew, phaseHead:
		most = milliseconds(c.port.wanted.HeaderTimeout)
	case phaseIdle:
		most = milliseconds(c.port.wanted.KeepAlive)
	case phaseBody:
		most = milliseconds(c.port.wanted.BodyTimeout)
	}
	id, isLarge, kind := c.id, c.size > largeBytes, byte(0)
	if c.phase == phaseAsking && id != 0 {
		switch {
		case c.limit > 0 && now > c.limit:
			kind = kindTooLate
		case waited >= lookEvery && c.isGone():
			kind = kindGone
		}
	}
	if most > 0 && waited > most {
		c.conn.Close()
	}
	c.lock.Unlock()
	if kind != 0 {
		// It may wait for its turn among large requests.
		go c.port.link.giveUp(id, kind, isLarge)
	}
}

// isGone says whether the client has closed the connection, or its side of it.
func (c *httpConn) isGone() bool {
	gone := false
	err := c.raw.Control(func(descriptor uintptr) {
		var next [1]byte
		count, _, err := syscall.Recvfrom(
			int(descriptor), next[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT,
		)
		gone = err == nil && count == 0 ||
			err != nil && err != syscall.EAGAIN && err != syscall.EINTR
	})
	return gone || err != nil
}

// opening appends what an answer begins with: its status, the headers that Python gives in lines
// `name: value`, and those of all answers. Nobody needs the date, and its making takes time.
func (p *restPort) opening(out []byte, status int, head string) []byte {
	out = append(out, "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(status), 10)
	out = append(append(append(out, ' '), http.StatusText(status)...), "\r\n"...)
	add := func(name, value string) {
		out = append(append(out, http.CanonicalHeaderKey(name)...), ": "...)
		out = append(append(out, value...), "\r\n"...)
	}
	for line := range strings.Lines(head) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		add(name, value)
	}
	for _, pair := range p.wanted.Headers {
		add(pair[0], pair[1])
	}
	return out
}
