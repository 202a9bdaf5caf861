package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// restServer is a port whose Python answers with what it was told: the head, then the body. A path
// with `slow` in it gets no answer.
type restServer struct {
	*restPort
	address string
	// gone are the requests that Python was told to forget.
	gone chan uint64
}

func newRESTServer(t *testing.T, change func(*config)) *restServer {
	t.Helper()
	l, small, large := linked(t)
	wanted := &config{MostRequestBytes: 1 << 20}
	wanted.REST = restConfig{
		Host: "127.0.0.1", MostHeaderBytes: 64 << 10, PassedHeaders: []string{"content-encoding", "origin"},
		TooLarge: `{"error": "too large"}`, TooLate: `{"error": "too late"}`, Gone: `{"error": "gone"}`,
		Refusal: `{"error": "no token"}`, Unavailable: `{"error": "ends"}`,
		HeaderTimeout: 30_000, BodyTimeout: 30_000, KeepAlive: 75_000,
	}
	if change != nil {
		change(wanted)
	}
	guard, err := newToken(wanted.TokenDigest)
	if err != nil {
		t.Fatal(err)
	}
	bodies := &budget{most: wanted.MostWaitingBytes}
	port, err := newRESTPort(wanted, l, bodies, limit{0, &atomic.Int64{}, &answers{}}, guard)
	if err != nil {
		t.Fatal(err)
	}
	server := &restServer{port, port.listener.Addr().String(), make(chan uint64, 100)}
	for _, conn := range []net.Conn{small, large} {
		go func() {
			reader, scratch := bufio.NewReader(conn), [headerBytes]byte{}
			for {
				found, err := readFrames(reader, &scratch)
				if err != nil {
					return
				}
				for _, got := range found {
					if got.kind == kindCancel {
						server.gone <- got.id
					} else if !strings.Contains(got.headText, "slow") {
						answerFrame(small, got.id, kindHTTPAnswer, got.headText+"|"+string(got.content))
					}
				}
			}
		}()
	}
	port.serve()
	t.Cleanup(func() { port.drain(0) })
	return server
}

func answerFrame(to net.Conn, id uint64, kind byte, text string) {
	const head = "content-type: text/plain"
	h := header{kind: kind, head: uint32(len(head)), entries: entryBytes + uint64(len(text))}
	if kind == kindHTTPAnswer {
		h.status = 200
	}
	out := append(h.appendTo(nil), head...)
	to.Write(append(entry{id: id, body: uint64(len(text))}.appendTo(out), text...))
}

func (s *restServer) dial(t *testing.T) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { conn.Close() })
	return conn
}

// send sends some bytes and returns all that comes until the server ends the connection.
func (s *restServer) send(t *testing.T, text string) string {
	t.Helper()
	conn := s.dial(t)
	io.WriteString(conn, text)
	got, _ := io.ReadAll(conn)
	return string(got)
}

func codeOf(answer string) string {
	_, rest, _ := strings.Cut(answer, " ")
	code, _, _ := strings.Cut(rest, " ")
	return code
}

const closing = "Host: x\r\nConnection: close\r\n"

func TestARequestComesToPythonAndItsAnswerBack(t *testing.T) {
	server := newRESTServer(t, func(wanted *config) { wanted.REST.Headers = [][2]string{{"x-all", "1"}} })
	got := server.send(t, "POST /v1?a=b HTTP/1.1\r\nHOST: x\r\nOrigin:  a \r\norigin: b\r\nconnection: x, Close\r\n"+
		"Content-Length: 3\r\n\r\nabc")
	wanted := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-All: 1\r\nConnection: close\r\n" +
		"Content-Length: 29\r\n\r\nPOST /v1?a=b\norigin: a, b|abc"
	if got != wanted {
		t.Fatalf("%q", got)
	}
}

