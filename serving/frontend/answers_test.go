package main

import (
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func trackedPair(t *testing.T, most int64) (*trackedConn, net.Conn) {
	here, there := pair(t)
	open := &atomic.Int64{}
	open.Add(1)
	return &trackedConn{Conn: here, open: open, answers: &answers{most: most}}, there
}

func TestAnswersThatNobodyTakesAreBounded(t *testing.T) {
	conn, _ := trackedPair(t, 2*largeBytes)
	if !conn.carry(2*largeBytes + 1) {
		t.Fatal("one alone may be larger")
	}
	if conn.carry(largeBytes + 1) {
		t.Fatal("too many bytes")
	}
	if !conn.carry(largeBytes) {
		t.Fatal("small answers have room beside large ones")
	}
	conn.carried(2*largeBytes + 1)
	if held := conn.answers.held.Load(); held != largeBytes {
		t.Fatalf("%d bytes are held", held)
	}
	conn.Close()
	conn.Close()
	conn.carried(largeBytes)
	if held, open := conn.answers.held.Load(), conn.open.Load(); held != 0 || open != 0 {
		t.Fatalf("%d bytes are held, %d connections are open", held, open)
	}
}

func TestAClientThatTakesNothingIsCutOff(t *testing.T) {
	// By a clock that goes on once nobody does anything: a busy machine is no client that stops.
	synctest.Test(t, func(t *testing.T) {
		const soon = 20 * time.Millisecond
		here, client := net.Pipe()
		open := &atomic.Int64{}
		open.Add(1)
		conn := &trackedConn{Conn: here, open: open, answers: &answers{}}
		conn.carry(1)
		go io.Copy(io.Discard, client)
		conn.watch(soon)
		for range 5 {
			conn.Write(make([]byte, leastTaken))
			time.Sleep(soon / 2)
		}
		if open.Load() == 0 {
			t.Fatal("a client that takes its answer is cut off")
		}
		time.Sleep(3 * soon)
		if open.Load() > 0 {
			t.Fatal("a client that takes nothing stays")
		}
	})
}

func TestCallsAreBounded(t *testing.T) {
	c := &calls{most: 1}
	if !c.begin() || c.begin() {
		t.Fatal("wrong count")
	}
	if c.end(); !c.begin() {
		t.Fatal("a call that has ended still counts")
	}
}
