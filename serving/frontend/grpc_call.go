package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

const (
	// messageHead precedes each message of gRPC: whether it is compressed, and its length.
	messageHead = 5
	// countedBytes is from where on an answer counts until its client has taken it.
	countedBytes = 1 << 10
	// mostEarly is how long before its deadline a call ends, at most: a client whose clock is a little
	// behind would else end it by itself, as CANCELLED.
	mostEarly = 5 * time.Millisecond
	// quotedBytes is how much of what a client sent is quoted to it.
	quotedBytes  = 100
	moreMessages = "The call has more than one message, and its method takes one."
)

// call is one of a connection's: what comes of it, then what goes back.
type call struct {
	conn     *http2Conn
	stream   uint32
	method   string
	encoding string
	// other is what grpc-go answers; nil: Python does.
	other *otherCall
	// counts is whether it is one of the calls that are bounded, isProbe whether of a connection's own.
	counts, isProbe bool
	// limit is when it is given up; zero: never.
	limit time.Time
	timer *time.Timer

	// Of the goroutine that reads:
	body   []byte
	unread int64
	// length is what all of the request has by its headers, below 0: they say nothing; come is what
	// has come of it.
	length, come int64

	// Under the connection's lock:
	// isWhole is whether all of the request has come. Only the goroutine that reads changes it.
	isWhole bool
	// asked is what Python knows it by; 0: it was not asked.
	asked   uint64
	isLarge bool
	// held is what its body has of the budget; isSending is whether that lasts beyond the call's end,
	// since the link has yet to send the body.
	held      int64
	isSending bool
	window    int64
	// moved is when something of the answer was sent last.
	moved time.Duration
	// head are the headers of the answer, if they are not okHeaders; hasHead is whether it has begun.
	head     []byte
	hasHead  bool
	prefix   []byte
	content  []byte
	carried  int64
	trailers []byte
	// isAnswered is whether nothing will follow what is to be sent.
	isAnswered bool
	isQueued   bool
	isOver     bool
}

// receive takes a part of the request. By the goroutine that reads.
func (a *call) receive(data []byte, ends bool) {
	switch {
	case a.other != nil:
		a.other.receive(data, ends)
	case ends && len(a.body) == 0:
		// Most often all of it comes at once. Nobody copies it but the link.
		a.ask(data)
	default:
		a.gather(data, ends)
	}
}

// gather keeps a part of the request, unless it can't be one that is answered.
func (a *call) gather(data []byte, ends bool) {
	size := len(a.body) + len(data)
	whole := size
	if size >= messageHead {
		var head [messageHead]byte
		copy(head[copy(head[:], a.body):], data)
		if a.isTooLong(head[:]) {
			a.failTooLong(head[:])
			return
		}
		if whole = messageHead + int(binary.BigEndian.Uint32(head[1:])); size > whole {
			a.fail(codes.Internal, moreMessages)
			return
		}
	}
	switch {
	case !a.keep(data, whole):
		a.fail(codes.ResourceExhausted, a.conn.port.tooMuch)
	case ends:
		a.ask(a.body)
	}
}

// keep appends to the body, of which no more than `whole` bytes are wanted; false: there is no room
// for it.
func (a *call) keep(data []byte, whole int) bool {
	size := len(a.body) + len(data)
	if size > cap(a.body) {
		// No longer than twice what has come, whatever was announced.
		most := max(size, min(whole, max(2*size, http2Bytes)))
		if !a.hold(int64(most - cap(a.body))) {
			return false
		}
		a.body = moved(a.body, most)
	}
	a.body = append(a.body, data...)
	return true
}

// hold counts bytes for the body; false: others hold too many.
func (a *call) hold(more int64) bool {
	c := a.conn
	c.lock.Lock()
	defer c.lock.Unlock()
	if a.isOver || !c.port.bodies.takeMore(a.held, more) {
		return false
	}
	a.held += more
	return true
}

func (a *call) isTooLong(body []byte) bool {
	return int64(binary.BigEndian.Uint32(body[1:])) > int64(a.conn.port.mostMessage)
}

