package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // What clients send may be packed.
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// grpcServer is a port with a Python that answers with what it was sent, "slow" not at all, and
// "wrong" by an error.
type grpcServer struct {
	*grpcPort
	address string
	// gone are the calls that Python was told to forget, slow those that it has and does not answer.
	gone, slow chan uint64
	health     *health
}

func newGRPCServer(t testing.TB, change func(*config)) *grpcServer {
	t.Helper()
	l, small, large := linked(t)
	wanted := &config{TooMuchWaits: "too much waits", TooMuchUntaken: "too much untaken", MostWaitingBytes: 32 << 20}
	wanted.GRPC = grpcConfig{
		SocketPath: "", Services: map[string][]string{"a.S": {"Echo"}}, Refusal: "no token",
		MostMessageBytes: 8 << 20, MostSentBytes: -1, MostHeaderBytes: 16 << 10, TooManyCalls: "too many calls",
		KeepaliveTime: 7200_000, KeepaliveTimeout: 20_000, MinimalPing: 300_000,
	}
	if change != nil {
		change(wanted)
	}
	guard, err := newToken(wanted.TokenDigest)
	if err != nil {
		t.Fatal(err)
	}
	told := newHealth([]string{""})
	told.set(true)
	untaken := limit{0, &atomic.Int64{}, &answers{most: wanted.MostUntakenBytes}}
	bodies := &budget{most: wanted.MostWaitingBytes}
	port, err := newGRPCPort(wanted, l, told, bodies, untaken, guard)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port.listeners = append(port.listeners, untaken.of(listener))
	server := &grpcServer{port, listener.Addr().String(), make(chan uint64, 1000), make(chan uint64, 1000), told}
	for _, conn := range []net.Conn{small, large} {
		go func() {
			reader, scratch := bufio.NewReader(conn), [headerBytes]byte{}
			for {
				found, err := readFrames(reader, &scratch)
				if err != nil {
					return
				}
				for _, got := range found {
					h := header{kind: kindGRPCAnswer}
					switch {
					case got.kind == kindCancel:
						server.gone <- got.id
						continue
					case string(got.content) == "slow":
						server.slow <- got.id
						continue
					case string(got.content) == "wrong":
						h.status, got.content = uint16(codes.InvalidArgument), []byte("wrong: 100 %, ü")
					case string(got.content) == "long":
						h.status, got.content = uint16(codes.Internal), bytes.Repeat([]byte("%"), 20_000)
					}
					h.entries = entryBytes + uint64(len(got.content))
					small.Write(append(entry{id: got.id, body: uint64(len(got.content))}.appendTo(h.appendTo(nil)), got.content...))
				}
			}
		}()
	}
	port.serve()
	t.Cleanup(func() { port.drain(0) })
	return server
}

// plain sends and takes bytes.
type plain struct{}

func (plain) Name() string                       { return "proto" }
func (plain) Marshal(value any) ([]byte, error)  { return *value.(*[]byte), nil }
func (plain) Unmarshal(data []byte, v any) error { *v.(*[]byte) = bytes.Clone(data); return nil }

var _ encoding.Codec = plain{}

