package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// readAwayBytes and readAwayTimeout bound the body of a request that is refused: most clients
	// look for an answer only after they have sent it.
	readAwayBytes   = 16 << 20
	readAwayTimeout = 3 * time.Second
	// lateness is how long after its limit a request is given up: a run ends by itself at the limit.
	lateness = 100 * time.Millisecond
	// firstBodyBytes is what a body of unknown length gets at first.
	firstBodyBytes = 16 << 10
)

var errTooLarge = errors.New("longer than it may be")

// restPort answers HTTP/1.1.
type restPort struct {
	server   *http.Server
	listener net.Listener
	link     *link
	bodies   *budget
	token    *token
	wanted   *restConfig
	most     int64
}

// newRESTPort binds what is asked for.
func newRESTPort(wanted *config, l *link, bodies *budget, limit limit, guard *token) (*restPort, error) {
	rest := &wanted.REST
	listener, err := net.Listen("tcp", net.JoinHostPort(rest.Host, strconv.Itoa(rest.Port)))
	if err != nil {
		return nil, fmt.Errorf("Couldn't start HTTP server on port %d: %s", rest.Port, reason(err))
	}
	port := &restPort{
		listener: limit.of(listener), link: l, bodies: bodies,
		token: guard, wanted: rest, most: wanted.MostRequestBytes,
	}
	port.server = &http.Server{
		Handler:                      port,
		MaxHeaderBytes:               rest.MostHeaderBytes,
		ReadHeaderTimeout:            milliseconds(rest.HeaderTimeout),
		ConnContext:                  withConn,
		IdleTimeout:                  milliseconds(rest.KeepAlive),
		DisableGeneralOptionsHandler: true,
		ErrorLog:                     log.New(io.Discard, "", 0),
	}
	return port, nil
}

func (p *restPort) serve() {
	go func() {
		if err := p.server.Serve(p.listener); err != nil && !errors.Is(err, http.ErrServerClosed) {
			complain("REST: %v", err)
		}
	}()
}

// drain ends once every request has been answered, at the latest after `grace`.
func (p *restPort) drain(grace time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if p.server.Shutdown(ctx) != nil {
		p.server.Close()
	}
}

func (p *restPort) ServeHTTP(writer http.ResponseWriter, request *http.Request) {
	headers := writer.Header()
	headers["Date"] = nil // Nobody needs it, and its making takes time.
	for _, pair := range p.wanted.Headers {
		headers.Set(pair[0], pair[1])
	}
	// Browsers ask by OPTIONS what they may send, before they send a token.
	if request.Method != http.MethodOptions &&
		!p.token.isIn(request.Header.Get("Authorization"), request.Header.Get("X-Auth-Token")) {
		headers.Set("WWW-Authenticate", "Bearer")
		p.refuse(writer, request, http.StatusUnauthorized, p.wanted.Refusal, readAwayBytes)
		return
	}
	body, held, err := p.read(writer, request)
	giveBack := func() { p.bodies.giveBack(held) }
	switch {
	case errors.Is(err, errTooLarge):
		giveBack()
		p.refuse(writer, request, http.StatusRequestEntityTooLarge, p.wanted.TooLarge, 0)
		return
	case errors.Is(err, errTooMuch):
		giveBack()
		p.refuse(writer, request, http.StatusTooManyRequests, p.wanted.TooMuchWaits, 0)
		return
	case err != nil:
		giveBack()
		headers.Set("Connection", "close")
		http.Error(writer, "Invalid HTTP request received.", http.StatusBadRequest)
		return
	}
	ctx := request.Context()
	if p.wanted.Timeout > 0 {
		limited, cancel := context.WithTimeout(ctx, milliseconds(p.wanted.Timeout)+lateness)
		defer cancel()
		ctx = limited
	}
	answer, err := p.link.ask(
		ctx, kindHTTP, p.head(request), [][]byte{body}, len(body), giveBack,
	)
	if errors.Is(err, context.DeadlineExceeded) {
		answerJSON(writer, http.StatusGatewayTimeout, p.wanted.TooLate)
		return
	}
	if err != nil {
		headers.Set("Connection", "close")
		answerJSON(writer, http.StatusServiceUnavailable, p.wanted.Unavailable)
		return
	}
	conn, size := connOfRequest(request), int64(len(answer.content))
	if !conn.carry(size) {
		answerJSON(writer, http.StatusTooManyRequests, p.wanted.TooMuchUntaken)
		return
	}
	defer conn.carried(size)
	for line := range strings.Lines(answer.headText) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		headers.Set(name, value)
	}
	headers.Set("Content-Length", strconv.Itoa(len(answer.content)))
	writer.WriteHeader(int(answer.status))
	writer.Write(answer.content)
}

