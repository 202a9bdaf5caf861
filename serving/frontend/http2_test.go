package main

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// conn returns the only connection of a port.
func (s *grpcServer) conn(t *testing.T) *http2Conn {
	t.Helper()
	s.lock.Lock()
	defer s.lock.Unlock()
	for c := range s.conns {
		return c
	}
	t.Fatal("there is no connection")
	return nil
}

// awaitPing returns once all that was sent has been read.
func (c *http2Client) awaitPing(t *testing.T) {
	t.Helper()
	c.WritePing(false, [8]byte{1})
	for {
		read, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if ping, is := read.(*http2.PingFrame); is && ping.IsAck() {
			return
		}
	}
}

func TestABodyLongerThanItsMessageIsRefusedWhileItComes(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	c.ask(1, false)
	c.WriteData(1, false, append(message("a"), 'b'))
	if got := c.end(1); got != "200 13 ended" {
		t.Fatal(got)
	}
	server.holdsNothing(t)
}

func TestWhatIsUnpackedIsNotCopiedAgainAndAgain(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	writer.Write(make([]byte, 8<<20)) // Its first bytes say nothing of its length.
	writer.Close()
	body := append(binary.BigEndian.AppendUint32([]byte{1}, uint32(packed.Len())), packed.Bytes()...)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.WriteWindowUpdate(0, 1<<30)
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	c.ask(1, false, "grpc-encoding", "gzip")
	c.WriteData(1, true, body)
	if got := c.end(1); got != "200 0 ended" {
		t.Fatal(got)
	}
	runtime.ReadMemStats(&after)
	if made := after.TotalAlloc - before.TotalAlloc; made > 400<<20 {
		t.Fatalf("%d MiB for 8", made>>20)
	}
	server.holdsNothing(t)
}

func TestCallsThatAreResetDoNotStayWhileNoWindowOpens(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	for stream := uint32(1); stream < 500; stream += 2 {
		c.ask(stream, false)
		c.WriteData(stream, true, message(strings.Repeat("x", 2000))[:2005]) // Of all, 64 KiB may be sent.
		for {
			read, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if headers, is := read.(*http2.MetaHeadersFrame); is && headers.StreamID == stream {
				break
			}
		}
		if stream > 80 {
			c.WriteRSTStream(stream, http2.ErrCodeCancel)
		}
	}
	c.awaitPing(t)
	conn := server.conn(t)
	conn.lock.Lock()
	defer conn.lock.Unlock()
	if len(conn.queue) > 2*len(conn.calls)+2 {
		t.Fatalf("%d wait, of %d", len(conn.queue), len(conn.calls))
	}
}

func TestCallsForTheHealthAreFewOfAConnection(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	stream := uint32(1)
	for range mostProbes {
		c.ask(stream, false, ":path", healthCheck)
		stream += 2
	}
	c.ask(stream, false, ":path", healthCheck)
	if got := c.end(stream); got != "REFUSED_STREAM" {
		t.Fatal(got)
	}
	c.WriteRSTStream(1, http2.ErrCodeCancel)
	c.ask(stream+2, false, ":path", healthCheck)
	c.WriteData(stream+2, true, message(""))
	if got := c.end(stream + 2); got != "200 0 ended" {
		t.Fatal(got)
	}
}

func TestASmallerTableOfHeadersIsConfirmedOnce(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	c.ReadMetaHeaders = nil
	c.WriteSettings(http2.Setting{ID: http2.SettingHeaderTableSize, Val: 0})
	for stream := uint32(1); stream < 5; stream += 2 {
		c.ask(stream, true)
		for {
			read, err := c.ReadFrame()
			if err != nil {
				t.Fatal(err)
			}
			if headers, is := read.(*http2.HeadersFrame); is {
				if isFirst := headers.HeaderBlockFragment()[0] == emptyTable; isFirst != (stream == 1) {
					t.Fatal(stream, headers.HeaderBlockFragment())
				}
				break
			}
		}
	}
}

func TestWhatIsOpenedAfterTheGoodbyeHarmsNoOtherCall(t *testing.T) {
	server := newGRPCServer(t, func(wanted *config) { wanted.GRPC.MaxConnectionAge = 100 })
	c := server.dial(t)
	c.ask(1, false)
	c.WritePing(true, c.pinged(t).Data)
	c.ask(3, false)
	c.WriteData(3, false, message("a"))
	c.WriteWindowUpdate(3, 1)
	c.WriteRSTStream(3, http2.ErrCodeCancel)
	c.WriteData(1, true, message("a"))
	if got := c.end(1); got != "NO_ERROR 200 0 ended" {
		t.Fatal(got)
	}
	// Nothing is lost of an answer, whatever the client sends meanwhile.
	if got := c.end(5); got != "closed" {
		t.Fatal(got)
	}
	for range 5 {
		if err := c.WritePing(true, [8]byte{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatTrailsACallThatWasRefusedHarmsNoOther(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	c.ask(1, false)
	c.ask(3, false, ":path", "/a.S/Other")
	if got := c.end(3); got != "200 12 ended" {
		t.Fatal(got)
	}
	trailer := []byte{0, 1, 'x', 1, 'y'}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 3, BlockFragment: trailer, EndHeaders: true, EndStream: true})
	c.WriteData(1, false, message("a"))
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: trailer, EndHeaders: true, EndStream: true})
	if got := c.end(1); got != "200 0 ended" {
		t.Fatal(got)
	}
}

