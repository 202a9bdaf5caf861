package main

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
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
	forms        forms
	waitingLock  sync.Mutex
	waiting      map[uint64]taker
	isLost       bool
	outLock      sync.Mutex
	out, spare   []byte
	last         lastFrame
	writing      bool
	// room is told when what was to be sent is being sent.
	room      sync.Cond
	largeLock sync.Mutex
}

// lastFrame is the one at the end of what is to be sent: what has the same header and head becomes
// one more entry of it.
type lastFrame struct {
	header
	headText string
	start    int
}

// newLink begins to read answers from both sockets.
func newLink(small, large net.Conn) *link {
	l := &link{
		small:   small,
		large:   large,
		control: make(chan frame, 16),
		lost:    make(chan struct{}),
		waiting: map[uint64]taker{},
	}
	l.room.L = &l.outLock
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

// taker waits for an answer; it must not have the link wait.
type taker interface{ take(frame) }

// answerChannel has room for one.
type answerChannel chan frame

func (c answerChannel) take(answer frame) { c <- answer }

// begin has somebody get an answer.
func (l *link) begin(id uint64, who taker) {
	l.waitingLock.Lock()
	isLost := l.isLost
	if !isLost {
		l.waiting[id] = who
	}
	l.waitingLock.Unlock()
	if isLost {
		who.take(frame{header: header{kind: kindLost}})
	}
}

// sendHTTP sends a request over HTTP that was begun.
func (l *link) sendHTTP(id uint64, h header, head string, body []byte) {
	h.head = uint32(len(head))
	e := entry{id: id, micros: noDeadline, body: uint64(len(body))}
	if len(body) > largeBytes {
		l.sendLarge(func() bool { return l.isWaiting(id) }, h, head, e, [][]byte{body})
	} else {
		l.sendSmall(h, head, e, body)
	}
}

// answered returns where an answer has to go; nil: nobody waits for it.
func (l *link) answered(id uint64) taker {
	l.waitingLock.Lock()
	defer l.waitingLock.Unlock()
	who := l.waiting[id]
	delete(l.waiting, id)
	return who
}

func (l *link) isWaiting(id uint64) bool {
	l.waitingLock.Lock()
	defer l.waitingLock.Unlock()
	return l.waiting[id] != nil
}

// giveUp answers in Python's place, and has it know.
func (l *link) giveUp(id uint64, kind byte, isLarge bool) {
	if who := l.answered(id); who != nil {
		who.take(frame{header: header{kind: kind}})
		l.cancel(id, isLarge)
	}
}

// forget says that nobody waits for an answer any longer.
func (l *link) forget(id uint64, isLarge bool) {
	if l.answered(id) != nil {
		l.cancel(id, isLarge)
	}
}

func (l *link) cancel(id uint64, isLarge bool) {
	h, e := header{kind: kindCancel}, entry{id: id, micros: noDeadline}
	if isLarge {
		// Behind the request, which it must not overtake.
		l.sendLarge(func() bool { return true }, h, "", e, nil)
	} else {
		l.sendSmall(h, "", e)
	}
}

// sendSmall appends to what is to be sent. Whoever finds nobody sending sends all that has gathered,
// so that many requests are one system call.
func (l *link) sendSmall(h header, head string, e entry, body ...[]byte) {
	l.outLock.Lock()
	for len(l.out) > keptBytes && h.kind != kindCancel {
		// Python is far behind, and nobody else counts what waits here.
		l.room.Wait()
	}
	l.open(h, head, entryBytes+e.body)
	l.out = e.appendTo(l.out)
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
		l.out, l.last = l.spare[:0], lastFrame{}
		l.room.Broadcast()
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

// open has an entry of `size` bytes follow: in the last frame, if that is alike and not yet large,
// else in a new one.
func (l *link) open(h header, head string, size uint64) {
	last := &l.last
	if last.header.entries > 0 && last.kind == h.kind && last.status == h.status &&
		last.headText == head && last.header.entries+size <= largeBytes {
		last.header.entries += size
		binary.LittleEndian.PutUint64(l.out[last.start+entriesPlace:], last.header.entries)
		return
	}
	h.entries = size
	l.last = lastFrame{h, head, len(l.out)}
	l.out = append(h.appendTo(l.out), head...)
}

// sendLarge sends a frame over the socket for large bodies, after those that are being sent, if it is
// still wanted then.
func (l *link) sendLarge(isWanted func() bool, h header, head string, e entry, body [][]byte) {
	l.largeLock.Lock()
	defer l.largeLock.Unlock()
	if !isWanted() {
		return
	}
	h.entries = entryBytes + e.body
	buffers := append(net.Buffers{h.appendTo(nil), []byte(head), e.appendTo(nil)}, body...)
	if _, err := buffers.WriteTo(l.large); err != nil {
		l.lose()
	}
}

// send sends a frame that is no request.
func (l *link) send(kind byte, status uint16, head string) {
	h := header{kind: kind, status: status, head: uint32(len(head))}
	l.sendSmall(h, head, entry{micros: noDeadline})
}

func (l *link) read(conn net.Conn) {
	defer l.lose()
	reader := bufio.NewReaderSize(conn, readBytes)
	var scratch [headerBytes]byte
	for {
		found, err := readFrames(reader, &scratch)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				complain("%v", err)
			}
			return
		}
		for _, got := range found {
			switch got.kind {
			case kindGRPCAnswer, kindHTTPAnswer, kindAgain:
				if who := l.answered(got.id); who != nil {
					who.take(got)
				}
			case kindForm:
				if err := l.forms.add(got); err != nil {
					complain("%v", err)
				}
			default:
				l.control <- got
			}
		}
	}
}

func (l *link) lose() {
	l.loseOnce.Do(func() {
		close(l.lost)
		l.waitingLock.Lock()
		waiting := l.waiting
		l.isLost, l.waiting = true, nil
		l.waitingLock.Unlock()
		for _, who := range waiting {
			who.take(frame{header: header{kind: kindLost}})
		}
	})
}
