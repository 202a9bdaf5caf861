package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// pair returns both ends of a socket as Python makes it.
func pair(t *testing.T) (net.Conn, net.Conn) {
	t.Helper()
	descriptors, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	var ends [2]net.Conn
	for i, descriptor := range descriptors {
		file := os.NewFile(uintptr(descriptor), "end")
		if ends[i], err = net.FileConn(file); err != nil {
			t.Fatal(err)
		}
		file.Close()
	}
	t.Cleanup(func() { ends[0].Close(); ends[1].Close() })
	return ends[0], ends[1]
}

// linked returns a link and the sockets of the other side.
func linked(t *testing.T) (l *link, small, large net.Conn) {
	here, small := pair(t)
	there, large := pair(t)
	return newLink(here, there), small, large
}

func next(t *testing.T, conn net.Conn) frame {
	t.Helper()
	var scratch [headerBytes]byte
	got, err := readFrame(conn, &scratch)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAHeaderComesBackAsItWent(t *testing.T) {
	sent := header{kind: 4, status: 513, head: 7, id: 1 << 60, micros: noDeadline, body: 1 << 33}
	data := sent.appendTo(nil)
	if len(data) != headerBytes {
		t.Fatalf("%d bytes", len(data))
	}
	if got, err := parseHeader(data); err != nil || got != sent {
		t.Fatalf("%v %v", got, err)
	}
}

func TestAFrameThatIsCutOffIsAnError(t *testing.T) {
	data := append(header{kind: 4, head: 3, body: 4}.appendTo(nil), "abcde"...)
	for size := 1; size < len(data); size++ {
		var scratch [headerBytes]byte
		if _, err := readFrame(bytes.NewReader(data[:size]), &scratch); err == nil || err == io.EOF {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
}

func TestAnswersFindTheirRequests(t *testing.T) {
	l, small, large := linked(t)
	type result struct {
		body string
		err  error
	}
	results := make([]chan result, 2)
	bodies := [][]byte{[]byte("short"), bytes.Repeat([]byte("long"), largeBytes)}
	for i, body := range bodies {
		results[i] = make(chan result, 1)
		go func() {
			got, err := l.ask(context.Background(), kindHTTP, "POST /", [][]byte{body}, len(body), func() {})
			results[i] <- result{string(got.content), err}
		}()
	}
	for i, conn := range []net.Conn{small, large} {
		got := next(t, conn)
		if got.headText != "POST /" || !bytes.Equal(got.content, bodies[i]) {
			t.Fatalf("%q and %d bytes", got.headText, len(got.content))
		}
		// The answer's size says how it comes, not the request's.
		answer := append(header{kind: kindHTTPAnswer, id: got.id, body: 2}.appendTo(nil), "ok"...)
		small.Write(answer)
		if got := <-results[i]; got.body != "ok" || got.err != nil {
			t.Fatal(got)
		}
	}
}

func TestPythonIsToldWhoHasGone(t *testing.T) {
	l, small, _ := linked(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	ended := make(chan error)
	go func() {
		_, err := l.ask(ctx, kindGRPC, "/a/B", nil, 0, func() {})
		ended <- err
	}()
	asked := next(t, small)
	if left := time.Duration(asked.micros) * time.Microsecond; left < 50*time.Second || left > time.Minute {
		t.Fatalf("%v are left", left)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if told := next(t, small); told.kind != kindCancel || told.id != asked.id {
		t.Fatalf("%+v", told)
	}
}

func TestWithoutPythonNobodyWaits(t *testing.T) {
	l, small, _ := linked(t)
	ended := make(chan error)
	go func() {
		_, err := l.ask(context.Background(), kindGRPC, "/a/B", nil, 0, func() {})
		ended <- err
	}()
	next(t, small)
	small.Close()
	if err := <-ended; !errors.Is(err, errLost) {
		t.Fatal(err)
	}
}

func TestABudgetIsNeverExceeded(t *testing.T) {
	b := &budget{most: 10}
	if !b.take(6) || b.take(5) || !b.take(4) || b.takeOrAlone(1) {
		t.Fatal("wrong count")
	}
	b.giveBack(10)
	if !b.takeOrAlone(11) || b.take(1) {
		t.Fatal("one alone may be larger, and holds all")
	}
}

func TestOnlyTheTokenLetsIn(t *testing.T) {
	digest := sha256.Sum256([]byte("secret"))
	guard, err := newToken(hex.EncodeToString(digest[:]))
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range [][2]string{{"Bearer secret", ""}, {"bearer  secret ", ""}, {"", "secret"}, {"Basic x", "secret"}} {
		if !guard.isIn(in[0], in[1]) {
			t.Errorf("%q is kept out", in)
		}
	}
	for _, out := range [][2]string{{"", ""}, {"Bearer secre", "secret"}, {"secret", ""}, {"Basic secret", ""}} {
		if guard.isIn(out[0], out[1]) {
			t.Errorf("%q is let in", out)
		}
	}
	if none, _ := newToken(""); !none.isIn("", "") {
		t.Error("without a token everybody is let in")
	}
	if _, err := newToken("abc"); err == nil {
		t.Error("what is no digest must not be a token")
	}
}
