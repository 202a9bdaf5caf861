package main

import (
	"context"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/net/http2"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	_ "google.golang.org/grpc/encoding/gzip" // What clients send may be compressed.
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
)

// mostProbes is how many calls for the health a connection may have at a time. Each takes a few KiB.
const mostProbes = 20

// mostOtherBytes is the most that such a call may send or be sent and that nobody has read yet.
const mostOtherBytes = 1 << 20

// others are the calls that grpc-go answers, streams among them: health and reflection.
type others struct {
	server   *grpc.Server
	prefixes []string
}

// newOthers also tells reflection of the methods that Python answers.
func newOthers(wanted *grpcConfig, health *health) *others {
	server := grpc.NewServer()
	healthgrpc.RegisterHealthServer(server, health)
	registerReflection(server, wanted.Files)
	o := &others{server: server}
	for service := range server.GetServiceInfo() {
		o.prefixes = append(o.prefixes, "/"+service+"/")
	}
	for service, methods := range wanted.Services {
		description := &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
		for _, method := range methods {
			description.Methods = append(description.Methods, grpc.MethodDesc{MethodName: method})
		}
		server.RegisterService(description, struct{}{})
	}
	return o
}

func (o *others) knows(path string) bool {
	for _, prefix := range o.prefixes {
		if strings.HasPrefix(path, prefix) {
			return true
		}
	}
	return false
}

// begin has a call answered, in a goroutine of its own.
func (o *others) begin(a *call, path string, frame *http2.MetaHeadersFrame) {
	ctx, cancel := context.WithCancel(context.Background())
	other := &otherCall{call: a, header: http.Header{}, cancel: cancel}
	other.changed.L = &other.lock
	request := &http.Request{
		Method: http.MethodPost, ProtoMajor: 2, URL: &url.URL{Path: path}, Header: http.Header{},
		Body: other,
	}
	for _, field := range frame.RegularFields() {
		request.Header.Add(field.Name, field.Value)
	}
	c := a.conn
	c.lock.Lock()
	a.other = other
	isOver := a.isOver
	c.lock.Unlock()
	if isOver {
		cancel()
		return
	}
	go func() {
		o.server.ServeHTTP(other, request.WithContext(ctx))
		other.answered()
	}()
}

// otherCall is a request and an answer of HTTP, as grpc-go's handler wants them.
type otherCall struct {
	call   *call
	header http.Header
	cancel context.CancelFunc
	status int

	lock    sync.Mutex
	changed sync.Cond
	body    []byte
	isWhole bool
	isOver  bool
}

// receive takes a part of the request.
func (o *otherCall) receive(data []byte, ends bool) {
	o.lock.Lock()
	o.body = append(o.body, data...)
	o.isWhole = ends
	isTooMuch := len(o.body) > mostOtherBytes
	o.changed.Broadcast()
	o.lock.Unlock()
	if isTooMuch {
		o.call.fail(codes.ResourceExhausted, o.call.conn.port.tooMuch)
	}
}

// end has nobody read or write any longer. Under the connection's lock.
func (o *otherCall) end() {
	o.cancel()
	o.lock.Lock()
	defer o.lock.Unlock()
	o.isOver = true
	o.changed.Broadcast()
}

func (o *otherCall) Read(into []byte) (int, error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	for len(o.body) == 0 {
		switch {
		case o.isOver:
			return 0, io.ErrUnexpectedEOF
		case o.isWhole:
			return 0, io.EOF
		}
		o.changed.Wait()
	}
	count := copy(into, o.body)
	o.body = o.body[count:]
	return count, nil
}

// Close ends the reading.
func (o *otherCall) Close() error {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.isOver = true
	o.changed.Broadcast()
	return nil
}

func (o *otherCall) Header() http.Header { return o.header }

func (o *otherCall) WriteHeader(status int) { o.status = status }

func (o *otherCall) Write(data []byte) (int, error) {
	a := o.call
	c := a.conn
	c.lock.Lock()
	defer c.lock.Unlock()
	if a.isOver || a.isAnswered {
		return 0, io.ErrClosedPipe
	}
	if a.left()+len(data) > mostOtherBytes {
		c.reset(a.stream, http2.ErrCodeEnhanceYourCalm)
		return 0, io.ErrShortWrite
	}
	if packed := o.header.Get("Grpc-Encoding"); packed != "" {
		a.head = appendField(headersOf(http.StatusOK), "grpc-encoding", packed)
	}
	a.begin()
	a.content = append(a.content, data...)
	c.enqueue(a)
	return len(data), nil
}

func (o *otherCall) Flush() {
	c := o.call.conn
	c.lock.Lock()
	defer c.lock.Unlock()
	c.flush()
}

// answered ends the call as grpc-go has it end.
func (o *otherCall) answered() {
	code, err := strconv.Atoi(o.header.Get("Grpc-Status"))
	text, _ := url.PathUnescape(o.header.Get("Grpc-Message"))
	if err != nil {
		code, text = int(codes.Internal), "The call was refused as no call of gRPC: "+
			strconv.Itoa(o.status)+" "+textproto.TrimString(http.StatusText(o.status))
	}
	a := o.call
	c := a.conn
	c.lock.Lock()
	defer c.lock.Unlock()
	if a.isOver || a.isAnswered {
		return
	}
	a.begin()
	a.trailers = trailersOf(codes.Code(code), text)
	a.close()
	c.flush()
}
