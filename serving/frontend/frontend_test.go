package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
)

// pair returns both ends of a socket as Python makes it.
func pair(t testing.TB) (net.Conn, net.Conn) {
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
func linked(t testing.TB) (l *link, small, large net.Conn) {
	here, small := pair(t)
	there, large := pair(t)
	return newLink(here, there), small, large
}

func next(t *testing.T, conn net.Conn) frame {
	t.Helper()
	var scratch [headerBytes]byte
	got, err := readFrames(conn, &scratch)
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 {
		t.Fatalf("%d entries", len(got))
	}
	return got[0]
}

func TestAHeaderComesBackAsItWent(t *testing.T) {
	sent := header{kind: 4, status: 513, head: 7, entries: 1 << 33}
	data := sent.appendTo(nil)
	if len(data) != headerBytes {
		t.Fatalf("%d bytes", len(data))
	}
	if got, err := parseHeader(data); err != nil || got != sent {
		t.Fatalf("%v %v", got, err)
	}
}

func TestAFrameThatIsCutOffIsAnError(t *testing.T) {
	data := append(header{kind: 4, head: 3, entries: entryBytes + 4}.appendTo(nil), "abc"...)
	data = append(entry{id: 1, body: 4}.appendTo(data), "defg"...)
	for size := 1; size < len(data); size++ {
		var scratch [headerBytes]byte
		if _, err := readFrames(bytes.NewReader(data[:size]), &scratch); err == nil || err == io.EOF {
			t.Fatalf("%d bytes: %v", size, err)
		}
	}
	data[headerBytes+3+16] = 5 // The body's length.
	var scratch [headerBytes]byte
	if _, err := readFrames(bytes.NewReader(data), &scratch); err == nil {
		t.Fatal("a body is longer than its frame")
	}
}

func TestAnswersFindTheirRequests(t *testing.T) {
	l, small, large := linked(t)
	bodies := [][]byte{[]byte("short"), bytes.Repeat([]byte("long"), largeBytes)}
	for i, conn := range []net.Conn{small, large} {
		answers := make(answerChannel, 1)
		id := l.lastID.Add(1)
		l.begin(id, answers)
		go l.sendHTTP(id, header{kind: kindHTTP}, "POST /", bodies[i])
		got := next(t, conn)
		if got.headText != "POST /" || !bytes.Equal(got.content, bodies[i]) {
			t.Fatalf("%q and %d bytes", got.headText, len(got.content))
		}
		// The answer's size says how it comes, not the request's.
		answerFrame(small, got.id, kindHTTPAnswer, "ok")
		if got := <-answers; string(got.content) != "ok" {
			t.Fatal(got)
		}
	}
}

func TestWhatIsAlikeAndSentTogetherIsOneFrame(t *testing.T) {
	l, small, _ := linked(t)
	calls, others := header{kind: kindGRPC, head: 4}, header{kind: kindHTTP, head: 4}
	l.writing = true // Somebody sends at this moment.
	for i, h := range []header{calls, calls, others, calls} {
		l.sendSmall(h, "/a/B", entry{id: uint64(i), micros: noDeadline, body: 2}, []byte{'x'}, []byte{'y'})
	}
	l.sendSmall(calls, "/a/B", entry{id: 4, body: largeBytes}, make([]byte, largeBytes))
	l.writing = false
	go l.send(kindServing, 0, "")
	var scratch [headerBytes]byte
	for _, wanted := range [][]uint64{{0, 1}, {2}, {3}, {4}, {0}} {
		got, err := readFrames(small, &scratch)
		if err != nil || len(got) != len(wanted) {
			t.Fatalf("%d entries, %v", len(got), err)
		}
		for i, one := range got {
			if one.id != wanted[i] || one.kind != kindServing && one.id < 4 && string(one.content) != "xy" {
				t.Fatalf("%+v", one)
			}
		}
	}
}

func TestWithoutPythonNobodyWaits(t *testing.T) {
	l, small, _ := linked(t)
	answers := make(answerChannel, 1)
	l.begin(1, answers)
	small.Close()
	if got := <-answers; got.kind != kindLost {
		t.Fatal(got)
	}
	l.begin(2, answers)
	if got := <-answers; got.kind != kindLost {
		t.Fatal(got)
	}
}

func TestABudgetIsNeverExceeded(t *testing.T) {
	b := &budget{most: 10}
	if !b.take(6) || b.take(5) || !b.take(4) || b.takeMore(0, 1) {
		t.Fatal("wrong count")
	}
	b.giveBack(10)
	if !b.takeMore(0, 11) || b.take(1) {
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
