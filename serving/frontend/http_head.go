package main

import (
	"bytes"
	"net/http"
	"net/url"
	"strconv"
)

// noLength is that of a body in chunks.
const noLength = -1

// requestHead is what precedes a body. Its slices are of the buffer that it was read from.
type requestHead struct {
	method, target []byte
	// length of the body in bytes, or noLength.
	length int64
	// isOld is for HTTP/1.0, whose connections end unless both sides say otherwise.
	isOld, asksToKeep, asksToClose bool
	// expects says that the client sends the body only once it was told to go on.
	expects               bool
	authorization, xToken []byte
	// passed are the headers that Python is told, by their places in the configuration.
	passed [][]byte
}

// badRequest is the status of a request that is refused for its form, and text on what is wrong.
type badRequest struct {
	status int
	text   string
}

func (b *badRequest) Error() string { return b.text }

func malformed(text string) *badRequest { return &badRequest{http.StatusBadRequest, text} }

// tokenBytes are those of methods and of headers' names.
var tokenBytes = func() (is [256]bool) {
	for _, char := range []byte("!#$%&'*+-.^_`|~0123456789") {
		is[char] = true
	}
	for char := byte('a'); char <= 'z'; char++ {
		is[char], is[char-'a'+'A'] = true, true
	}
	return is
}()

func isToken(text []byte) bool {
	for _, char := range text {
		if !tokenBytes[char] {
			return false
		}
	}
	return len(text) > 0
}

// hasControls is for what no line may hold: a line end of half its length, above all, that another
// program on the way may take for a whole one. A tab may be in a value.
func hasControls(text []byte, tabs bool) bool {
	for _, char := range text {
		if char < ' ' && !(tabs && char == '\t') || char == 0x7f {
			return true
		}
	}
	return false
}

// parse reads a head, the empty line at its end included. What two programs could understand in two
// ways is refused: then a request could be smuggled past one of them within another.
func (r *requestHead) parse(head []byte, wanted *restConfig) *badRequest {
	*r = requestHead{passed: r.passed[:0]}
	for range wanted.PassedHeaders {
		r.passed = append(r.passed, nil)
	}
	line, rest, found := cutLine(head)
	if !found {
		return malformed("a line does not end with CR and LF")
	}
	if wrong := r.parseLine(line); wrong != nil {
		return wrong
	}
	hosts, lengths, encodings := 0, 0, 0
	for {
		if line, rest, found = cutLine(rest); !found {
			return malformed("a line does not end with CR and LF")
		}
		if len(line) == 0 {
			break
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !isToken(line[:colon]) {
			return malformed("invalid header name")
		}
		name, value := line[:colon], bytes.Trim(line[colon+1:], " \t")
		if hasControls(value, true) {
			return malformed("invalid header value")
		}
		switch {
		case isNamed(name, "host"):
			hosts++
			if bytes.ContainsAny(value, " \t,/\\?#@") {
				return malformed("malformed Host header")
			}
		case isNamed(name, "content-length"):
			lengths++
			if r.length = parseLength(value); r.length < 0 {
				return malformed("invalid Content-Length")
			}
		case isNamed(name, "transfer-encoding"):
			encodings++
			if !isNamed(value, "chunked") {
				return &badRequest{http.StatusNotImplemented, "unsupported transfer encoding"}
			}
		case isNamed(name, "connection"):
			for _, option := range bytes.Split(value, []byte(",")) {
				switch option = bytes.Trim(option, " \t"); {
				case isNamed(option, "close"):
					r.asksToClose = true
				case isNamed(option, "keep-alive"):
					r.asksToKeep = true
				}
			}
		case isNamed(name, "expect"):
			if !isNamed(value, "100-continue") {
				return &badRequest{http.StatusExpectationFailed, "unknown expectation"}
			}
			r.expects = true
		case isNamed(name, "authorization") && r.authorization == nil:
			r.authorization = value
		case isNamed(name, "x-auth-token") && r.xToken == nil:
			r.xToken = value
		}
		for place, passed := range wanted.PassedHeaders {
			if !isNamed(name, passed) {
				continue
			}
			if r.passed[place] != nil {
				value = append(append(bytes.Clone(r.passed[place]), ", "...), value...)
			}
			r.passed[place] = value
		}
	}
	switch {
	case hosts > 1:
		return malformed("too many Host headers")
	case hosts == 0 && !r.isOld:
		return malformed("missing required Host header")
	case lengths > 1 || encodings > 1 || lengths+encodings > 1:
		return malformed("the body's length is told twice")
	case encodings > 0 && r.isOld:
		return malformed("HTTP/1.0 has no transfer encodings")
	}
	if encodings > 0 {
		r.length = noLength
	}
	return nil
}

// keeps says whether the connection stays open afterwards.
func (r *requestHead) keeps() bool { return !r.asksToClose && (r.asksToKeep || !r.isOld) }

func (r *requestHead) parseLine(line []byte) *badRequest {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, found := bytes.Cut(rest, []byte(" "))
	if !found || !isToken(method) || len(target) == 0 || hasControls(target, false) {
		return malformed("malformed request line")
	}
	if len(version) != len("HTTP/1.1") || !bytes.HasPrefix(version, []byte("HTTP/")) ||
		version[6] != '.' || !isDigit(version[5]) || !isDigit(version[7]) {
		return malformed("malformed HTTP version")
	}
	if version[5] != '1' {
		return &badRequest{http.StatusHTTPVersionNotSupported, "unsupported protocol version"}
	}
	r.isOld = version[7] == '0'
	r.method, r.target = method, target
	if target[0] != '/' && !bytes.Equal(target, []byte("*")) {
		// A proxy's form, with scheme and host.
		parsed, err := url.ParseRequestURI(string(target))
		if err != nil || parsed.Host == "" {
			return malformed("malformed request target")
		}
		r.target = []byte(parsed.RequestURI())
	}
	return nil
}

// passedLines returns a line for each header that Python cares for, with a line end before it.
func (r *requestHead) passedLines(wanted *restConfig) string {
	var lines string
	for place, value := range r.passed {
		if value != nil {
			lines += "\n" + wanted.PassedHeaders[place] + ": " + string(value)
		}
	}
	return lines
}

// cutLine returns the line that some bytes begin with, and what follows it.
func cutLine(data []byte) (line, rest []byte, found bool) {
	end := bytes.IndexByte(data, '\n')
	if end < 1 || data[end-1] != '\r' {
		return nil, nil, false
	}
	return data[:end-1], data[end+1:], true
}

// isNamed compares with a text in lower case.
func isNamed(name []byte, wanted string) bool {
	if len(name) != len(wanted) {
		return false
	}
	for at, char := range name {
		if char >= 'A' && char <= 'Z' {
			char += 'a' - 'A'
		}
		if char != wanted[at] {
			return false
		}
	}
	return true
}

func isDigit(char byte) bool { return char >= '0' && char <= '9' }

// parseLength returns a number of bytes in decimal digits; below 0: it is none.
func parseLength(text []byte) int64 {
	for _, char := range text {
		if !isDigit(char) {
			return -1
		}
	}
	length, err := strconv.ParseInt(string(text), 10, 64)
	if err != nil {
		return -1
	}
	return length
}