func (s *grpcServer) client(t *testing.T, options ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	options = append(options, grpc.WithTransportCredentials(insecure.NewCredentials()))
	client, err := grpc.NewClient(s.address, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func echo(ctx context.Context, client *grpc.ClientConn, message []byte, options ...grpc.CallOption) ([]byte, error) {
	var answer []byte
	options = append(options, grpc.ForceCodec(plain{}), grpc.MaxCallRecvMsgSize(64<<20))
	err := client.Invoke(ctx, "/a.S/Echo", &message, &answer, options...)
	return answer, err
}

func (s *grpcServer) holdsNothing(t testing.TB) {
	t.Helper()
	for start := time.Now(); ; time.Sleep(time.Millisecond) {
		if s.bodies.held.Load() == 0 && s.calls.open.Load() == 0 {
			return
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%d bytes and %d calls are held", s.bodies.held.Load(), s.calls.open.Load())
		}
	}
}

func TestMessagesOfAnySizeComeBack(t *testing.T) {
	server := newGRPCServer(t, nil)
	client := server.client(t)
	for _, size := range []int{0, 1, 1 << 10, 16<<10 - 5, 16 << 10, 70_000, 300_000, 1 << 20, 5 << 20, 8 << 20} {
		message := bytes.Repeat([]byte{byte(size), 7}, size/2+1)[:size]
		for _, options := range [][]grpc.CallOption{nil, {grpc.UseCompressor("gzip")}} {
			got, err := echo(t.Context(), client, message, options...)
			if err != nil || !bytes.Equal(got, message) {
				t.Fatalf("%d bytes: %d, %v", size, len(got), err)
			}
		}
	}
	server.holdsNothing(t)
}

func TestManyCallsOfOneConnectionAreUnderWayTogether(t *testing.T) {
	server := newGRPCServer(t, nil)
	client := server.client(t)
	ended := make(chan error)
	for at := range 200 {
		go func() {
			message := bytes.Repeat([]byte{byte(at)}, at*1000)
			got, err := echo(context.Background(), client, message)
			if err == nil && !bytes.Equal(got, message) {
				err = io.ErrUnexpectedEOF
			}
			ended <- err
		}()
	}
	for range 200 {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	server.holdsNothing(t)
}

func TestWhatIsWrongIsSaidByItsStatus(t *testing.T) {
	server := newGRPCServer(t, nil)
	client := server.client(t)
	_, err := echo(t.Context(), client, []byte("wrong"))
	if status.Code(err) != codes.InvalidArgument || status.Convert(err).Message() != "wrong: 100 %, ü" {
		t.Fatal(err)
	}
	if _, err := echo(t.Context(), client, make([]byte, 8<<20+1)); status.Code(err) != codes.ResourceExhausted {
		t.Fatal(err)
	}
	var answer []byte
	for _, path := range []string{"/a.S/Other", "/b.S/Echo"} {
		err := client.Invoke(t.Context(), path, &[]byte{}, &answer, grpc.ForceCodec(plain{}))
		if status.Code(err) != codes.Unimplemented {
			t.Fatal(err)
		}
	}
	large := metadata.AppendToOutgoingContext(t.Context(), "x", strings.Repeat("y", 20<<10))
	if _, err := echo(large, client, nil); err == nil {
		t.Fatal("headers are not bounded")
	}
	if _, err := echo(t.Context(), client, nil); err != nil {
		t.Fatal(err)
	}
	server.holdsNothing(t)
}

func TestACallThatIsGivenUpIsToldToPython(t *testing.T) {
	server := newGRPCServer(t, nil)
	client := server.client(t)
	if _, err := echo(t.Context(), client, nil); err != nil { // Connected.
		t.Fatal(err)
	}
	late, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := echo(late, client, []byte("slow")); status.Code(err) != codes.DeadlineExceeded {
		t.Fatal(err)
	}
	<-server.slow
	<-server.gone
	given, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() { <-server.slow; cancel() }()
	if _, err := echo(given, client, []byte("slow")); status.Code(err) != codes.Canceled {
		t.Fatal(err)
	}
	<-server.gone
	go echo(context.Background(), client, []byte("slow"))
	<-server.slow
	client.Close()
	<-server.gone
	server.holdsNothing(t)
}

func TestHealthAndReflectionAreAnsweredOnTheSameConnections(t *testing.T) {
	server := newGRPCServer(t, func(wanted *config) { wanted.TokenDigest = strings.Repeat("ab", 32) })
	client := server.client(t)
	if _, err := echo(t.Context(), client, nil); status.Code(err) != codes.Unauthenticated {
		t.Fatal(err)
	}
	stub := healthgrpc.NewHealthClient(client)
	got, err := stub.Check(t.Context(), &healthgrpc.HealthCheckRequest{})
	if err != nil || got.Status != healthgrpc.HealthCheckResponse_SERVING {
		t.Fatal(got, err)
	}
	if _, err := stub.Check(t.Context(), &healthgrpc.HealthCheckRequest{Service: "x"}); status.Code(err) != codes.NotFound {
		t.Fatal(err)
	}
	packed, err := stub.Check(t.Context(), &healthgrpc.HealthCheckRequest{}, grpc.UseCompressor("gzip"))
	if err != nil || packed.Status != healthgrpc.HealthCheckResponse_SERVING {
		t.Fatal(packed, err)
	}
	watch, err := stub.Watch(t.Context(), &healthgrpc.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, serving := range []bool{true, false, true} {
		server.health.set(serving)
		told, err := watch.Recv()
		if err != nil || told.Status != statusOf(serving) {
			t.Fatal(told, err)
		}
	}
	server.health.drain()
	watch.Recv()
	if _, err := watch.Recv(); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	server.holdsNothing(t)
}

func TestCallsAboveTheNumberAreRefused(t *testing.T) {
	server := newGRPCServer(t, func(wanted *config) { wanted.GRPC.MostCalls = 1 })
	client := server.client(t)
	ctx, cancel := context.WithCancel(t.Context())
	go echo(ctx, client, []byte("slow"))
	<-server.slow
	if _, err := echo(t.Context(), client, nil); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	cancel()
	<-server.gone
	server.holdsNothing(t)
}

func TestAPortThatEndsWaitsForItsCalls(t *testing.T) {
	server := newGRPCServer(t, nil)
	client := server.client(t)
	if _, err := echo(t.Context(), client, nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	answered := make(chan error)
	go func() {
		_, err := echo(ctx, client, []byte("slow"))
		answered <- err
	}()
	<-server.slow
	started := time.Now()
	server.drain(time.Minute)
	if err := <-answered; status.Code(err) != codes.DeadlineExceeded {
		t.Fatal("it was cut off: ", err)
	}
	if took := time.Since(started); took > 30*time.Second {
		t.Fatal(took)
	}
}

// http2Client speaks to a port by frames.
type http2Client struct {
	net.Conn
	*http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
}

func (s *grpcServer) dial(t *testing.T) *http2Client {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	io.WriteString(conn, http2.ClientPreface)
	c := &http2Client{Conn: conn, Framer: http2.NewFramer(conn, bufio.NewReader(conn))}
	c.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encode()
	c.WriteSettings()
	return c
}

func (c *http2Client) encode() { c.encoder = hpack.NewEncoder(&c.block) }

func (c *http2Client) ask(stream uint32, ends bool, changed ...string) {
	c.block.Reset()
	fields := map[string]string{
		":method": "POST", ":scheme": "http", ":path": "/a.S/Echo", ":authority": "x", "content-type": "application/grpc",
	}
	for at := 0; at < len(changed); at += 2 {
		fields[changed[at]] = changed[at+1]
	}
	for _, name := range []string{
		":method", ":scheme", ":path", ":authority", "content-type", "grpc-timeout", "grpc-encoding", "connection",
		"te", "content-length", "upgrade",
	} {
		if value := fields[name]; value != "" {
			c.encoder.WriteField(hpack.HeaderField{Name: name, Value: value})
		}
	}
	c.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: c.block.Bytes(), EndHeaders: true, EndStream: ends})
}

func message(text string) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, uint32(len(text))), text...)
}