func TestWhatTwoProgramsCouldUnderstandInTwoWaysIsRefused(t *testing.T) {
	server := newRESTServer(t, nil)
	for _, request := range []string{
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 3, 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: +3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 0x3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: -3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: \r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 99999999999999999999\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length : 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 3\r\n x: y\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + " Content-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST / HTTP/1.1\r\n" + closing + "a: b\nContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "a: b\rContent-Length: 3\r\n\r\nabc",
		"POST / HTTP/1.1\r\n" + closing + "a: b\x00\r\n\r\n",
		"POST / HTTP/1.1\r\n" + closing + "a\x00b: c\r\n\r\n",
		"POST / HTTP/1.1\r\n" + closing + ": c\r\n\r\n",
		"POST / HTTP/1.1\r\n" + closing + "a\r\n\r\n",
		"POST / HTTP/1.1\r\n" + closing + "Host: y\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a b\r\n\r\n",
		"POST / HTTP/1.1\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"POST  / HTTP/1.1\r\n" + closing + "\r\n",
		"POST / /a HTTP/1.1\r\n" + closing + "\r\n",
		"POST /\ta HTTP/1.1\r\n" + closing + "\r\n",
		"P@ST / HTTP/1.1\r\n" + closing + "\r\n",
		"POST / HTTP/1.1 \r\n" + closing + "\r\n",
		"POST / HTTP/11\r\n" + closing + "\r\n",
		"POST / http/1.1\r\n" + closing + "\r\n",
		"POST /\r\n\r\n",
		"POST a HTTP/1.1\r\n" + closing + "\r\n",
		"POST / HTTP/1.1\nHost: x\n\n",
		"\n\nPOST / HTTP/1.1\r\n" + closing + "\r\n",
	} {
		if got := server.send(t, request); codeOf(got) != "400" || !strings.Contains(got, "Connection: close") {
			t.Errorf("%q: %q", request, got)
		}
	}
	for request, wanted := range map[string]string{
		"POST / HTTP/1.1\r\n" + closing + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n": "501",
		"POST / HTTP/1.1\r\n" + closing + "Transfer-Encoding: identity\r\n\r\n":               "501",
		"POST / HTTP/2.0\r\n" + closing + "\r\n":                                              "505",
		"POST / HTTP/1.1\r\n" + closing + "Expect: tea\r\n\r\n":                               "417",
		"POST / HTTP/1.1\r\n" + closing + strings.Repeat("a: b\r\n", 20_000) + "\r\n":         "431",
		"POST / HTTP/1.1\r\n" + closing + "Content-Length: 1048577\r\n\r\n":                   "413",
	} {
		if got := server.send(t, request); codeOf(got) != wanted {
			t.Errorf("%.80q: %.200q", request, got)
		}
	}
	if held := server.bodies.held.Load(); held != 0 {
		t.Fatalf("%d bytes are held", held)
	}
}

func TestBodiesInChunksAreReadAndOnlyWhole(t *testing.T) {
	server := newRESTServer(t, nil)
	const head = "POST / HTTP/1.1\r\n" + closing + "Transfer-Encoding: Chunked\r\n\r\n"
	long := strings.Repeat("x", 100_000)
	for chunks, wanted := range map[string]string{
		"0\r\n\r\n":                        "",
		"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n": "abcde",
		"00a ; b=c\r\n0123456789\r\n0;x\r\nT: u\r\nV: w\r\n\r\n":        "0123456789",
		fmt.Sprintf("%X\r\n%s\r\n1\r\ny\r\n0\r\n\r\n", len(long), long): long + "y",
		strings.Repeat("1\r\nz\r\n", 30_000) + "0\r\n\r\n":              strings.Repeat("z", 30_000),
	} {
		if got := server.send(t, head+chunks); codeOf(got) != "200" || !strings.HasSuffix(got, "POST /|"+wanted) {
			t.Errorf("%.50q: %.200q", chunks, got)
		}
	}
	for _, chunks := range []string{
		"3\nabc\r\n0\r\n\r\n", "3\r\nabc\n0\r\n\r\n", "3\r\nabcd\r\n0\r\n\r\n", "g\r\n", "-1\r\n", "+1\r\na\r\n", "0x1\r\na\r\n",
		"\r\n", "1;\x00\r\na\r\n", "0\r\nbad trailer\r\n\r\n", "0\r\na: b\n\r\n", "1" + strings.Repeat("0", 16) + "\r\n",
		"1;" + strings.Repeat("x", 300) + "\r\na\r\n", "0\r\n" + strings.Repeat("a: b\r\n", 20_000) + "\r\n",
	} {
		if got := server.send(t, head+chunks); codeOf(got) != "400" {
			t.Errorf("%.50q: %.200q", chunks, got)
		}
	}
	if got := server.send(t, head+"100001\r\n"+strings.Repeat("x", 1<<20+1)); codeOf(got) != "413" {
		t.Errorf("%.200q", got)
	}
	if held := server.bodies.held.Load(); held != 0 {
		t.Fatalf("%d bytes are held", held)
	}
}

