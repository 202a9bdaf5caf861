package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// protocolVersion is what both sides must speak. See serving/ports/native/frames.py, which has the
// same numbers and tells what they mean.
const protocolVersion = 3

// Kinds of frames. Below 16 they go to Python, from 16 on they come from there.
const (
	kindHello      = 1
	kindServing    = 2
	kindFailed     = 3
	kindGRPC       = 4
	kindHTTP       = 5
	kindCancel     = 6
	kindDrained    = 7
	kindRows       = 8
	kindConfigure  = 16
	kindHealth     = 17
	kindGRPCAnswer = 18
	kindHTTPAnswer = 19
	kindDrain      = 20
	kindForm       = 21
	kindAgain      = 22
)

// What the link answers itself, where Python does not.
const (
	kindTooLate = 64 + iota
	kindGone
	kindLost
)

const (
	headerBytes = 16
	entryBytes  = 24
	// mostHeadBytes bounds what is no body: method, path, headers.
	mostHeadBytes = 1 << 20
	// mostBodyBytes is more than a message of protobuf or an answer in JSON can be.
	mostBodyBytes = 1 << 36
	// noDeadline stands where nobody set one.
	noDeadline = -1
)

// header precedes each frame's head and entries. On the wire: little-endian, in this order, with one
// unused byte after the kind.
type header struct {
	kind   byte
	status uint16
	head   uint32
	// entries are the bytes of all entries.
	entries uint64
}

// entriesPlace is where a header has the bytes of all entries.
const entriesPlace = 8

func (h header) appendTo(buffer []byte) []byte {
	buffer = append(buffer, h.kind, 0)
	buffer = binary.LittleEndian.AppendUint16(buffer, h.status)
	buffer = binary.LittleEndian.AppendUint32(buffer, h.head)
	return binary.LittleEndian.AppendUint64(buffer, h.entries)
}

func parseHeader(data []byte) (header, error) {
	h := header{
		kind:    data[0],
		status:  binary.LittleEndian.Uint16(data[2:]),
		head:    binary.LittleEndian.Uint32(data[4:]),
		entries: binary.LittleEndian.Uint64(data[entriesPlace:]),
	}
	if h.head > mostHeadBytes || h.entries > mostBodyBytes {
		return h, fmt.Errorf("a frame of kind %d has %d and %d bytes", h.kind, h.head, h.entries)
	}
	return h, nil
}

// entry precedes each body. On the wire: little-endian, in this order.
type entry struct {
	id     uint64
	micros int64
	body   uint64
}

func (e entry) appendTo(buffer []byte) []byte {
	buffer = binary.LittleEndian.AppendUint64(buffer, e.id)
	buffer = binary.LittleEndian.AppendUint64(buffer, uint64(e.micros))
	return binary.LittleEndian.AppendUint64(buffer, e.body)
}

// frame is one entry of a frame that came from Python, with what it has in common with others.
type frame struct {
	header
	entry
	headText string
	content  []byte
}

// readFrames returns the entries of the next frame; io.EOF where the stream ends between two.
func readFrames(reader io.Reader, scratch *[headerBytes]byte) ([]frame, error) {
	if _, err := io.ReadFull(reader, scratch[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("a frame was cut off: %w", err)
		}
		return nil, err
	}
	h, err := parseHeader(scratch[:])
	if err != nil {
		return nil, err
	}
	content := make([]byte, uint64(h.head)+h.entries)
	if _, err := io.ReadFull(reader, content); err != nil {
		return nil, fmt.Errorf("a frame of kind %d was cut off: %w", h.kind, err)
	}
	common := frame{header: h, headText: string(content[:h.head])}
	var found []frame
	for rest := content[h.head:]; len(rest) > 0; {
		if len(rest) < entryBytes {
			return nil, fmt.Errorf("a frame of kind %d has %d bytes too many", h.kind, len(rest))
		}
		one := common
		one.entry = entry{
			id:     binary.LittleEndian.Uint64(rest),
			micros: int64(binary.LittleEndian.Uint64(rest[8:])),
			body:   binary.LittleEndian.Uint64(rest[16:]),
		}
		rest = rest[entryBytes:]
		if one.body > uint64(len(rest)) {
			return nil, fmt.Errorf("a frame of kind %d has a body of %d bytes", h.kind, one.body)
		}
		one.content, rest = rest[:one.body:one.body], rest[one.body:]
		found = append(found, one)
	}
	return found, nil
}
