package main

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// open begins a call, or refuses it by its headers, before anything of its message is kept.
func (c *http2Conn) open(frame *http2.MetaHeadersFrame) error {
	stream, ends := frame.StreamID, frame.StreamEnded()
	a := &call{conn: c, stream: stream, isWhole: ends}
	c.lock.Lock()
	c.lastRead = c.port.clock()
	existing := c.calls[stream]
	switch {
	case existing != nil:
		err := existing.trail(frame)
		c.lock.Unlock()
		if err == nil {
			existing.receive(nil, true)
		}
		return err
	case stream <= c.seen && ends && len(frame.PseudoFields()) == 0:
		c.lock.Unlock()
		return nil // What trails a call that was ended here, which the client did not know yet.
	case stream <= c.seen || stream%2 == 0:
		c.lock.Unlock()
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	c.seen = stream
	if c.farewell == leaves {
		c.lock.Unlock()
		return nil // It was opened after the goodbye.
	}
	c.last = stream
	a.window = c.newWindow
	most := c.port.wanted.MostStreams
	isTooMany := most > 0 && uint32(len(c.calls)) >= most
	if !isTooMany {
		c.calls[stream] = a
	}
	c.lock.Unlock()
	var f fields
	f.read(frame)
	a.length = f.length
	switch {
	case frame.Truncated:
		return http2.StreamError{StreamID: stream, Code: http2.ErrCodeFrameSize}
	case isTooMany:
		return http2.StreamError{StreamID: stream, Code: http2.ErrCodeRefusedStream}
	case f.isMalformed || ends && f.length > 0:
		return http2.StreamError{StreamID: stream, Code: http2.ErrCodeProtocol}
	case f.authorities > 1 || f.hosts > 1:
		a.failAs(http.StatusBadRequest, codes.Internal, "There is more than one host.")
		return nil
	case f.authorities+f.hosts == 0:
		a.failAs(http.StatusBadRequest, codes.Internal, "There is no host.")
		return nil
	case !isGRPC(f.contentType):
		text := fmt.Sprintf("invalid gRPC request content-type %.*q", quotedBytes, f.contentType)
		a.failAs(http.StatusUnsupportedMediaType, codes.InvalidArgument, text)
		return nil
	case f.httpMethod != http.MethodPost:
		text := fmt.Sprintf("Calls are sent by POST, and this one came by %.*q.", quotedBytes, f.httpMethod)
		a.failAs(http.StatusMethodNotAllowed, codes.Internal, text)
		return nil
	}
	a.begins(&f, frame)
	return nil
}

// trail takes the headers that may follow the message, which say nothing here. Under the lock.
func (a *call) trail(frame *http2.MetaHeadersFrame) error {
	switch {
	case a.isWhole:
		return http2.StreamError{StreamID: a.stream, Code: http2.ErrCodeStreamClosed}
	case !frame.StreamEnded() || len(frame.PseudoFields()) > 0 || a.length >= 0 && a.come != a.length:
		return http2.StreamError{StreamID: a.stream, Code: http2.ErrCodeProtocol}
	}
	a.isWhole = true
	return nil
}

// probe says whether a connection may have one more call that asks for the health: those of all
// connections are never refused by the number of calls that are open.
func (c *http2Conn) probe(a *call) bool {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.probes >= mostProbes {
		c.reset(a.stream, http2.ErrCodeRefusedStream)
		return false
	}
	if !a.isOver {
		a.isProbe = true
		c.probes++
	}
	return true
}

// begins has a call answered that is one of gRPC.
func (a *call) begins(f *fields, frame *http2.MetaHeadersFrame) {
	c, port := a.conn, a.conn.port
	isProbe := strings.HasPrefix(f.path, healthPrefix)
	isOther := isProbe || port.others.knows(f.path)
	a.method, a.encoding = f.path, f.encoding
	switch {
	case !isProbe && !port.token.isIn(f.authorization, f.token):
		a.fail(codes.Unauthenticated, port.refusal)
		return
	case !isOther && !port.methods[f.path]:
		a.fail(codes.Unimplemented, "Method not found!")
		return
	}
	if f.path == healthCheck {
		if !c.probe(a) {
			return
		}
	} else {
		if !port.calls.begin() {
			a.fail(codes.Unavailable, port.tooMany)
			return
		}
		c.lock.Lock()
		a.counts = true
		if a.isOver {
			port.calls.end()
		}
		c.lock.Unlock()
	}
	if f.timeout != "" {
		left, err := timeout(f.timeout)
		if err != nil {
			a.failAs(http.StatusBadRequest, codes.Internal, err.Error())
			return
		}
		left -= min(left/10, mostEarly)
		a.limit = time.Now().Add(left)
		c.lock.Lock()
		a.timer = time.AfterFunc(left, a.isLate)
		c.lock.Unlock()
	}
	if isOther {
		port.others.begin(a, f.path, frame)
	}
	if a.isWhole {
		a.receive(nil, true)
	}
}