func TestRequestsOfOneConnectionAreAnsweredInTurn(t *testing.T) {
	server := newRESTServer(t, nil)
	var all bytes.Buffer
	sizes := []int{0, 3, 20_000, 1, 300_000, 16 << 10, 0, 5}
	for at, size := range sizes {
		fmt.Fprintf(&all, "POST /%d HTTP/1.1\r\nHost: x\r\nA: %s\r\n", at, strings.Repeat("h", size%30_000))
		if at%2 == 0 {
			fmt.Fprintf(&all, "Content-Length: %d\r\n\r\n%s", size, strings.Repeat("b", size))
		} else {
			fmt.Fprintf(&all, "Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", size, strings.Repeat("b", size))
		}
		if at == 1 {
			all.WriteString("\r\n") // As old clients do.
		}
	}
	for _, piece := range []int{1 << 20, 9_973} {
		conn := server.dial(t)
		go func() {
			for rest := all.Bytes(); len(rest) > 0; rest = rest[min(piece, len(rest)):] {
				conn.Write(rest[:min(piece, len(rest))])
				time.Sleep(time.Millisecond)
			}
		}()
		reader := bufio.NewReader(conn)
		for at, size := range sizes {
			answer, err := http.ReadResponse(reader, nil)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := io.ReadAll(answer.Body)
			if string(got) != fmt.Sprintf("POST /%d|%s", at, strings.Repeat("b", size)) || answer.Close {
				t.Fatalf("%d: %.100q", at, got)
			}
		}
	}
}

func TestAnOldClientSaysWhetherItStays(t *testing.T) {
	server := newRESTServer(t, nil)
	if got := server.send(t, "GET /a HTTP/1.0\r\n\r\n"); !strings.Contains(got, "Connection: close") {
		t.Fatalf("%q", got)
	}
	const kept = "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n"
	got := server.send(t, kept+"GET /a HTTP/1.0\r\n\r\n")
	if strings.Count(got, " 200 ") != 2 || !strings.Contains(got, "Connection: keep-alive") {
		t.Fatalf("%q", got)
	}
}

func TestAnAnswerToHEADHasNoBody(t *testing.T) {
	server := newRESTServer(t, nil)
	got := server.send(t, "HEAD /a HTTP/1.1\r\n"+closing+"\r\n")
	if !strings.Contains(got, "Content-Length: 8") || !strings.HasSuffix(got, "\r\n\r\n") {
		t.Fatalf("%q", got)
	}
}

func TestAProxysFormOfAnAddressIsTaken(t *testing.T) {
	server := newRESTServer(t, nil)
	if got := server.send(t, "GET http://x:80/a?b HTTP/1.1\r\n"+closing+"\r\n"); !strings.HasSuffix(got, "GET /a?b|") {
		t.Fatalf("%q", got)
	}
}

func TestWhoWaitsToBeToldIsTold(t *testing.T) {
	server := newRESTServer(t, nil)
	conn := server.dial(t)
	io.WriteString(conn, "POST / HTTP/1.1\r\n"+closing+"Expect: 100-Continue\r\nContent-Length: 3\r\n\r\n")
	told := make([]byte, len("HTTP/1.1 100 Continue\r\n\r\n"))
	io.ReadFull(conn, told)
	io.WriteString(conn, "abc")
	got, _ := io.ReadAll(conn)
	if codeOf(string(told)) != "100" || !strings.HasSuffix(string(got), "|abc") {
		t.Fatalf("%q %q", told, got)
	}
}

func TestWithoutItsTokenARequestIsReadAwayAndRefused(t *testing.T) {
	server := newRESTServer(t, func(wanted *config) { wanted.TokenDigest = strings.Repeat("ab", 32) })
	long := strings.Repeat("x", 1<<20)
	for _, rest := range []string{
		"Content-Length: 1048576\r\n\r\n" + long,
		"Transfer-Encoding: chunked\r\n\r\n100000\r\n" + long + "\r\n0\r\n\r\n",
		"Expect: 100-continue\r\nContent-Length: 5\r\n\r\n",
	} {
		got := server.send(t, "POST / HTTP/1.1\r\nHost: x\r\n"+rest)
		if codeOf(got) != "401" || !strings.Contains(got, "WWW-Authenticate: Bearer") || !strings.HasSuffix(got, "no token\"}") {
			t.Fatalf("%q", got)
		}
	}
	if got := server.send(t, "OPTIONS / HTTP/1.1\r\n"+closing+"\r\n"); codeOf(got) != "200" {
		t.Fatalf("%q", got)
	}
}

