package main

import (
	"fmt"

	"google.golang.org/grpc/mem"
	"google.golang.org/protobuf/proto"
)

// codec passes the messages of Python's services on as bytes; those of health and reflection are
// messages here.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(message any) (mem.BufferSlice, error) {
	switch message := message.(type) {
	case []byte:
		return mem.BufferSlice{mem.SliceBuffer(message)}, nil
	case *answer:
		return mem.BufferSlice{message.buffer()}, nil
	case proto.Message:
		content, err := proto.Marshal(message)
		return mem.BufferSlice{mem.SliceBuffer(content)}, err
	}
	return nil, fmt.Errorf("no message: %T", message)
}

func (codec) Unmarshal(content mem.BufferSlice, message any) error {
	switch message := message.(type) {
	case *mem.BufferSlice:
		content.Ref()
		*message = content
		return nil
	case proto.Message:
		return proto.Unmarshal(content.Materialize(), message)
	}
	return fmt.Errorf("no message: %T", message)
}
