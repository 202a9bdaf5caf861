package main

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"sync"
	"syscall"
)

const (
	// bufferBytes has room for a small request, which is most of them, and is read at once.
	bufferBytes = 16 << 10
	// leastRoom is what a buffer has behind a head, at least: lines of chunks are read there.
	leastRoom = 4 << 10
)

var (
	buffers     = sync.Pool{New: func() any { return new([bufferBytes]byte) }}
	errHeadSize = &badRequest{http.StatusRequestHeaderFieldsTooLarge, ""}
	errClosed   = errors.New("the connection is closed")
)

// letGo gives the buffer back.
func (c *httpConn) letGo() {
	if c.pooled != nil {
		buffers.Put(c.pooled)
	}
	c.port.bodies.giveBack(c.held)
	c.buffer, c.pooled, c.held, c.start, c.end = nil, nil, 0, 0, 0
}

// readHead reads the next request up to its body.
//
// Errors: *badRequest, io.EOF or errClosed.
func (c *httpConn) readHead() error {
	if c.start > 0 {
		c.end = copy(c.buffer, c.buffer[c.start:c.end])
		c.start = 0
	}
	most := c.port.wanted.MostHeaderBytes
	for looked := 0; ; {
		if c.end > 0 {
			if c.phase == phaseIdle || c.phase == phaseNew {
				c.begin()
			}
			// Old clients send an empty line after a body.
			for looked == 0 && bytes.HasPrefix(c.buffer[c.start:c.end], []byte("\r\n")) {
				c.start += 2
			}
			size, err := headSize(c.buffer[c.start:c.end], &looked)
			switch {
			case err != nil:
				return err
			case size > most || size == 0 && c.end-c.start > most:
				return errHeadSize
			case size > 0:
				if err := c.makeRoom(size); err != nil {
					return err
				}
				head := c.buffer[c.start : c.start+size]
				c.start += size
				if wrong := c.request.parse(head, c.port.wanted); wrong != nil {
					return wrong
				}
				return nil
			}
		}
		if err := c.makeRoom(c.end - c.start); err != nil {
			return err
		}
		if err := c.receive(nil); err != nil {
			return err
		}
	}
}

// headSize returns how long a head is, with the empty line at its end; 0: that has not come yet.
// `looked` is how much of it was looked at, in whole lines. A line that ends otherwise than with CR and
// LF is not waited for.
func headSize(data []byte, looked *int) (int, error) {
	for {
		line, _, found := bytes.Cut(data[*looked:], []byte("\n"))
		switch {
		case !found:
			return 0, nil
		case len(line) == 0 || line[len(line)-1] != '\r':
			return 0, malformed("a line does not end with CR and LF")
		}
		*looked += len(line) + 1
		if len(line) == 1 {
			return *looked, nil
		}
	}
}

// makeRoom has room in the buffer, if there is one, behind so many bytes that begin at `start`.
func (c *httpConn) makeRoom(size int) error {
	if c.buffer == nil || len(c.buffer)-c.start-size >= leastRoom {
		return nil
	}
	count := c.end - c.start
	larger := int64(max(2*size, count) + leastRoom)
	if !c.port.bodies.take(larger) {
		return errHeadSize
	}
	buffer := make([]byte, larger)
	copy(buffer, c.buffer[c.start:c.end])
	c.letGo()
	c.buffer, c.held, c.end = buffer, larger, count
	return nil
}

// receive reads what has come into a slice, or behind what is in the buffer.
//
// Errors: io.EOF or errClosed.
func (c *httpConn) receive(into []byte) error {
	c.into = into
	if err := c.raw.Read(c.read); err != nil {
		return errClosed
	}
	switch {
	case c.err != nil:
		return errClosed
	case c.count == 0:
		return io.EOF
	}
	if into == nil {
		c.end += c.count
	}
	return nil
}

// readOnce is what `receive` does once something may have come; until then, no buffer is held for
// what is to come.
func (c *httpConn) readOnce(descriptor uintptr) bool {
	into, taken := c.into, c.into == nil && c.buffer == nil
	if taken {
		c.pooled = buffers.Get().(*[bufferBytes]byte)
		c.buffer = c.pooled[:]
	}
	if into == nil {
		into = c.buffer[c.end:]
	}
	for {
		c.count, c.err = syscall.Read(int(descriptor), into)
		if c.err != syscall.EINTR {
			break
		}
	}
	if c.err == syscall.EAGAIN {
		if taken {
			c.letGo()
		}
		return false
	}
	return true
}

// receiveBody reads more of a body into the buffer, or into a slice, and returns how much.
func (c *httpConn) receiveBody(r *requestHead, into []byte) (int, error) {
	c.enter(phaseBody)
	if r.expects {
		// The client waits to be told.
		r.expects = false
		c.conn.Write([]byte("HTTP/1.1 100 Continue\r\n\r\n"))
	}
	err := c.receive(into)
	return c.count, err
}
