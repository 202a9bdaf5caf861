package main

import (
	"crypto/tls"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/http2"
)

const (
	// outBytes is how much of answers is made ready to be sent at a time.
	outBytes = 64 << 10
	// mostUntaken is how much of it may wait before nothing more is read of a client that does not read.
	mostUntaken = outBytes
	// keptOutBytes is the largest buffer that an idle connection keeps.
	keptOutBytes = 4 << 10
	// mostTries is how often `outBytes` are sent by whoever has the answer, who has others to hand out.
	mostTries = 2
	// hangUpTimeout is how long a client may take to close a connection that was ended here.
	hangUpTimeout = time.Second
)

// http2Writing is what a connection has to send. All of it under the connection's lock.
type http2Writing struct {
	// out is ready to be sent.
	out []byte
	// sending is what a goroutine sends that may wait; nil: there is none.
	sending []byte
	// isBehind is whether more waits behind that than a client should have us say; taken is told when
	// that changes.
	isBehind atomic.Bool
	taken    sync.Cond
	closed   bool
	// isMute is whether nothing more will be sent.
	isMute bool
	// shrinks is whether the next headers have to say that their table is empty, hasShrunk whether
	// they did.
	shrinks, hasShrunk bool
	// frames writes control frames to `out`.
	frames *http2.Framer
	// window is what may be sent of all calls, newWindow of a new one.
	window, newWindow int64
	frameBytes        int64
	// queue has the calls that have something to send and may send some, and some that are over.
	queue []*call
	over  int
	// moved is when something of an answer was sent last.
	moved time.Duration
	// Of the last try to write:
	tried []byte
	count int
	err   error
	write func(uintptr) bool
}

// Write lets a framer write control frames.
func (w *http2Writing) Write(data []byte) (int, error) {
	w.out = append(w.out, data...)
	return len(data), nil
}

func (w *http2Writing) control() *http2.Framer { return w.frames }

// appendFrame appends a frame's header.
func appendFrame(out []byte, size int, kind http2.FrameType, flags http2.Flags, stream uint32) []byte {
	return append(out, byte(size>>16), byte(size>>8), byte(size), byte(kind), byte(flags),
		byte(stream>>24), byte(stream>>16), byte(stream>>8), byte(stream))
}

// emptyTable is HPACK's "dynamic table size update" to 0.
const emptyTable = 0x20

// appendHeaders appends headers that were encoded.
func (w *http2Writing) appendHeaders(stream uint32, block []byte, ends bool) {
	if w.shrinks {
		w.shrinks, w.hasShrunk = false, true
		block = append([]byte{emptyTable}, block...)
	}
	kind, flags := http2.FrameHeaders, http2.Flags(0)
	if ends {
		flags = http2.FlagHeadersEndStream
	}
	for ; len(block) > http2Bytes; block = block[http2Bytes:] {
		w.out = append(appendFrame(w.out, http2Bytes, kind, flags, stream), block[:http2Bytes]...)
		kind, flags = http2.FrameContinuation, 0
	}
	flags |= http2.FlagHeadersEndHeaders
	w.out = append(appendFrame(w.out, len(block), kind, flags, stream), block...)
}

// enqueue lets a call send, if it has anything to send and may.
func (w *http2Writing) enqueue(one *call) {
	if !one.isQueued && one.window > 0 && one.left() > 0 {
		one.isQueued = true
		w.queue = append(w.queue, one)
	}
}

// forgetQueued counts one of the queue that is over. Those don't stay when they are many: as long as
// the client opens no window nobody takes them from the queue.
func (w *http2Writing) forgetQueued() {
	if w.over++; w.over > len(w.queue)/2 {
		w.queue = slices.DeleteFunc(w.queue, func(one *call) bool { return one.isOver })
		w.over = 0
	}
}