// pinged returns the server's next ping, which is not answered yet.
func (c *http2Client) pinged(t *testing.T) *http2.PingFrame {
	t.Helper()
	for {
		read, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if ping, is := read.(*http2.PingFrame); is && !ping.IsAck() {
			return ping
		}
	}
}

// end reads until a stream or the connection ends, and returns how.
func (c *http2Client) end(stream uint32) string {
	text := ""
	for {
		read, err := c.ReadFrame()
		if err != nil {
			return text + "closed"
		}
		switch frame := read.(type) {
		case *http2.MetaHeadersFrame:
			for _, field := range frame.Fields {
				if field.Name == ":status" || field.Name == "grpc-status" {
					text += field.Value + " "
				}
			}
			if frame.StreamID == stream && frame.StreamEnded() {
				return text + "ended"
			}
		case *http2.RSTStreamFrame:
			if frame.StreamID == stream {
				return text + frame.ErrCode.String()
			}
		case *http2.GoAwayFrame:
			text += frame.ErrCode.String() + " "
		}
	}
}

func TestEachMistakeOfACallEndsItAlone(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	stream := uint32(1)
	for _, one := range []struct {
		ends    bool
		data    []byte
		changed []string
		wanted  string
	}{
		{false, message("a"), nil, "200 0 ended"},
		{true, nil, nil, "200 13 ended"},
		{false, []byte{0, 0}, nil, "200 13 ended"},
		{false, message("a")[:5], nil, "200 13 ended"},
		{false, append(message("a"), message("b")...), nil, "200 13 ended"},
		{false, message("long"), nil, "200 13 ended"},
		{false, append([]byte{1}, message("a")[1:]...), nil, "200 13 ended"},
		{false, append([]byte{1}, message("a")[1:]...), []string{"grpc-encoding", "br"}, "200 12 ended"},
		{false, append([]byte{1}, message("a")[1:]...), []string{"grpc-encoding", "gzip"}, "200 13 ended"},
		{false, append([]byte{2}, message("a")[1:]...), []string{"grpc-encoding", "gzip"}, "200 13 ended"},
		{true, nil, []string{"content-type", "text/plain"}, "415 3 ended"},
		{true, nil, []string{"content-type", "application/grpcx"}, "415 3 ended"},
		{false, message("a"), []string{"content-type", "application/grpc+proto"}, "200 0 ended"},
		{true, nil, []string{":method", "GET"}, "405 13 ended"},
		{true, nil, []string{":authority", ""}, "400 13 ended"},
		{true, nil, []string{"grpc-timeout", "1x"}, "400 13 ended"},
		{true, nil, []string{"grpc-timeout", "123456789S"}, "400 13 ended"},
		{false, nil, []string{"grpc-timeout", "0S"}, "200 4 ended"},
		{false, message("a"), []string{"grpc-timeout", "99999999H"}, "200 0 ended"},
		{true, nil, []string{"connection", "close"}, "PROTOCOL_ERROR"},
		{true, nil, []string{"upgrade", "h2c"}, "PROTOCOL_ERROR"},
		{true, nil, []string{"te", "gzip"}, "PROTOCOL_ERROR"},
		{true, nil, []string{":path", ""}, "PROTOCOL_ERROR"},
		{true, nil, []string{":method", ""}, "PROTOCOL_ERROR"},
		{true, nil, []string{":scheme", ""}, "PROTOCOL_ERROR"},
		{true, nil, []string{"content-length", "6"}, "PROTOCOL_ERROR"},
		{false, message("a"), []string{"content-length", "5"}, "PROTOCOL_ERROR"},
		{false, message("a"), []string{"content-length", "7"}, "PROTOCOL_ERROR"},
		{false, message("a"), []string{"content-length", "6", "te", "trailers"}, "200 0 ended"},
	} {
		c.ask(stream, one.ends, one.changed...)
		if one.data != nil {
			c.WriteData(stream, true, one.data)
		}
		if got := c.end(stream); got != one.wanted {
			t.Errorf("%v: %s, not %s", one, got, one.wanted)
		}
		stream += 2
	}
	c.ask(stream, false)
	for _, char := range message("in pieces") {
		c.WriteData(stream, false, []byte{char})
	}
	c.WriteData(stream, true, nil)
	if got := c.end(stream); got != "200 0 ended" {
		t.Error(got)
	}
	server.holdsNothing(t)
}