func TestAnAnswerThatNobodyTakesEnds(t *testing.T) {
	server := newGRPCServer(t, nil)
	server.patience = 200 * time.Millisecond
	c := server.dial(t)
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 0})
	c.ask(1, false)
	c.WriteData(1, true, message("a"))
	if got := c.end(1); got != "200 CANCEL" {
		t.Fatal(got)
	}
	server.holdsNothing(t)
}

func TestLargeFramesAreNotMadeBecauseAClientTakesThem(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	c.WriteWindowUpdate(0, 1<<30)
	c.WriteSettings(
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30},
		http2.Setting{ID: http2.SettingMaxFrameSize, Val: 1<<24 - 1},
	)
	body := message(strings.Repeat("x", 1<<20-5-http2Bytes))
	c.ask(1, false)
	for rest := body; len(rest) > 0; {
		size := min(len(rest), http2Bytes)
		c.WriteData(1, size == len(rest), rest[:size])
		rest = rest[size:]
	}
	for {
		read, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if read.Header().Length > outBytes {
			t.Fatal(read)
		}
		if read.Header().Flags.Has(http2.FlagHeadersEndStream) && read.Header().Type == http2.FrameHeaders {
			return
		}
	}
}

func TestAConnectionBeginsWithSettings(t *testing.T) {
	server := newGRPCServer(t, nil)
	conn, err := net.Dial("tcp", server.address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	c := &http2Client{Conn: conn, Framer: http2.NewFramer(conn, conn)}
	io.WriteString(conn, http2.ClientPreface)
	c.WritePing(false, [8]byte{})
	if got := c.end(1); got != "PROTOCOL_ERROR closed" {
		t.Fatal(got)
	}
}

func TestNothingMoreIsReadOfAClientThatReadsNothing(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	c.awaitPing(t)
	frames := bytes.Repeat([]byte{0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0}, 1<<20)
	c.SetWriteDeadline(time.Now().Add(time.Second))
	sent, err := c.Conn.Write(frames)
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal(sent, err)
	}
	conn := server.conn(t)
	conn.lock.Lock()
	if waiting := len(conn.out) + len(conn.sending); conn.closed || waiting > 4*mostUntaken {
		t.Fatal(conn.closed, waiting)
	}
	conn.lock.Unlock()
	c.SetDeadline(time.Now().Add(time.Minute))
	for count := 0; count < 10_000; {
		read, err := c.ReadFrame()
		if err != nil {
			t.Fatal(count, err)
		}
		if settings, is := read.(*http2.SettingsFrame); is && settings.IsAck() {
			count++
		}
	}
}

func TestALargeBodyCountsUntilTheLinkHasSentIt(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	server.link.largeLock.Lock() // Another one is being sent.
	c.ask(1, false)
	for rest := message(strings.Repeat("x", 400<<10)); len(rest) > 0; {
		size := min(len(rest), http2Bytes)
		c.WriteData(1, size == len(rest), rest[:size])
		rest = rest[size:]
	}
	c.WriteRSTStream(1, http2.ErrCodeCancel)
	c.awaitPing(t)
	held := server.bodies.held.Load()
	server.link.largeLock.Unlock()
	if held < 400<<10 {
		t.Fatal(held)
	}
	server.holdsNothing(t)
}

func TestWhatWaitsForPythonIsBounded(t *testing.T) {
	l, small, _ := linked(t)
	const count = 100
	body, most := make([]byte, 200<<10), 0
	for range 2 {
		// The second finds somebody sending, and waits for nothing but room.
		go func() {
			for range count {
				l.sendSmall(header{kind: kindGRPC}, "", entry{body: uint64(len(body))}, body)
			}
		}()
	}
	for started := time.Now(); most <= keptBytes && time.Since(started) < time.Minute; time.Sleep(time.Millisecond) {
		l.outLock.Lock()
		most = max(most, len(l.out))
		l.outLock.Unlock()
	}
	for range 100 { // There is time for more.
		time.Sleep(time.Millisecond)
		l.outLock.Lock()
		most = max(most, len(l.out))
		l.outLock.Unlock()
	}
	if most <= keptBytes || most > keptBytes+1<<20 {
		t.Fatal(most)
	}
	small.Close() // Nobody waits any longer.
}

// FuzzFrames has a connection read anything, which must harm no other.
func FuzzFrames(f *testing.F) {
	server := newGRPCServer(f, nil)
	var frames bytes.Buffer
	made := &http2Client{Framer: http2.NewFramer(&frames, nil)}
	made.encode()
	made.ask(1, false)
	made.WriteDataPadded(1, false, message("a"), make([]byte, 9))
	made.WritePriority(1, http2.PriorityParam{StreamDep: 3})
	made.WriteData(1, true, nil)
	f.Add(bytes.Clone(frames.Bytes()))
	made.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	made.ask(3, false, ":path", healthCheck)
	made.WriteData(3, true, message(""))
	made.WriteWindowUpdate(3, 9)
	made.WriteRSTStream(3, http2.ErrCodeCancel)
	f.Add(bytes.Clone(frames.Bytes()))
	f.Fuzz(func(t *testing.T, data []byte) {
		conn, err := net.Dial("tcp", server.address)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(conn, http2.ClientPreface)
		conn.Write([]byte{0, 0, 0, byte(http2.FrameSettings), 0, 0, 0, 0, 0})
		conn.Write(data)
		conn.(*net.TCPConn).CloseWrite()
		if _, err := io.Copy(io.Discard, conn); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		server.holdsNothing(t)
	})
}
