package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// largeBytes is from where on a body goes over a socket of its own, so that small ones need not
	// wait behind it.
	largeBytes = 256 << 10
	// readBytes is how much of Python's answers is read at a time.
	readBytes = 256 << 10
	// keptBytes is the most that a buffer for outgoing frames may grow to and still be kept.
	keptBytes = 4 << 20
)

var errLost = errors.New("the server behind this port has ended")

// link is the way to Python and back: two sockets, the second for large bodies.
type link struct {
	small, large net.Conn
	control      chan frame
	lost         chan struct{}
	loseOnce     sync.Once
	lastID       atomic.Uint64
	waitingLock  sync.Mutex
	waiting      map[uint64]chan frame
	outLock      sync.Mutex
	out, spare   []byte
	writing      bool
	largeLock    sync.Mutex
}

// newLink begins to read answers from both sockets.
func newLink(small, large net.Conn) *link {
	l := &link{
		small:   small,
		large:   large,
		control: make(chan frame, 16),
		lost:    make(chan struct{}),
		waiting: map[uint64]chan frame{},
	}
	go l.read(small)
	go l.read(large)
	return l
}

// connOf returns the socket that was handed over as a file descriptor.
func connOf(descriptor uintptr, name string) (net.Conn, error) {
	file := os.NewFile(descriptor, name)
	defer file.Close()
	return net.FileConn(file)
}

// ask sends a request and waits for its answer. What `body` holds may be used again afterwards.
// `sent` is called once the body was handed over, or never will be.
func (l *link) ask(
	ctx context.Context, kind byte, head string, body [][]byte, size int, sent func(),
) (frame, error) {
	h := header{kind: kind, head: uint32(len(head)), id: l.lastID.Add(1), micros: noDeadline, body: uint64(size)}
	if deadline, ok := ctx.Deadline(); ok {
		h.micros = max(0, time.Until(deadline).Microseconds())
	}
	answers := make(chan frame, 1)
	l.waitingLock.Lock()
	l.waiting[h.id] = answers
	l.waitingLock.Unlock()
	isLarge := size > largeBytes
	if isLarge {
		l.sendLarge(ctx, h, head, body)
	} else {
		l.sendSmall(h, head, body)
	}
	sent()
	select {
	case answer := <-answers:
		return answer, nil
	case <-ctx.Done():
		l.forget(h.id, isLarge)
		return frame{}, ctx.Err()
	case <-l.lost:
		return frame{}, errLost
	}
}

// forget says that nobody waits for an answer any longer.
func (l *link) forget(id uint64, isLarge bool) {
	l.waitingLock.Lock()
	_, unanswered := l.waiting[id]
	delete(l.waiting, id)
	l.waitingLock.Unlock()
	if !unanswered {
		return
	}
	cancel := header{kind: kindCancel, id: id, micros: noDeadline}
	if isLarge {
		// Behind the request, which it must not overtake.
		l.sendLarge(context.Background(), cancel, "", nil)
	} else {
		l.sendSmall(cancel, "", nil)
	}
}

// sendSmall appends a frame to what is to be sent. Whoever finds nobody sending sends all that has
// gathered, so that many requests are one system call.
func (l *link) sendSmall(h header, head string, body [][]byte) {
	l.outLock.Lock()
	l.out = append(h.appendTo(l.out), head...)
	for _, part := range body {
		l.out = append(l.out, part...)
	}
	if l.writing {
		l.outLock.Unlock()
		return
	}
	l.writing = true
	l.outLock.Unlock()
	// Requests that are read at this moment join.
	runtime.Gosched()
	l.outLock.Lock()
	for len(l.out) > 0 {
		full := l.out
		l.out = l.spare[:0]
		l.outLock.Unlock()
		if _, err := l.small.Write(full); err != nil {
			l.lose()
		}
		l.outLock.Lock()
		if cap(full) <= keptBytes {
			l.spare = full
		} else {
			l.spare = nil
		}
	}
	l.writing = false
	l.outLock.Unlock()
}

// sendLarge sends a frame over the socket for large bodies, after those that are being sent.
func (l *link) sendLarge(ctx context.Context, h header, head string, body [][]byte) {
	l.largeLock.Lock()
	defer l.largeLock.Unlock()
	if ctx.Err() != nil {
		return
	}
	buffers := append(net.Buffers{h.appendTo(nil), []byte(head)}, body...)
	if _, err := buffers.WriteTo(l.large); err != nil {
		l.lose()
	}
}

// send sends a frame that is no request.
func (l *link) send(kind byte, status uint16, head string) {
	l.sendSmall(header{kind: kind, status: status, head: uint32(len(head)), micros: noDeadline}, head, nil)
}

func (l *link) read(conn net.Conn) {
	defer l.lose()
	reader := bufio.NewReaderSize(conn, readBytes)
	var scratch [headerBytes]byte
	for {
		got, err := readFrame(reader, &scratch)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				complain("%v", err)
			}
			return
		}
		if got.kind != kindGRPCAnswer && got.kind != kindHTTPAnswer {
			l.control <- got
			continue
		}
		l.waitingLock.Lock()
		answers := l.waiting[got.id]
		delete(l.waiting, got.id)
		l.waitingLock.Unlock()
		if answers != nil {
			answers <- got
		}
	}
}

func (l *link) lose() { l.loseOnce.Do(func() { close(l.lost) }) }
