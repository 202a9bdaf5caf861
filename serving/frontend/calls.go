package main

import (
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// calls are those under way, of all connections. A call takes some KiB before anything of its
// message has come, and one connection can open any number.
type calls struct {
	most    int64
	refusal string
	open    atomic.Int64
}

func (c *calls) begin() error {
	if open := c.open.Add(1); open > c.most && c.most > 0 {
		c.open.Add(-1)
		return status.Error(codes.Unavailable, c.refusal)
	}
	return nil
}

func (c *calls) end() { c.open.Add(-1) }

// ofStream counts what the library calls a stream: watches of health, reflection.
func (c *calls) ofStream(
	server any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler,
) error {
	if err := c.begin(); err != nil {
		return err
	}
	defer c.end()
	return handle(server, stream)
}