// fill makes ready what calls have to send, each a frame in its turn.
func (c *http2Conn) fill() {
	for len(c.queue) > 0 && c.window > 0 && len(c.out) < outBytes {
		one := c.queue[0]
		c.queue = c.queue[1:]
		one.isQueued = false
		size := min(int64(one.left()), one.window, c.window, c.frameBytes)
		if one.isOver {
			c.over--
		}
		if one.isOver || size <= 0 {
			continue
		}
		c.sent = true
		c.window -= size
		one.window -= size
		c.moved = c.port.clock()
		one.moved = c.moved
		c.out = appendFrame(c.out, int(size), http2.FrameData, 0, one.stream)
		c.out = one.appendPart(c.out, int(size))
		if one.left() > 0 {
			c.enqueue(one)
		} else if one.isAnswered {
			one.finish()
		}
	}
	if len(c.queue) == 0 {
		c.queue = nil
	}
}

// flush sends what there is to send. It does not wait: what the client does not take now a goroutine
// sends. Under the lock.
func (c *http2Conn) flush() {
	if c.isMute {
		c.out = nil
		return
	}
	for tries := 0; c.sending == nil && !c.closed; tries++ {
		c.fill()
		if len(c.out) == 0 {
			if c.farewell == leaves && len(c.calls) == 0 {
				c.hangUp()
			}
			if cap(c.out) > keptOutBytes {
				c.out = nil
			}
			return
		}
		count := 0
		if c.raw != nil && tries < mostTries {
			c.tried = c.out
			if err := c.raw.Write(c.write); err == nil {
				err = c.err
			} else {
				c.err = err
			}
			count = c.count
			c.tried = nil
			if c.err != nil {
				c.close()
				return
			}
			c.conn.written.Add(int64(count))
		}
		if count == len(c.out) {
			c.out = c.out[:0]
			continue
		}
		c.sending, c.out = c.out[count:], nil
		go c.sendRest()
	}
	if len(c.out) > mostUntaken && !c.closed {
		c.isBehind.Store(true)
	}
}

// awaitTaken waits until the client has read some of what it had us say.
func (c *http2Conn) awaitTaken() {
	c.lock.Lock()
	defer c.lock.Unlock()
	for c.isBehind.Load() {
		c.taken.Wait()
	}
}

// catchUp lets the client have us say more. Under the lock.
func (c *http2Conn) catchUp() {
	if c.isBehind.Load() {
		c.isBehind.Store(false)
		c.taken.Broadcast()
	}
}

// writeOnce writes what the client takes at once.
func (c *http2Conn) writeOnce(descriptor uintptr) bool {
	c.count, c.err = 0, nil
	for {
		count, err := syscall.Write(int(descriptor), c.tried)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			c.err = err
		default:
			c.count = count
		}
		return true
	}
}

// sendRest sends what the client did not take at once.
func (c *http2Conn) sendRest() {
	c.lock.Lock()
	for !c.closed && len(c.sending) > 0 {
		c.lock.Unlock()
		_, err := c.stream.Write(c.sending)
		// A large answer to a quick client must not keep others from being read.
		runtime.Gosched()
		c.lock.Lock()
		if err != nil {
			c.close()
			break
		}
		c.fill()
		c.sending, c.out = c.out, nil
		c.catchUp()
	}
	c.sending = nil
	c.flush()
	c.lock.Unlock()
}

// reset ends a call, and says so. Under the lock.
func (c *http2Conn) reset(stream uint32, code http2.ErrCode) {
	if found := c.calls[stream]; found != nil {
		found.end()
	}
	c.control().WriteRSTStream(stream, code)
	c.flush()
}

// hangUp sends nothing more, and leaves it to the client to close the connection: were that done here
// while some of what it sent is unread, it could lose what it has not read yet. Under the lock.
func (c *http2Conn) hangUp() {
	if c.isMute {
		return
	}
	c.isMute = true
	c.conn.SetReadDeadline(time.Now().Add(hangUpTimeout))
	go func() {
		if secure, is := c.stream.(*tls.Conn); is {
			secure.CloseWrite()
		}
		c.conn.CloseWrite()
	}()
}

// close ends the connection; whoever reads from it sees that.
func (c *http2Conn) close() {
	if !c.closed {
		c.closed = true
		c.out, c.queue, c.over = nil, nil, 0
		c.catchUp()
		c.conn.Close()
	}
}
