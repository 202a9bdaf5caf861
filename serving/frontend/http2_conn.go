package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// windowBytes is how much a client may send before it is told that some was read, for each call
	// and for the connection.
	windowBytes = 1 << 20
	// toldBytes is how much was read when it is told.
	toldBytes = windowBytes / 4
	// http2Bytes is the most of a frame, and what is read at a time.
	http2Bytes = 16 << 10
	// mostStrikes are pings that come too early, until the connection is ended.
	mostStrikes = 2
	// pingEvery is the least time between pings of a client that has no call, if it may send none.
	pingEvery  = 2 * time.Hour
	mostWindow = 1<<31 - 1
	// tableBytes is what HPACK's table may have until somebody says else.
	tableBytes = 4096
	// leavingPing is the content of the ping by which a client says that it has read the goodbye.
	leavingPing = "\x01\x06\x01\x08\x03\x03\x09\x08"
	// leavingTimeout is how long that is waited for.
	leavingTimeout = 5 * time.Second
)

// farewell is how far a connection has come in ending.
type farewell byte

const (
	stays farewell = iota
	// isTold is when the client was told to open no more calls, and some may be on their way.
	isTold
	// leaves is when it has read that.
	leaves
)

// http2Conn answers the calls of one connection. One goroutine reads from it: it hands each whole
// request to Python and reads on. Whoever has an answer writes it.
type http2Conn struct {
	port *grpcPort
	// conn is under `stream`, which is the same or TLS.
	conn   *trackedConn
	stream net.Conn
	// raw is for writing without waiting; nil: over TLS.
	raw syscall.RawConn

	// Of the goroutine that reads:
	framer *http2.Framer
	// unread was read, and the client was not told yet.
	unread   int64
	lastPing time.Time
	strikes  int
	// hasSettings is whether the client's have come, with which it has to begin.
	hasSettings bool

	lock     sync.Mutex
	calls    map[uint32]*call
	greeted  bool
	opened   time.Duration
	lastRead time.Duration
	// idle is since when it has no call.
	idle time.Duration
	// pinged is when it was asked whether it is still there; 0: it was not.
	pinged time.Duration
	// sent is whether anything but control frames was written since the last ping came.
	sent bool
	// last is the stream of the latest call that was taken, seen the latest that the client opened.
	last, seen uint32
	// probes is how many calls ask for the health.
	probes int
	// looked is when the calls were looked at.
	looked   time.Duration
	farewell farewell
	told     time.Duration
	// until is when it is too old; 0: never.
	until time.Duration
	http2Writing
}

func (c *http2Conn) serve() {
	defer c.end()
	if !c.greet() {
		return
	}
	for {
		err := c.next()
		var ofStream http2.StreamError
		var ofConn http2.ConnectionError
		switch {
		case err == nil:
		case errors.As(err, &ofStream):
			c.lock.Lock()
			c.seen = max(c.seen, ofStream.StreamID)
			if c.farewell != leaves {
				c.last = max(c.last, ofStream.StreamID)
			}
			c.reset(ofStream.StreamID, ofStream.Code)
			c.lock.Unlock()
		case errors.As(err, &ofConn):
			c.sayGoodbye(http2.ErrCode(ofConn), "")
			return
		case errors.Is(err, http2.ErrFrameTooLarge):
			c.sayGoodbye(http2.ErrCodeFrameSize, "")
			return
		case errors.Is(err, errTooManyPings):
			c.sayGoodbye(http2.ErrCodeEnhanceYourCalm, err.Error())
			return
		default:
			return
		}
	}
}

var errTooManyPings = errors.New("too_many_pings")

// greet begins the connection; false: the client does not speak HTTP/2.
func (c *http2Conn) greet() bool {
	if secure, is := c.stream.(*tls.Conn); is {
		if secure.Handshake() != nil || secure.ConnectionState().NegotiatedProtocol != http2.NextProtoTLS {
			return false
		}
	}
	wanted := c.port.wanted
	settings := []http2.Setting{{ID: http2.SettingInitialWindowSize, Val: windowBytes}}
	if wanted.MostStreams > 0 {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: wanted.MostStreams})
	}
	if wanted.MostHeaderBytes > 0 {
		settings = append(settings, http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: wanted.MostHeaderBytes})
	}
	// First of all: by that a client of HTTP/1.1 sees what it has met.
	c.lock.Lock()
	c.control().WriteSettings(settings...)
	c.control().WriteWindowUpdate(0, windowBytes-65535)
	c.flush()
	c.lock.Unlock()
	reader := bufio.NewReaderSize(c.stream, http2Bytes)
	var preface [len(http2.ClientPreface)]byte
	if _, err := io.ReadFull(reader, preface[:]); err != nil || string(preface[:]) != http2.ClientPreface {
		return false
	}
	c.framer = http2.NewFramer(nil, reader)
	c.framer.SetMaxReadFrameSize(http2Bytes)
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(tableBytes, nil)
	c.framer.MaxHeaderListSize = wanted.MostHeaderBytes
	c.lock.Lock()
	defer c.lock.Unlock()
	c.greeted = true
	return true
}