func TestPythonHearsWhoseClientHasGone(t *testing.T) {
	server := newRESTServer(t, nil)
	for _, half := range []bool{true, false} {
		conn := server.dial(t)
		io.WriteString(conn, "POST /slow HTTP/1.1\r\nHost: x\r\n\r\n")
		if half {
			conn.(*net.TCPConn).CloseWrite()
			if got, _ := io.ReadAll(conn); codeOf(string(got)) != "400" || !strings.HasSuffix(string(got), "gone\"}") {
				t.Fatalf("%q", got)
			}
		} else {
			conn.Close()
		}
		select {
		case <-server.gone:
		case <-time.After(10 * time.Second):
			t.Fatal("nobody told it")
		}
	}
}

func TestARequestIsGivenUpAtItsLimitAndTheConnectionStays(t *testing.T) {
	server := newRESTServer(t, func(wanted *config) { wanted.REST.Timeout = 2_000 })
	got := server.send(t, "POST /slow HTTP/1.1\r\nHost: x\r\n\r\n"+"POST / HTTP/1.1\r\n"+closing+"\r\n")
	if codeOf(got) != "504" || !strings.HasSuffix(got, "POST /|") {
		t.Fatalf("%q", got)
	}
}

func TestConnectionsThatDoNotGoOnAreClosed(t *testing.T) {
	for _, text := range []string{
		"", "POST", "POST / HTTP/1.1\r\nHost: x\r\n", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\na",
		"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na", "POST / HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		// What is answered has the time that it takes on a busy machine.
		answered := strings.HasSuffix(text, "Host: x\r\n\r\n")
		server := newRESTServer(t, func(wanted *config) {
			if wanted.REST.KeepAlive = 200; !answered {
				wanted.REST.HeaderTimeout, wanted.REST.BodyTimeout = 200, 200
			}
		})
		got := server.send(t, text)
		if answered != strings.Contains(got, " 200 ") {
			t.Errorf("%q: %q", text, got)
		}
		for start := time.Now(); server.bodies.held.Load() != 0; time.Sleep(time.Millisecond) {
			if time.Since(start) > 10*time.Second {
				t.Fatalf("%q: %d bytes are held", text, server.bodies.held.Load())
			}
		}
	}
}

func TestAHeadThatDripsIsNotWaitedForLonger(t *testing.T) {
	server := newRESTServer(t, func(wanted *config) { wanted.REST.HeaderTimeout = 300 })
	conn := server.dial(t)
	closed := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		closed <- err
	}()
	for started := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		conn.Write([]byte("x"))
		select {
		case <-closed:
			return
		default:
		}
		if time.Since(started) > 10*time.Second {
			t.Fatal("it is still open")
		}
	}
}

