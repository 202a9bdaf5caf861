package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// protocolVersion is what both sides must speak. See serving/ports/native/frames.py, which has the
// same numbers and tells what they mean.
const protocolVersion = 1

// Kinds of frames. Below 16 they go to Python, from 16 on they come from there.
const (
	kindHello      = 1
	kindServing    = 2
	kindFailed     = 3
	kindGRPC       = 4
	kindHTTP       = 5
	kindCancel     = 6
	kindDrained    = 7
	kindConfigure  = 16
	kindHealth     = 17
	kindGRPCAnswer = 18
	kindHTTPAnswer = 19
	kindDrain      = 20
)

const (
	headerBytes = 32
	// mostHeadBytes bounds what is no body: method, path, headers.
	mostHeadBytes = 1 << 20
	// mostBodyBytes is more than a message of protobuf or an answer in JSON can be.
	mostBodyBytes = 1 << 36
	// noDeadline stands where nobody set one.
	noDeadline = -1
)

// header precedes each frame's head and body. On the wire: little-endian, in this order, with one
// unused byte after the kind.
type header struct {
	kind   byte
	status uint16
	head   uint32
	id     uint64
	micros int64
	body   uint64
}

func (h header) appendTo(buffer []byte) []byte {
	buffer = append(buffer, h.kind, 0)
	buffer = binary.LittleEndian.AppendUint16(buffer, h.status)
	buffer = binary.LittleEndian.AppendUint32(buffer, h.head)
	buffer = binary.LittleEndian.AppendUint64(buffer, h.id)
	buffer = binary.LittleEndian.AppendUint64(buffer, uint64(h.micros))
	return binary.LittleEndian.AppendUint64(buffer, h.body)
}

func parseHeader(data []byte) (header, error) {
	h := header{
		kind:   data[0],
		status: binary.LittleEndian.Uint16(data[2:]),
		head:   binary.LittleEndian.Uint32(data[4:]),
		id:     binary.LittleEndian.Uint64(data[8:]),
		micros: int64(binary.LittleEndian.Uint64(data[16:])),
		body:   binary.LittleEndian.Uint64(data[24:]),
	}
	if h.head > mostHeadBytes || h.body > mostBodyBytes {
		return h, fmt.Errorf("a frame of kind %d has %d and %d bytes", h.kind, h.head, h.body)
	}
	return h, nil
}

// frame is one that came from Python.
type frame struct {
	header
	headText string
	content  []byte
}

// readFrame returns the next frame; io.EOF where the stream ends between two.
func readFrame(reader io.Reader, scratch *[headerBytes]byte) (frame, error) {
	if _, err := io.ReadFull(reader, scratch[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return frame{}, fmt.Errorf("a frame was cut off: %w", err)
		}
		return frame{}, err
	}
	h, err := parseHeader(scratch[:])
	if err != nil {
		return frame{}, err
	}
	content := make([]byte, uint64(h.head)+h.body)
	if _, err := io.ReadFull(reader, content); err != nil {
		return frame{}, fmt.Errorf("a frame of kind %d was cut off: %w", h.kind, err)
	}
	return frame{h, string(content[:h.head]), content[h.head:]}, nil
}
