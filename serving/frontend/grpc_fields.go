package main

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"google.golang.org/grpc/codes"
)

// fields are what the headers of a call say.
type fields struct {
	httpMethod, scheme, path, contentType, authorization, token string
	encoding, timeout                                           string
	authorities, hosts                                          int
	// length is that of the body, below 0: it was not told.
	length int64
	// isMalformed is whether something is there, or lacking, that HTTP/2 forbids.
	isMalformed bool
}

func (f *fields) read(frame *http2.MetaHeadersFrame) {
	f.length = -1
	for _, field := range frame.Fields {
		switch field.Name {
		case ":method":
			f.httpMethod = field.Value
		case ":scheme":
			f.scheme = field.Value
		case ":path":
			f.path = field.Value
		case ":authority":
			f.authorities++
		case "host":
			f.hosts++
		case "content-type":
			f.contentType = field.Value
		case "grpc-encoding":
			f.encoding = field.Value
		case "grpc-timeout":
			f.timeout = field.Value
		case "authorization":
			f.authorization = field.Value
		case "x-auth-token":
			f.token = field.Value
		case "content-length":
			length, err := strconv.ParseUint(field.Value, 10, 63)
			f.isMalformed = f.isMalformed || err != nil || f.length >= 0 && f.length != int64(length)
			f.length = int64(length)
		case "te":
			f.isMalformed = f.isMalformed || field.Value != "trailers"
		case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
			f.isMalformed = true
		}
	}
	if f.httpMethod == "" || f.scheme == "" || f.path == "" {
		f.isMalformed = true
	}
}

// isGRPC says whether a content type is application/grpc or a kind of it.
func isGRPC(contentType string) bool {
	rest, is := strings.CutPrefix(strings.ToLower(contentType), "application/grpc")
	return is && (rest == "" || rest[0] == '+' || rest[0] == ';')
}

// What HPACK makes of fields that are not to be remembered, without Huffman's code.
var (
	okHeaders  = headersOf(http.StatusOK)
	okTrailers = trailersOf(codes.OK, "")
)

func headersOf(status int) []byte {
	block := []byte{0x80 | 8} // ":status: 200" of the static table.
	if status != http.StatusOK {
		block = appendString([]byte{8}, strconv.Itoa(status)) // ":status" and another value.
	}
	return appendField(block, "content-type", "application/grpc")
}

func trailersOf(code codes.Code, text string) []byte {
	block := appendField(nil, "grpc-status", strconv.Itoa(int(code)))
	if text != "" {
		block = appendField(block, "grpc-message", percentEncoded(text))
	}
	return block
}

func appendField(block []byte, name, value string) []byte {
	return appendString(appendString(append(block, 0), name), value)
}

// appendString appends a string literal: its length as an integer with a prefix of 7 bits.
func appendString(block []byte, text string) []byte {
	const most = 127
	if len(text) < most {
		return append(append(block, byte(len(text))), text...)
	}
	block = append(block, most)
	rest := len(text) - most
	for ; rest > most; rest >>= 7 {
		block = append(block, byte(rest)|0x80)
	}
	return append(append(block, byte(rest)), text...)
}

// percentEncoded returns a text as gRPC's field `grpc-message` has it.
func percentEncoded(text string) string {
	var encoded []byte
	for _, char := range []byte(text) {
		if char >= ' ' && char <= '~' && char != '%' {
			encoded = append(encoded, char)
		} else {
			encoded = fmt.Appendf(encoded, "%%%02X", char)
		}
	}
	return string(encoded)
}

// timeout reads a field `grpc-timeout`: up to 8 digits and a unit.
func timeout(text string) (time.Duration, error) {
	unit, digits := time.Duration(0), ""
	if len(text) > 1 && len(text) <= 9 {
		digits = text[:len(text)-1]
		unit = map[byte]time.Duration{
			'H': time.Hour, 'M': time.Minute, 'S': time.Second,
			'm': time.Millisecond, 'u': time.Microsecond, 'n': time.Nanosecond,
		}[text[len(text)-1]]
	}
	number, err := strconv.ParseUint(digits, 10, 32)
	if unit == 0 || err != nil {
		return 0, fmt.Errorf("malformed grpc-timeout: %.*q", quotedBytes, text)
	}
	if number > uint64(math.MaxInt64/unit) {
		return math.MaxInt64, nil
	}
	return time.Duration(number) * unit, nil
}