func (a *call) failTooLong(body []byte) {
	a.fail(codes.ResourceExhausted, fmt.Sprintf(
		"The message has %d bytes, and may have %d.", binary.BigEndian.Uint32(body[1:]), a.conn.port.mostMessage,
	))
}

// ask has Python answer a request that has come.
func (a *call) ask(body []byte) {
	if len(body) < messageHead {
		a.fail(codes.Internal, "The call has no message.")
		return
	}
	message := body[messageHead:]
	length := int(binary.BigEndian.Uint32(body[1:]))
	switch {
	case a.isTooLong(body):
		a.failTooLong(body)
	case length > len(message):
		a.fail(codes.Internal, "The call's message is cut off.")
	case length < len(message):
		a.fail(codes.Internal, moreMessages)
	case body[0] == 0:
		a.send(message)
	case body[0] > 1 || a.encoding == "" || a.encoding == "identity":
		a.fail(codes.Internal, "The message is marked as compressed, and no grpc-encoding says how.")
	case a.encoding != "gzip":
		a.fail(codes.Unimplemented, fmt.Sprintf("Messages compressed by '%.*s' can't be read. Use gzip.", quotedBytes, a.encoding))
	default:
		go a.unpack(bytes.Clone(message))
	}
}

// unpack asks with a message that came compressed.
func (a *call) unpack(packed []byte) {
	a.body = nil
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	part := make([]byte, http2Bytes)
	for err == nil {
		var count int
		if count, err = reader.Read(part); !a.keep(part[:count], a.conn.port.mostMessage+1) {
			a.fail(codes.ResourceExhausted, a.conn.port.tooMuch)
			return
		}
		if len(a.body) > a.conn.port.mostMessage {
			a.fail(codes.ResourceExhausted, fmt.Sprintf("The message has more than %d bytes.", a.conn.port.mostMessage))
			return
		}
	}
	if !errors.Is(err, io.EOF) {
		a.fail(codes.Internal, fmt.Sprintf("The message can't be unpacked: %v.", err))
		return
	}
	a.send(a.body)
}

// send hands a message to Python. What it holds may be used again afterwards.
func (a *call) send(message []byte) {
	c, l := a.conn, a.conn.port.link
	if !a.hold(max(0, int64(len(message))-a.held)) {
		a.fail(codes.ResourceExhausted, c.port.tooMuch)
		return
	}
	e := entry{id: l.lastID.Add(1), micros: noDeadline, body: uint64(len(message))}
	if !a.limit.IsZero() {
		e.micros = max(0, time.Until(a.limit).Microseconds())
	}
	isLarge := len(message) > largeBytes
	l.begin(e.id, a)
	c.lock.Lock()
	a.asked, a.isLarge, a.isSending = e.id, isLarge, isLarge
	isOver := a.isOver
	c.lock.Unlock()
	if isOver {
		// Meanwhile, when nobody could know whom to tell.
		l.answered(e.id)
		a.giveBack()
		return
	}
	h := header{kind: kindGRPC, head: uint32(len(a.method))}
	if !isLarge {
		l.sendSmall(h, a.method, e, message)
		a.giveBack()
		return
	}
	go func() {
		l.sendLarge(func() bool { return l.isWaiting(e.id) }, h, a.method, e, [][]byte{message})
		a.giveBack()
	}()
}

// giveBack lets go of the body.
func (a *call) giveBack() {
	c := a.conn
	c.lock.Lock()
	defer c.lock.Unlock()
	c.port.bodies.giveBack(a.held)
	a.held, a.body, a.isSending = 0, nil, false
}

// take takes Python's answer, or why there is none.
func (a *call) take(got frame) {
	switch {
	case got.kind == kindTooLate:
		a.fail(codes.DeadlineExceeded, "The call was not answered before its deadline.")
	case got.kind != kindGRPCAnswer:
		a.fail(codes.Unavailable, errLost.Error())
	case got.status != 0:
		a.fail(codes.Code(got.status), string(got.content))
	case len(got.content) > a.conn.port.mostSent:
		a.fail(codes.ResourceExhausted, fmt.Sprintf(
			"The answer has %d bytes, and may have %d.", len(got.content), a.conn.port.mostSent,
		))
	default:
		a.answer(got.content)
	}
}