func TestEachMistakeOfAConnectionEndsIt(t *testing.T) {
	server := newGRPCServer(t, nil)
	for wanted, mistake := range map[string]func(c *http2Client){
		"PROTOCOL_ERROR closed":     func(c *http2Client) { c.ask(2, true) },
		"FLOW_CONTROL_ERROR closed": func(c *http2Client) { c.WriteWindowUpdate(0, mostWindow) },
		"FRAME_SIZE_ERROR closed":   func(c *http2Client) { c.ask(1, false); c.WriteData(1, false, make([]byte, http2Bytes+1)) },
		"closed":                    func(c *http2Client) { c.CloseWrite() },
		"ENHANCE_YOUR_CALM closed": func(c *http2Client) {
			for range 5 {
				c.WritePing(false, [8]byte{})
			}
		},
		"PROTOCOL_ERROR  closed": func(c *http2Client) { c.WriteRSTStream(7, http2.ErrCodeCancel) },
		"PROTOCOL_ERROR   closed": func(c *http2Client) {
			c.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		},
	} {
		c := server.dial(t)
		mistake(c)
		if got := c.end(1); !strings.HasSuffix(got, strings.Join(strings.Fields(wanted), " ")) {
			t.Errorf("%s, not %s", got, wanted)
		}
	}
	server.holdsNothing(t)
}