// next reads one frame.
func (c *http2Conn) next() error {
	if c.isBehind.Load() {
		c.awaitTaken()
	}
	read, err := c.framer.ReadFrame()
	if err != nil {
		return err
	}
	if !c.hasSettings {
		if _, c.hasSettings = read.(*http2.SettingsFrame); !c.hasSettings {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
	}
	if data, is := read.(*http2.DataFrame); is {
		return c.data(data)
	}
	if headers, is := read.(*http2.MetaHeadersFrame); is {
		return c.open(headers)
	}
	c.lock.Lock()
	defer c.lock.Unlock()
	defer c.flush()
	c.lastRead = c.port.clock()
	switch frame := read.(type) {
	case *http2.RSTStreamFrame:
		if frame.StreamID > c.seen {
			return http2.ConnectionError(http2.ErrCodeProtocol)
		}
		if found := c.calls[frame.StreamID]; found != nil {
			found.end()
		}
	case *http2.SettingsFrame:
		return c.settings(frame)
	case *http2.PingFrame:
		return c.ping(frame)
	case *http2.WindowUpdateFrame:
		return c.update(frame)
	case *http2.PushPromiseFrame:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	return nil
}

func (c *http2Conn) settings(frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		return nil
	}
	err := frame.ForeachSetting(func(setting http2.Setting) error {
		if err := setting.Valid(); err != nil {
			return err
		}
		switch setting.ID {
		case http2.SettingInitialWindowSize:
			more := int64(setting.Val) - c.newWindow
			c.newWindow = int64(setting.Val)
			for _, one := range c.calls {
				if one.window += more; one.window > mostWindow {
					return http2.ConnectionError(http2.ErrCodeFlowControl)
				}
				c.enqueue(one)
			}
		case http2.SettingMaxFrameSize:
			c.frameBytes = min(int64(setting.Val), outBytes)
		case http2.SettingHeaderTableSize:
			c.shrinks = !c.hasShrunk && (c.shrinks || setting.Val < tableBytes)
		}
		return nil
	})
	if err == nil {
		c.control().WriteSettingsAck()
	}
	return err
}

// ping answers one, unless there are too many of them, as gRPC's servers count.
func (c *http2Conn) ping(frame *http2.PingFrame) error {
	if frame.IsAck() {
		if string(frame.Data[:]) == leavingPing {
			c.leave()
		}
		return nil
	}
	c.control().WritePing(true, frame.Data)
	wanted, now := c.port.wanted, time.Now()
	least := milliseconds(wanted.MinimalPing)
	if len(c.calls) == 0 && !wanted.PingsWithoutCalls {
		least = pingEvery
	}
	switch {
	case c.sent:
		c.sent, c.strikes = false, 0
	case now.Sub(c.lastPing) < least:
		c.strikes++
	}
	c.lastPing = now
	if c.strikes > mostStrikes {
		return errTooManyPings
	}
	return nil
}

// update lets more be sent.
func (c *http2Conn) update(frame *http2.WindowUpdateFrame) error {
	more := int64(frame.Increment)
	if frame.StreamID == 0 {
		if c.window += more; c.window > mostWindow {
			return http2.ConnectionError(http2.ErrCodeFlowControl)
		}
		return nil
	}
	if frame.StreamID > c.seen {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	if found := c.calls[frame.StreamID]; found != nil {
		if found.window += more; found.window > mostWindow {
			c.reset(frame.StreamID, http2.ErrCodeFlowControl)
			return nil
		}
		c.enqueue(found)
	}
	return nil
}

// data takes a part of a request.
func (c *http2Conn) data(frame *http2.DataFrame) error {
	size := int64(frame.Length)
	if c.unread += size; c.unread > windowBytes {
		return http2.ConnectionError(http2.ErrCodeFlowControl)
	}
	c.lock.Lock()
	c.lastRead = c.port.clock()
	if c.unread >= toldBytes {
		c.control().WriteWindowUpdate(0, uint32(c.unread))
		c.unread = 0
		c.flush()
		// Much has come: others must not wait until all of it has.
		defer runtime.Gosched()
	}
	found, isFuture := c.calls[frame.StreamID], frame.StreamID > c.seen
	wasWhole := found != nil && found.isWhole
	if found != nil {
		found.isWhole = wasWhole || frame.StreamEnded()
	}
	c.lock.Unlock()
	switch {
	case isFuture:
		return http2.ConnectionError(http2.ErrCodeProtocol)
	case found == nil:
		return nil // It was ended here, which the client did not know yet.
	case wasWhole:
		return http2.StreamError{StreamID: frame.StreamID, Code: http2.ErrCodeStreamClosed}
	}
	found.come += int64(len(frame.Data()))
	if found.length >= 0 && (found.come > found.length || frame.StreamEnded() && found.come < found.length) {
		return http2.StreamError{StreamID: frame.StreamID, Code: http2.ErrCodeProtocol}
	}
	if found.unread += size; found.unread > windowBytes {
		return http2.StreamError{StreamID: frame.StreamID, Code: http2.ErrCodeFlowControl}
	}
	if found.unread >= toldBytes && !frame.StreamEnded() {
		c.lock.Lock()
		c.control().WriteWindowUpdate(frame.StreamID, uint32(found.unread))
		c.flush()
		c.lock.Unlock()
		found.unread = 0
	}
	found.receive(frame.Data(), frame.StreamEnded())
	return nil
}

// goAway has the client open no more calls, and ends the connection after those that are open.
func (c *http2Conn) goAway() {
	c.lock.Lock()
	defer c.lock.Unlock()
	if c.farewell != stays {
		return
	}
	c.farewell, c.told = isTold, c.port.clock()
	if !c.greeted {
		c.close()
		return
	}
	c.control().WriteGoAway(mostWindow, http2.ErrCodeNo, nil)
	c.control().WritePing(false, [8]byte([]byte(leavingPing)))
	c.flush()
}

// leave takes no more calls. Under the lock.
func (c *http2Conn) leave() {
	if c.farewell != isTold {
		return
	}
	c.farewell = leaves
	c.control().WriteGoAway(c.last, http2.ErrCodeNo, nil)
	c.flush()
}

// sayGoodbye says why the connection ends here, and reads until the client has closed it or has had
// the time for it.
func (c *http2Conn) sayGoodbye(code http2.ErrCode, text string) {
	c.lock.Lock()
	c.control().WriteGoAway(c.last, code, []byte(text))
	c.endCalls()
	c.farewell = leaves
	c.conn.SetReadDeadline(time.Now().Add(hangUpTimeout))
	c.flush()
	c.lock.Unlock()
	io.Copy(io.Discard, c.stream)
}

// end has nobody wait for anything.
func (c *http2Conn) end() {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.close()
	c.endCalls()
}

// endCalls ends all calls. Under the lock.
func (c *http2Conn) endCalls() {
	for _, one := range c.calls {
		one.end()
	}
}

// endStalled ends the calls for whose answers the client has opened no window for long: those that wait
// for their turn stay. Under the lock.
func (c *http2Conn) endStalled(now time.Duration) {
	c.looked = now
	for _, one := range c.calls {
		isShut := !one.isQueued || now-c.moved > c.port.patience
		if one.isAnswered && isShut && now-one.moved > c.port.patience {
			c.reset(one.stream, http2.ErrCodeCancel)
		}
	}
}

// lookAt ends what has taken too long, and asks who was silent for long.
func (c *http2Conn) lookAt(now time.Duration) {
	c.lock.Lock()
	defer c.lock.Unlock()
	wanted, leave := c.port.wanted, false
	every, age := milliseconds(wanted.KeepaliveTime), milliseconds(wanted.MaxConnectionAgeGrace)
	idle := milliseconds(wanted.MaxConnectionIdle)
	switch {
	case !c.greeted:
		if now-c.opened > handshakeTimeout {
			c.close()
		}
	case c.farewell == isTold && now-c.told > leavingTimeout:
		c.leave()
	case c.until > 0 && now > c.until && age > 0 && now > c.until+age:
		c.close()
	case c.farewell == stays:
		leave = c.until > 0 && now > c.until ||
			idle > 0 && len(c.calls) == 0 && now-max(c.idle, c.opened) > idle
	}
	if every > 0 && c.greeted {
		switch {
		case c.pinged > c.lastRead:
			if now-c.pinged > milliseconds(wanted.KeepaliveTimeout) {
				c.close()
			}
		case now-max(c.lastRead, c.opened) > every:
			c.pinged = now
			c.control().WritePing(false, [8]byte{})
			c.flush()
		}
	}
	if now-c.looked > c.port.patience/8 {
		c.endStalled(now)
	}
	if leave {
		go c.goAway()
	}
}
