// Command dlstack-frontend owns the ports of a model server: connections, TLS, HTTP, gRPC, limits.
// It hands whole requests to `python -m serving`, its parent, over two sockets that it inherits, and
// sends back what comes from there. It ends with its parent. Nobody starts it by hand.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// gcPercent trades memory for time: what lives here between requests is little.
const gcPercent = 400

// ownBytes is what this program needs without any request.
const ownBytes = 64 << 20

func main() {
	small := flag.Uint("small", 0, "file descriptor of the socket for small frames")
	large := flag.Uint("large", 0, "file descriptor of the socket for large frames")
	version := flag.Bool("protocol", false, "print the protocol's version and exit")
	flag.Parse()
	if *version {
		fmt.Println(protocolVersion)
		return
	}
	if err := run(uintptr(*small), uintptr(*large)); err != nil {
		complain("%v", err)
		os.Exit(1)
	}
}

func run(small, large uintptr) error {
	// Python says when to stop: a terminal's Ctrl-C meets both.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM)
	debug.SetGCPercent(gcPercent)
	// The others are TensorFlow's and Python's. On two, one thread here answers a tenth more requests
	// than two that wake each other.
	runtime.GOMAXPROCS((runtime.GOMAXPROCS(0) + 1) / 2)
	smallConn, err := connOf(small, "small")
	if err != nil {
		return fmt.Errorf("--small: %w", err)
	}
	largeConn, err := connOf(large, "large")
	if err != nil {
		return fmt.Errorf("--large: %w", err)
	}
	l := newLink(smallConn, largeConn)
	l.send(kindHello, protocolVersion, "")
	var serving *ports
	for {
		var got frame
		select {
		case got = <-l.control:
		case <-l.lost:
			return nil // Python has ended, and with it this program's reason.
		}
		switch got.kind {
		case kindConfigure:
			wanted, err := parseConfig(got.content)
			if err == nil {
				serving, err = open(wanted, l)
			}
			if err != nil {
				l.send(kindFailed, 0, err.Error())
				continue
			}
			serving.serve()
			l.send(kindServing, 0, "")
		case kindHealth:
			if serving != nil {
				serving.health.set(got.status != 0)
			}
		case kindDrain:
			go func() {
				if serving != nil {
					serving.drain(time.Duration(got.micros) * time.Microsecond)
				}
				l.send(kindDrained, 0, "")
			}()
		default:
			return fmt.Errorf("Python sent a frame of kind %d", got.kind)
		}
	}
}

// ports are all that this program serves.
type ports struct {
	grpc   *grpcPort
	rest   *restPort
	health *health
}

func open(wanted *config, l *link) (*ports, error) {
	bodies := &budget{most: wanted.MostWaitingBytes}
	if wanted.MostWaitingBytes > 0 {
		// Buffers grow by doubling: of what they leave behind, much is only collected when it is needed.
		debug.SetMemoryLimit(wanted.MostWaitingBytes + wanted.MostUntakenBytes + ownBytes)
	}
	untaken := &answers{most: wanted.MostUntakenBytes}
	connections := limit{int64(wanted.MostConnections), &atomic.Int64{}, untaken}
	found := &ports{health: newHealth(wanted.Health)}
	guard, err := newToken(wanted.TokenDigest)
	if err != nil {
		return nil, err
	}
	if found.grpc, err = newGRPCPort(wanted, l, found.health, bodies, connections, guard); err != nil {
		return nil, err
	}
	if wanted.REST.Port != 0 {
		found.rest, err = newRESTPort(wanted, l, bodies, connections, guard)
	}
	return found, err
}

func (p *ports) serve() {
	p.grpc.serve()
	if p.rest != nil {
		p.rest.serve()
	}
}

func (p *ports) drain(grace time.Duration) {
	p.health.drain()
	var all sync.WaitGroup
	all.Go(func() { p.grpc.drain(grace) })
	if p.rest != nil {
		all.Go(func() { p.rest.drain(grace) })
	}
	all.Wait()
}

// reason returns the innermost text of an error: "address already in use".
func reason(err error) string {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number.Error()
	}
	return err.Error()
}

func complain(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, "dlstack-frontend: "+format+"\n", arguments...)
}
