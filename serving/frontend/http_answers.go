package main

import (
	"bytes"
	"errors"
	"net/http"
	"strconv"
	"time"
)

const (
	// readAwayBytes and readAwayTimeout bound the body of a request that is refused: most clients
	// look for an answer only after they have sent it.
	readAwayBytes   = 16 << 20
	readAwayTimeout = 3 * time.Second
	// lingerTimeout is how long a connection stays half open after an answer to a request that was
	// not read to its end: were it closed at once, the client's side would throw the answer away.
	lingerTimeout = 500 * time.Millisecond
)

const jsonType = "content-type: application/json"

// write sends an answer; false: the connection is to end.
func (c *httpConn) write(r *requestHead, status uint16, head string, content []byte, keeps bool) bool {
	c.enter(phaseWriting)
	if status != c.openingStatus || head != c.openingHead {
		c.opening = c.port.opening(c.opening[:0], int(status), head)
		c.openingStatus, c.openingHead = status, head
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	out := append((*scratch)[:0], c.opening...)
	switch {
	case !keeps:
		out = append(out, "Connection: close\r\n"...)
	case r.isOld:
		out = append(out, "Connection: keep-alive\r\n"...)
	}
	out = append(out, "Content-Length: "...)
	out = strconv.AppendInt(out, int64(len(content)), 10)
	out = append(out, "\r\n\r\n"...)
	if string(r.method) == http.MethodHead {
		content = nil
	}
	small := len(content) <= bufferBytes
	if small {
		out = append(out, content...)
	}
	*scratch = out
	_, err := c.conn.Write(out)
	if err == nil && !small {
		_, err = c.conn.Write(content)
	}
	return err == nil && keeps
}

// refuse answers without Python; what is left of the request is not read.
func (c *httpConn) refuse(status int, text, more string) bool {
	c.enter(phaseWriting)
	out := c.port.opening(nil, status, jsonType)
	out = append(out, more...)
	out = append(out, "Connection: close\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(text)), 10)
	out = append(append(out, "\r\n\r\n"...), text...)
	c.conn.Write(out)
	c.linger()
	return false
}

// refuseHead answers what is no request.
func (c *httpConn) refuseHead(err error) bool {
	wrong := &badRequest{http.StatusBadRequest, ""}
	errors.As(err, &wrong)
	c.enter(phaseWriting)
	text := strconv.Itoa(wrong.status) + " " + http.StatusText(wrong.status)
	out := "HTTP/1.1 " + text +
		"\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n" + text
	if wrong.text != "" {
		out += ": " + wrong.text
	}
	c.conn.Write([]byte(out))
	c.linger()
	return false
}

// readAway reads what a client sends before it looks for an answer.
func (c *httpConn) readAway(r *requestHead) {
	c.conn.SetReadDeadline(time.Now().Add(readAwayTimeout))
	left := int64(readAwayBytes)
	if r.length > 0 {
		left = min(left, r.length)
	}
	left -= int64(c.end - c.start)
	c.start = c.end
	for left > 0 {
		// Of chunks the end is seen where it is the end of what has come.
		if r.length < 0 && bytes.HasSuffix(c.buffer[:c.end], []byte("0\r\n\r\n")) {
			return
		}
		c.start, c.end = 0, 0
		if _, err := c.receiveBody(r, nil); err != nil {
			return
		}
		left -= int64(c.end)
	}
}

// linger lets the client's side read an answer while it still sends.
func (c *httpConn) linger() {
	c.conn.CloseWrite()
	c.letGo()
	time.Sleep(lingerTimeout)
}
