package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// phase is what a connection does.
type phase byte

const (
	// phaseNew is before anything has come.
	phaseNew phase = iota
	// phaseIdle is between two requests.
	phaseIdle
	phaseHead
	phaseBody
	// phaseAsking is while Python has the request.
	phaseAsking
	phaseWriting
)

// scratches are for what is written within one step.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// httpConn answers the requests of one connection, one after the other, in a goroutine of its own. An
// idle one holds no buffer. No timer runs for it: `restPort.watch` looks at all of them.
type httpConn struct {
	port *restPort
	conn *trackedConn
	raw  syscall.RawConn

	// What has come and wasn't read yet is buffer[start:end]. The buffer is `pooled`, or larger and
	// then `held` of the budget for bodies.
	buffer     []byte
	pooled     *[bufferBytes]byte
	held       int64
	start, end int
	// The last call of `receive`.
	into  []byte
	count int
	err   error
	read  func(uintptr) bool

	request requestHead
	// line is the method and target of the last request, and head what Python is told of this one.
	line, head string
	answers    answerChannel
	// opening is what answers begin with that are of the last one's kind.
	opening       []byte
	openingStatus uint16
	openingHead   string

	// until is when it is too old; 0: never.
	until time.Duration

	lock         sync.Mutex
	phase        phase
	since, limit time.Duration
	// id is of what Python is asked, size of its body.
	id   uint64
	size int
}

func newHTTPConn(port *restPort, conn *trackedConn) (*httpConn, error) {
	raw, err := conn.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return nil, err
	}
	c := &httpConn{port: port, conn: conn, raw: raw, answers: make(answerChannel, 1)}
	c.since = port.clock()
	if age := milliseconds(port.wanted.MaxConnectionAge); age > 0 {
		// Within a tenth: those that came together need not go together.
		c.until = c.since + time.Duration((0.9+0.2*rand.Float64())*float64(age))
	}
	c.read = c.readOnce
	return c, nil
}

// serve answers requests until the connection ends.
func (c *httpConn) serve() {
	for c.next() {
	}
	c.letGo()
	c.conn.Close()
}

// next answers one request; false: it was the last one.
func (c *httpConn) next() bool {
	switch err := c.readHead(); {
	case errors.Is(err, io.EOF), errors.Is(err, errClosed):
		return false
	case err != nil:
		return c.refuseHead(err)
	}
	keeps := c.answer(&c.request)
	if c.start == c.end {
		c.letGo()
	}
	return keeps && c.enter(phaseIdle)
}

// enter begins a phase; false: the connection is to end, as the port does.
func (c *httpConn) enter(next phase) bool {
	now := c.port.clock()
	c.lock.Lock()
	c.phase, c.since = next, now
	c.lock.Unlock()
	return next != phaseIdle || !c.port.closing.Load()
}

// begin notes that something of a head has come. The time for it is that of a new connection, too.
func (c *httpConn) begin() {
	now := c.port.clock()
	c.lock.Lock()
	if c.phase == phaseIdle {
		c.since = now
	}
	c.phase = phaseHead
	c.lock.Unlock()
}

// answer answers a request whose head was read; false: the connection is to end.
func (c *httpConn) answer(r *requestHead) bool {
	port := c.port
	// Browsers ask by OPTIONS what they may send, before they send a token, and without a body.
	asks := r.length == 0 && string(r.method) == http.MethodOptions
	if port.token != nil && !asks && !port.token.isIn(string(r.authorization), string(r.xToken)) {
		if r.length != 0 && !r.expects {
			c.readAway(r)
		}
		return c.refuse(http.StatusUnauthorized, port.wanted.Refusal, "WWW-Authenticate: Bearer\r\n")
	}
	c.setHead(r)
	body, held, err := c.readBody(r)
	if err != nil {
		port.bodies.giveBack(held)
	}
	switch {
	case errors.Is(err, errTooLarge):
		return c.refuse(http.StatusRequestEntityTooLarge, port.wanted.TooLarge, "")
	case errors.Is(err, errTooMuch):
		return c.refuse(http.StatusTooManyRequests, port.wanted.TooMuchWaits, "")
	case errors.Is(err, errNoBody):
		return c.refuseHead(malformed("malformed body"))
	case err != nil:
		return false
	}
	got := c.ask(body, held)
	// Clients of an old connection look anew where to connect, to servers that are new.
	keeps := r.keeps() && !port.draining.Load() && (c.until == 0 || port.clock() < c.until)
	switch got.kind {
	case kindHTTPAnswer:
	case kindTooLate:
		return c.write(r, http.StatusGatewayTimeout, jsonType, []byte(port.wanted.TooLate), keeps)
	case kindGone:
		// Nobody reads this, unless the client has closed its side only.
		return c.write(r, http.StatusBadRequest, jsonType, []byte(port.wanted.Gone), false)
	default:
		return c.write(r, http.StatusServiceUnavailable, jsonType, []byte(port.wanted.Unavailable), false)
	}
	size := int64(len(got.content))
	if !c.conn.carry(size) {
		return c.write(r, http.StatusTooManyRequests, jsonType, []byte(port.wanted.TooMuchUntaken), keeps)
	}
	defer c.conn.carried(size)
	return c.write(r, got.status, got.headText, got.content, keeps)
}

// setHead makes what Python is told of a request but for its body.
func (c *httpConn) setHead(r *requestHead) {
	method, line := len(r.method), c.line
	if len(line) != method+1+len(r.target) || line[:method] != string(r.method) ||
		line[method+1:] != string(r.target) {
		c.line = string(r.method) + " " + string(r.target)
	}
	c.head = c.line + r.passedLines(c.port.wanted)
}

// ask returns Python's answer, or a frame that says why there is none. A body that differs from an
// earlier one in its numbers only goes as numbers; as it is, if Python does not know what it knew.
func (c *httpConn) ask(body []byte, held int64) frame {
	wanted, l := c.port.wanted, c.port.link
	c.lock.Lock()
	c.phase, c.since, c.limit = phaseAsking, c.port.clock(), 0
	if wanted.Timeout > 0 {
		c.limit = c.since + milliseconds(wanted.Timeout) + lateness
	}
	c.lock.Unlock()
	if known := l.forms.of(c.head); known != nil && len(body) <= largeBytes {
		rows := scratches.Get().(*[]byte)
		var like *form
		like, *rows = known.read(body, (*rows)[:0])
		if like != nil {
			c.send(header{kind: kindRows, status: like.id}, "", *rows)
		}
		scratches.Put(rows)
		if like != nil {
			got := c.await()
			if got.kind != kindAgain {
				c.port.bodies.giveBack(held)
				return got
			}
			l.forms.forget(like)
		}
	}
	c.send(header{kind: kindHTTP}, c.head, body)
	c.port.bodies.giveBack(held)
	return c.await()
}

func (c *httpConn) send(h header, head string, body []byte) {
	l := c.port.link
	id := l.lastID.Add(1)
	c.lock.Lock()
	c.id, c.size = id, len(body)
	c.lock.Unlock()
	l.begin(id, c.answers)
	l.sendHTTP(id, h, head, body)
}

func (c *httpConn) await() frame {
	got := <-c.answers
	c.lock.Lock()
	c.id = 0
	c.lock.Unlock()
	return got
}