func TestAPortThatEndsSaysSoByItsLastAnswersThenClosesWhatIsIdle(t *testing.T) {
	server := newRESTServer(t, nil)
	fresh, idle, kept, busy := server.dial(t), server.dial(t), server.dial(t), server.dial(t)
	const request = "POST / HTTP/1.1\r\nHost: x\r\n\r\n"
	reader := bufio.NewReader(kept)
	for _, one := range []*bufio.Reader{bufio.NewReader(idle), reader} {
		if one == reader {
			io.WriteString(kept, request)
		} else {
			io.WriteString(idle, request)
		}
		answer, err := http.ReadResponse(one, nil)
		if err != nil || answer.Close {
			t.Fatal(err)
		}
		io.ReadAll(answer.Body)
	}
	io.WriteString(busy, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na")
	for found := server.phases(); found[phaseBody] < 1 || found[phaseNew] < 1 || found[phaseIdle] < 2; {
		time.Sleep(time.Millisecond)
		found = server.phases()
	}
	ended := make(chan bool)
	go func() { server.drain(time.Minute); close(ended) }()
	for !server.draining.Load() {
		time.Sleep(time.Millisecond)
	}
	late := server.dial(t)
	for _, conn := range []net.Conn{kept, late} {
		io.WriteString(conn, request)
		got, _ := io.ReadAll(conn)
		if server.closing.Load() {
			t.Skip("this machine is too busy")
		}
		if !strings.Contains(string(got), "Connection: close") {
			t.Fatalf("%q", got)
		}
	}
	for _, conn := range []net.Conn{fresh, idle} {
		if got, _ := io.ReadAll(conn); len(got) > 0 {
			t.Fatalf("%q", got)
		}
	}
	io.WriteString(busy, "bc")
	got, _ := io.ReadAll(busy)
	if !strings.HasSuffix(string(got), "|abc") || !strings.Contains(string(got), "Connection: close") {
		t.Fatalf("%q", got)
	}
	<-ended
	if _, err := net.Dial("tcp", server.address); err == nil {
		t.Fatal("it still listens")
	}
}

func TestAnOldConnectionIsEndedByAnAnswer(t *testing.T) {
	server := newRESTServer(t, func(wanted *config) { wanted.REST.MaxConnectionAge = 200 })
	conn := server.dial(t)
	reader := bufio.NewReader(conn)
	for count := 0; ; count++ {
		io.WriteString(conn, "POST / HTTP/1.1\r\nHost: x\r\n\r\n")
		answer, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadAll(answer.Body)
		if answer.Close {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestTheEndDoesNotWaitForEver(t *testing.T) {
	server := newRESTServer(t, nil)
	conn := server.dial(t)
	io.WriteString(conn, "POST /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	for server.phases()[phaseAsking] == 0 {
		time.Sleep(time.Millisecond)
	}
	server.drain(50 * time.Millisecond)
	if got, err := io.ReadAll(conn); len(got) > 0 {
		t.Fatalf("%q %v", got, err)
	}
}

// phases counts connections by what they do.
func (p *restPort) phases() map[phase]int {
	p.lock.Lock()
	defer p.lock.Unlock()
	found := map[phase]int{}
	for c := range p.conns {
		c.lock.Lock()
		found[c.phase]++
		c.lock.Unlock()
	}
	return found
}

func TestAFormThatPythonHasForgottenIsAskedForAgain(t *testing.T) {
	l, small, _ := linked(t)
	wanted := &config{MostRequestBytes: 1 << 20, REST: restConfig{Host: "127.0.0.1", MostHeaderBytes: 1 << 16}}
	port, err := newRESTPort(wanted, l, &budget{}, limit{0, &atomic.Int64{}, &answers{}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	port.serve()
	server := &restServer{port, port.listener.Addr().String(), nil}
	l.forms.add(told(7, "POST /a", `{"inputs": [`))
	answer := make(chan string)
	go func() {
		answer <- server.send(t, "POST /a HTTP/1.1\r\n"+closing+"Content-Length: 20\r\n\r\n"+`{"inputs": [[3],[4]]}`[:20]+"")
	}()
	if got := next(t, small); got.kind != kindHTTP { // It isn't of the form: a bracket is missing.
		t.Fatalf("%+v", got)
	} else {
		answerFrame(small, got.id, kindHTTPAnswer, "first")
	}
	<-answer
	go func() {
		answer <- server.send(t, "POST /a HTTP/1.1\r\n"+closing+"Content-Length: 21\r\n\r\n"+`{"inputs": [[3],[4]]}`)
	}()
	got := next(t, small)
	if got.kind != kindRows || got.status != 7 || !bytes.Equal(got.content, []byte{3, 4}) {
		t.Fatalf("%+v", got)
	}
	answerFrame(small, got.id, kindAgain, "")
	if got = next(t, small); got.kind != kindHTTP || string(got.content) != `{"inputs": [[3],[4]]}` {
		t.Fatalf("%+v", got)
	}
	answerFrame(small, got.id, kindHTTPAnswer, "second")
	if text := <-answer; !strings.HasSuffix(text, "second") {
		t.Fatalf("%q", text)
	}
	if l.forms.of("POST /a") != nil {
		t.Fatal("it is still known")
	}
}

// What this takes for a head, Go's own server understands in the same way.
func FuzzHead(f *testing.F) {
	for _, seed := range []string{
		"POST /a?b HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n",
		"GET http://x/a HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\nexpect: 100-continue\r\na:\tb \r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	wanted := &restConfig{PassedHeaders: []string{"origin"}}
	f.Fuzz(func(t *testing.T, data []byte) {
		var r requestHead
		looked := 0
		size, err := headSize(data, &looked)
		if err != nil || size == 0 || r.parse(data[:size], wanted) != nil {
			return
		}
		other, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(data[:size:size], "0\r\n\r\n"...))))
		if err != nil {
			if wrong := (*url.Error)(nil); errors.As(err, &wrong) && r.target[0] == '/' {
				return // Python has the last word on paths.
			}
			t.Fatalf("%q: %v", data, err)
		}
		if other.Method != string(r.method) || other.ContentLength != r.length || other.Close == r.keeps() {
			t.Fatalf("%q: %+v", data, other)
		}
	})
}