// head returns what Python is told of a request but for its body: one line with method and path,
// one for each header that it cares for.
func (p *restPort) head(request *http.Request) string {
	path := request.RequestURI
	if !strings.HasPrefix(path, "/") && path != "*" {
		path = request.URL.RequestURI() // A proxy's form, with scheme and host.
	}
	head := request.Method + " " + path
	for _, name := range p.wanted.PassedHeaders {
		if values := request.Header.Values(name); len(values) > 0 {
			head += "\n" + name + ": " + strings.Join(values, ", ")
		}
	}
	return head
}

// read returns a request's body, and how many bytes of the budget it holds, also after an error.
func (p *restPort) read(writer http.ResponseWriter, request *http.Request) ([]byte, int64, error) {
	length := request.ContentLength
	if length == 0 {
		return nil, 0, nil
	}
	if length > p.most {
		return nil, 0, errTooLarge
	}
	control := http.NewResponseController(writer)
	timeout := milliseconds(p.wanted.BodyTimeout)
	size := length
	if size < 0 {
		size = firstBodyBytes
	}
	// What is announced need not come: no more is held than twice of what has come.
	size = min(size, largeBytes)
	if !p.bodies.take(size) {
		return nil, 0, errTooMuch
	}
	held, body := size, make([]byte, 0, size)
	for {
		if timeout > 0 {
			control.SetReadDeadline(time.Now().Add(timeout)) // For the next part.
		}
		got, err := request.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+got]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, held, err
		}
		if int64(len(body)) == length {
			break
		}
		if int64(len(body)) > p.most {
			return nil, held, errTooLarge
		}
		if len(body) == cap(body) {
			larger := min(2*size, max(length, p.most+1))
			if length > 0 {
				larger = min(2*size, length)
			}
			if !p.bodies.take(larger - size) {
				return nil, held, errTooMuch
			}
			held += larger - size
			size = larger
			body = append(make([]byte, 0, size), body...)
		}
	}
	if timeout > 0 {
		control.SetReadDeadline(time.Time{})
	}
	if int64(len(body)) > p.most {
		return nil, held, errTooLarge
	}
	return body, held, nil
}

// refuse answers without Python, and closes the connection.
func (p *restPort) refuse(
	writer http.ResponseWriter, request *http.Request, code int, text string, readAway int64,
) {
	writer.Header().Set("Connection", "close")
	control := http.NewResponseController(writer)
	if readAway > 0 && request.ContentLength != 0 {
		control.SetReadDeadline(time.Now().Add(readAwayTimeout))
		io.CopyN(io.Discard, request.Body, readAway)
	}
	answerJSON(writer, code, text)
	// What is left of the body is not waited for.
	control.SetReadDeadline(time.Now())
}

func answerJSON(writer http.ResponseWriter, code int, text string) {
	writer.Header().Set("Content-Type", "application/json")
	writer.Header().Set("Content-Length", strconv.Itoa(len(text)))
	writer.WriteHeader(code)
	io.WriteString(writer, text)
}