// answer sends a message and the end.
func (a *call) answer(content []byte) {
	c := a.conn
	counted := int64(0)
	if len(content) > countedBytes {
		if counted = int64(len(content)); !c.conn.carry(counted) {
			a.fail(codes.ResourceExhausted, c.port.untaken)
			return
		}
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	if a.isOver {
		c.conn.carried(counted)
		return
	}
	a.carried = counted
	a.begin()
	a.prefix = binary.BigEndian.AppendUint32([]byte{0}, uint32(len(content)))
	a.content, a.trailers, a.isAnswered = content, okTrailers, true
	a.moved = c.port.clock()
	c.enqueue(a)
	c.flush()
	if left := len(a.content); 0 < left && left < largeBytes {
		// It is a part of what Python wrote at once, which need not stay as long as this does.
		a.content = bytes.Clone(a.content)
	}
}

// begin sends the headers of an answer. Under the lock.
func (a *call) begin() {
	if !a.hasHead {
		a.hasHead = true
		head := okHeaders
		if a.head != nil {
			head = a.head
		}
		a.conn.appendHeaders(a.stream, head, false)
	}
}

// fail ends a call by an error.
func (a *call) fail(code codes.Code, text string) {
	a.failAs(http.StatusOK, code, text)
}

// failAs does so by another status of HTTP, too.
func (a *call) failAs(status int, code codes.Code, text string) {
	c := a.conn
	c.lock.Lock()
	defer c.lock.Unlock()
	if a.isOver || a.isAnswered {
		return
	}
	a.trailers = nil
	if !a.hasHead {
		a.hasHead = true
		a.trailers = headersOf(status)
	}
	a.trailers = append(a.trailers, trailersOf(code, text)...)
	a.close()
	c.flush()
}

// close ends the answer after what is to be sent of it. Under the lock.
func (a *call) close() {
	a.isAnswered, a.moved = true, a.conn.port.clock()
	if a.left() == 0 {
		a.finish()
	}
}

// left is how many bytes of the answer are not sent yet.
func (a *call) left() int { return len(a.prefix) + len(a.content) }

// appendPart appends the next part of the answer.
func (a *call) appendPart(out []byte, size int) []byte {
	head := min(size, len(a.prefix))
	out = append(out, a.prefix[:head]...)
	out = append(out, a.content[:size-head]...)
	a.prefix, a.content = a.prefix[head:], a.content[size-head:]
	return out
}

// finish sends the end of the answer. Under the lock.
func (a *call) finish() {
	a.conn.sent = true
	a.conn.appendHeaders(a.stream, a.trailers, true)
	if !a.isWhole {
		// Whatever the client still sends of it, nobody needs.
		a.conn.control().WriteRSTStream(a.stream, http2.ErrCodeNo)
	}
	a.end()
}

// end has nobody wait for it any longer. Under the lock.
func (a *call) end() {
	if a.isOver {
		return
	}
	c := a.conn
	a.isOver = true
	delete(c.calls, a.stream)
	if len(c.calls) == 0 {
		c.idle = c.port.clock()
	}
	if a.timer != nil {
		a.timer.Stop()
	}
	if a.isQueued {
		c.forgetQueued()
	}
	if a.counts {
		c.port.calls.end()
	}
	if a.isProbe {
		c.probes--
	}
	if a.carried > 0 {
		c.conn.carried(a.carried)
	}
	if !a.isSending {
		c.port.bodies.giveBack(a.held)
		a.held = 0
	}
	a.prefix, a.content = nil, nil
	if a.other != nil {
		a.other.end()
	}
	if a.asked != 0 && !a.isAnswered {
		// It may have to wait until Python reads, which must not wait for this connection.
		go c.port.link.forget(a.asked, a.isLarge)
	}
}

// isLate gives a call up.
func (a *call) isLate() {
	c := a.conn
	c.lock.Lock()
	asked, isLarge := a.asked, a.isLarge
	c.lock.Unlock()
	if asked != 0 {
		c.port.link.giveUp(asked, kindTooLate, isLarge)
	} else {
		a.take(frame{header: header{kind: kindTooLate}})
	}
}
