package main

import (
	"bytes"
	"errors"
	"fmt"
)

const (
	// firstBodyBytes is what a body of unknown length gets at first.
	firstBodyBytes = 16 << 10
	// mostChunkLine bounds the line before each chunk, with its extensions.
	mostChunkLine = 256
)

var (
	errTooLarge = errors.New("longer than it may be")
	errTooMuch  = errors.New("too much waits")
	errNoBody   = errors.New("not the form of a body")
)

// readBody returns a request's body, and how many bytes of the budget it holds, also after an error.
// Bytes that are in the connection's buffer already stay there, if all of the body fits there.
func (c *httpConn) readBody(r *requestHead) (body []byte, held int64, err error) {
	if r.length == 0 {
		return nil, 0, nil
	}
	if r.length > c.port.most {
		return nil, 0, errTooLarge
	}
	if r.length > 0 && r.length <= int64(len(c.buffer)-c.start) {
		if !c.port.bodies.take(r.length) {
			return nil, 0, errTooMuch
		}
		for int64(c.end-c.start) < r.length {
			if _, err := c.receiveBody(r, nil); err != nil {
				return nil, r.length, err
			}
		}
		body = c.buffer[c.start : c.start+int(r.length)]
		c.start += int(r.length)
		return body, r.length, nil
	}
	into := &growing{most: c.port.most, length: r.length, bodies: c.port.bodies}
	if r.length > 0 {
		err = c.readLength(r, into)
	} else {
		err = c.readChunks(r, into)
	}
	return into.body, into.held, err
}

func (c *httpConn) readLength(r *requestHead, into *growing) error {
	for int64(len(into.body)) < r.length {
		room, err := into.room()
		if err != nil {
			return err
		}
		if c.start < c.end {
			taken := copy(room, c.buffer[c.start:c.end])
			c.start += taken
			into.add(taken)
			continue
		}
		// Straight to where it belongs.
		taken, err := c.receiveBody(r, room)
		if err != nil {
			return err
		}
		into.add(taken)
	}
	return nil
}

// readChunks reads the chunked form. The request's head stays in the buffer before `from`.
func (c *httpConn) readChunks(r *requestHead, into *growing) error {
	from := c.start
	for {
		line, err := c.bodyLine(r, from, mostChunkLine)
		if err != nil {
			return err
		}
		size, err := chunkSize(line)
		if err != nil {
			return err
		}
		if size == 0 {
			return c.readTrailers(r, from)
		}
		for size > 0 {
			if c.start == c.end {
				c.start, c.end = from, from
				if _, err := c.receiveBody(r, nil); err != nil {
					return err
				}
			}
			room, err := into.room()
			if err != nil {
				return err
			}
			part := c.buffer[c.start:c.end]
			taken := copy(room[:min(int64(len(room)), size)], part)
			c.start += taken
			size -= int64(taken)
			into.add(taken)
			if int64(len(into.body)) > into.most {
				return errTooLarge
			}
		}
		if line, err = c.bodyLine(r, from, 0); err != nil || len(line) > 0 {
			return errNoBody
		}
	}
}

// readTrailers passes over headers that come after a body: nobody wants them.
func (c *httpConn) readTrailers(r *requestHead, from int) error {
	for left := c.port.wanted.MostHeaderBytes; left > 0; {
		line, err := c.bodyLine(r, from, min(left, len(c.buffer)-from))
		if err != nil || len(line) == 0 {
			return err
		}
		name, value, found := bytes.Cut(line, []byte(":"))
		if !found || !isToken(name) || hasControls(value, true) {
			return errNoBody
		}
		left -= len(line) + 2
	}
	return errNoBody
}

// bodyLine returns the next line of at most so many bytes, which it keeps at `from` or behind.
func (c *httpConn) bodyLine(r *requestHead, from, most int) ([]byte, error) {
	for {
		part := c.buffer[c.start:c.end]
		if end := bytes.IndexByte(part, '\n'); end >= 0 {
			line, _, found := cutLine(part)
			if !found || len(line) > most {
				return nil, errNoBody
			}
			c.start += end + 1
			return line, nil
		}
		if len(part) > most+1 {
			return nil, errNoBody
		}
		if c.start > from {
			c.end = from + copy(c.buffer[from:], part)
			c.start = from
		}
		if c.end == len(c.buffer) {
			return nil, errNoBody
		}
		if _, err := c.receiveBody(r, nil); err != nil {
			return nil, err
		}
	}
}

// chunkSize reads `hexadecimal digits [; extensions]`.
func chunkSize(line []byte) (int64, error) {
	digits, extensions, _ := bytes.Cut(line, []byte(";"))
	digits = bytes.TrimRight(digits, " \t")
	if len(digits) == 0 || len(digits) > 15 || hasControls(extensions, true) {
		return 0, errNoBody
	}
	size := int64(0)
	for _, char := range digits {
		switch {
		case isDigit(char):
			size = size<<4 | int64(char-'0')
		case char|0x20 >= 'a' && char|0x20 <= 'f':
			size = size<<4 | int64(char|0x20-'a'+10)
		default:
			return 0, fmt.Errorf("%w: %q", errNoBody, line)
		}
	}
	return size, nil
}

// growing is a body that comes in. What is announced need not come: no more is held than twice of
// what has come.
type growing struct {
	most, length int64
	bodies       *budget
	body         []byte
	held         int64
}

// room returns where the next bytes go, one at least: of a body of unknown length one more than it may
// have.
func (g *growing) room() ([]byte, error) {
	if len(g.body) == cap(g.body) {
		size := min(max(2*g.held, firstBodyBytes), g.most+1)
		if g.length > 0 {
			size = min(max(2*g.held, largeBytes), g.length)
		}
		if !g.bodies.take(size - g.held) {
			return nil, errTooMuch
		}
		g.held = size
		g.body = moved(g.body, int(size))
	}
	return g.body[len(g.body):cap(g.body)], nil
}

func (g *growing) add(count int) { g.body = g.body[:len(g.body)+count] }

// copiedBytes are copied at a time: nothing else runs here meanwhile, and of much memory each page has
// to be found first.
const copiedBytes = 256 << 10

// moved returns bytes in a buffer of another capacity.
func moved(body []byte, capacity int) []byte {
	found := make([]byte, 0, capacity)
	for len(found) < len(body) {
		found = append(found, body[len(found):min(len(found)+copiedBytes, len(body))]...)
	}
	return found
}
