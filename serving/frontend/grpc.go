package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/net/http2"
)

const (
	healthPrefix = "/grpc.health.v1.Health/"
	healthCheck  = healthPrefix + "Check"
	// handshakeTimeout is how long a connection may take to begin.
	handshakeTimeout = 20 * time.Second
)

// grpcPort answers gRPC at a TCP port, a Unix socket or both. It speaks HTTP/2 by itself: grpc-go's
// server has three goroutines take part in each call, and takes twice as long for one.
type grpcPort struct {
	listeners []net.Listener
	tls       *tls.Config
	link      *link
	bodies    *budget
	calls     *calls
	token     *token
	others    *others
	wanted    *grpcConfig
	// methods are those that Python answers.
	methods                            map[string]bool
	refusal, tooMuch, untaken, tooMany string
	mostMessage, mostSent              int
	// patience is how long a client may take nothing of an answer.
	patience time.Duration

	openConns[*http2Conn]
	draining bool
}

// newGRPCPort binds what is asked for.
func newGRPCPort(wanted *config, l *link, health *health, bodies *budget, limit limit, guard *token) (*grpcPort, error) {
	port := &grpcPort{
		link: l, bodies: bodies, token: guard, wanted: &wanted.GRPC, others: newOthers(&wanted.GRPC, health),
		calls: &calls{most: wanted.GRPC.MostCalls}, methods: map[string]bool{},
		refusal: wanted.GRPC.Refusal, tooMuch: wanted.TooMuchWaits, untaken: wanted.TooMuchUntaken,
		tooMany:     wanted.GRPC.TooManyCalls,
		mostMessage: limitOr(wanted.GRPC.MostMessageBytes, math.MaxInt32),
		mostSent:    limitOr(wanted.GRPC.MostSentBytes, math.MaxInt32),
		patience:    patience,
	}
	for service, methods := range wanted.GRPC.Services {
		for _, method := range methods {
			port.methods["/"+service+"/"+method] = true
		}
	}
	if wanted.GRPC.TLS != nil {
		settings, err := tlsSettings(wanted.GRPC.TLS)
		if err != nil {
			return nil, err
		}
		port.tls = settings
	}
	var addresses [][2]string
	if wanted.GRPC.Port != 0 {
		addresses = append(addresses, [2]string{"tcp4", fmt.Sprintf("0.0.0.0:%d", wanted.GRPC.Port)})
	}
	if wanted.GRPC.SocketPath != "" {
		removeOldSocket(wanted.GRPC.SocketPath)
		addresses = append(addresses, [2]string{"unix", wanted.GRPC.SocketPath})
	}
	for _, address := range addresses {
		listener, err := net.Listen(address[0], address[1])
		if err != nil {
			return nil, fmt.Errorf("Couldn't start gRPC server on %s: %s", address[1], reason(err))
		}
		port.listeners = append(port.listeners, limit.of(listener))
	}
	return port, nil
}

func (p *grpcPort) serve() {
	for _, listener := range p.listeners {
		go accept(listener, "gRPC", p.answer)
	}
}

// accept hands on connections until the listener is closed.
func accept(listener net.Listener, name string, answer func(*trackedConn)) {
	for pause := time.Duration(0); ; {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// No file is left, or the like: some will end.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			complain("%s: %v", name, err)
			time.Sleep(pause)
			continue
		}
		pause = 0
		answer(conn.(*trackedConn))
	}
}

func (p *grpcPort) answer(conn *trackedConn) {
	c := &http2Conn{port: p, conn: conn, stream: conn, calls: map[uint32]*call{}}
	if p.tls != nil {
		c.stream = tls.Server(conn, p.tls)
	} else if raw, err := conn.Conn.(syscall.Conn).SyscallConn(); err == nil {
		c.raw = raw
	}
	c.frames = http2.NewFramer(&c.http2Writing, nil)
	c.window, c.newWindow, c.frameBytes = 65535, 65535, http2Bytes
	c.write, c.taken.L = c.writeOnce, &c.lock
	p.lock.Lock()
	defer p.lock.Unlock()
	if p.draining {
		conn.Close()
		return
	}
	p.begin()
	c.opened = p.clock()
	if age := milliseconds(p.wanted.MaxConnectionAge); age > 0 {
		// Within a tenth: those that came together need not go together.
		c.until = c.opened + time.Duration((0.9+0.2*rand.Float64())*float64(age))
	}
	p.keep(c)
}

// drain ends once every call has ended, at the latest after `grace`.
func (p *grpcPort) drain(grace time.Duration) {
	for _, listener := range p.listeners {
		listener.Close()
	}
	p.lock.Lock()
	p.draining = true
	for c := range p.conns {
		go c.goAway()
	}
	p.lock.Unlock()
	if p.awaitNone(grace) {
		return
	}
	p.lock.Lock()
	defer p.lock.Unlock()
	for c := range p.conns {
		c.conn.Close()
	}
}

// limitOr returns a number of bytes; below 0 it means "no limit" in gRPC's arguments.
func limitOr(bytes, otherwise int) int {
	if bytes < 0 {
		return otherwise
	}
	return bytes
}

func milliseconds(number int64) time.Duration { return time.Duration(number) * time.Millisecond }

// removeOldSocket removes what a server that was killed has left.
func removeOldSocket(path string) {
	if found, err := os.Lstat(path); err == nil && found.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
}