func TestAClientOfHTTP1SeesWhatItHasMet(t *testing.T) {
	server := newGRPCServer(t, nil)
	conn, err := net.Dial("tcp", server.address)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(conn); err != nil || len(got) < 4 || http2.FrameType(got[3]) != http2.FrameSettings {
		t.Fatalf("%q %v", got, err)
	}
}

func (c *http2Client) CloseWrite() { c.Conn.(*net.TCPConn).CloseWrite() }

func TestAnAnswerWaitsForItsWindows(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10})
	c.ask(1, false)
	c.WriteData(1, true, message(strings.Repeat("x", 100)))
	got := 0
	for got < 105 {
		read, err := c.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		if data, is := read.(*http2.DataFrame); is {
			if len(data.Data()) > 10 {
				t.Fatal(len(data.Data()))
			}
			got += len(data.Data())
			c.WriteWindowUpdate(1, 10)
		}
	}
	if got := c.end(1); got != "0 ended" {
		t.Fatal(got)
	}
	server.holdsNothing(t)
}

func TestAClientThatReadsNothingHoldsNobodyUp(t *testing.T) {
	server := newGRPCServer(t, nil)
	c := server.dial(t)
	c.WriteWindowUpdate(0, 1<<30)
	c.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	body := message(strings.Repeat("x", 1<<20-5-65535))
	for stream := uint32(1); stream < 40; stream += 2 {
		c.ask(stream, false)
		for rest := body; len(rest) > 0; {
			size := min(len(rest), http2Bytes)
			c.WriteData(stream, size == len(rest), rest[:size])
			rest = rest[size:]
		}
		other := server.client(t)
		if _, err := echo(t.Context(), other, []byte("a")); err != nil {
			t.Fatal(err)
		}
		other.Close()
	}
	c.Close()
	server.holdsNothing(t)
}

func TestASilentConnectionIsAskedAndThenClosed(t *testing.T) {
	server := newGRPCServer(t, func(wanted *config) { wanted.GRPC.KeepaliveTime, wanted.GRPC.KeepaliveTimeout = 100, 100 })
	c := server.dial(t)
	c.pinged(t)
	if got := c.end(1); got != "closed" {
		t.Fatal(got)
	}
}

func TestAnOldConnectionIsToldToEnd(t *testing.T) {
	server := newGRPCServer(t, func(wanted *config) { wanted.GRPC.MaxConnectionAge = 100 })
	c := server.dial(t)
	c.ask(1, false)
	c.WritePing(true, c.pinged(t).Data)
	c.WriteData(1, true, message("a"))
	if got := c.end(1); got != "NO_ERROR 200 0 ended" {
		t.Fatal(got)
	}
	if got := c.end(3); got != "closed" {
		t.Fatal(got)
	}
}
