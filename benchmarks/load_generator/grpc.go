package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

const (
	// windowBytes is how much a server may send before it is told that some was read.
	windowBytes = 1 << 30
	// prefixBytes precede each message of gRPC: whether it is compressed, and its length.
	prefixBytes = 5
)

// grpcClient speaks gRPC over one connection, in the goroutine that calls. grpc-go's own client needs
// three goroutines for it, and more of the machine than some servers: one call after the other needs
// no more than this.
type grpcClient struct {
	host    string
	header  []hpack.HeaderField
	message []byte

	conn   net.Conn
	out    bytes.Buffer
	framer *http2.Framer
	encode *hpack.Encoder
	fields bytes.Buffer
	// What the server allows.
	frameBytes     int
	newWindow      int64
	connWindow     int64
	streamWindow   int64
	stream, unread uint32
	answer         []byte
	status         string
	text           string
}

func newGRPCClient(target *url.URL, body []byte, headers []string) *grpcClient {
	fields := []hpack.HeaderField{
		{Name: ":method", Value: "POST"},
		{Name: ":scheme", Value: "http"},
		{Name: ":path", Value: target.Path},
		{Name: ":authority", Value: target.Host},
		{Name: "content-type", Value: "application/grpc"},
		{Name: "te", Value: "trailers"},
		{Name: "grpc-timeout", Value: "30S"},
	}
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ":")
		fields = append(fields, hpack.HeaderField{
			Name: strings.ToLower(name), Value: strings.TrimSpace(value),
		})
	}
	message := binary.BigEndian.AppendUint32([]byte{0}, uint32(len(body)))
	return &grpcClient{host: target.Host, header: fields, message: append(message, body...)}
}

func (c *grpcClient) call(ctx context.Context) ([]byte, error) {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return nil, err
		}
	}
	deadline, _ := ctx.Deadline()
	c.conn.SetDeadline(deadline)
	if err := c.exchange(); err != nil {
		c.close()
		return nil, err
	}
	if c.status != "0" {
		return nil, fmt.Errorf("gRPC status %s: %s", c.status, c.text)
	}
	if len(c.answer) < prefixBytes || c.answer[0] != 0 {
		return nil, errors.New("no message, or a compressed one")
	}
	return c.answer[prefixBytes:], nil
}

func (c *grpcClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *grpcClient) connect(ctx context.Context) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.host)
	if err != nil {
		return err
	}
	c.conn = conn
	c.out.Reset()
	c.framer = http2.NewFramer(&c.out, bufio.NewReader(conn))
	c.framer.SetReuseFrames()
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encode = hpack.NewEncoder(&c.fields)
	c.frameBytes, c.newWindow, c.connWindow = 16<<10, 65535, 65535
	c.stream, c.unread = 0, 0
	c.out.WriteString(http2.ClientPreface)
	c.framer.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: windowBytes},
	)
	return c.framer.WriteWindowUpdate(0, windowBytes)
}

// exchange sends the request and reads until the answer's end.
func (c *grpcClient) exchange() error {
	if c.stream == 0 {
		c.stream = 1
	} else {
		c.stream += 2
	}
	c.answer, c.status, c.text, c.streamWindow = c.answer[:0], "", "", c.newWindow
	c.fields.Reset()
	for _, field := range c.header {
		c.encode.WriteField(field)
	}
	c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: c.stream, BlockFragment: c.fields.Bytes(), EndHeaders: true,
	})
	for rest := c.message; len(rest) > 0; {
		size := int(min(int64(len(rest)), int64(c.frameBytes), c.connWindow, c.streamWindow))
		if size == 0 {
			if ended, err := c.next(); err != nil || ended {
				return err
			}
			continue
		}
		c.framer.WriteData(c.stream, size == len(rest), rest[:size])
		c.connWindow -= int64(size)
		c.streamWindow -= int64(size)
		rest = rest[size:]
	}
	for {
		if ended, err := c.next(); err != nil || ended {
			return err
		}
	}
}

// next sends what is to be sent, then takes one frame; true: the answer has ended.
func (c *grpcClient) next() (bool, error) {
	if c.out.Len() > 0 {
		if _, err := c.conn.Write(c.out.Bytes()); err != nil {
			return false, err
		}
		c.out.Reset()
	}
	read, err := c.framer.ReadFrame()
	if err != nil {
		return false, err
	}
	switch frame := read.(type) {
	case *http2.DataFrame:
		c.answer = append(c.answer, frame.Data()...)
		if c.unread += frame.Length; c.unread > windowBytes/2 {
			c.framer.WriteWindowUpdate(0, c.unread)
			c.unread = 0
		}
		return frame.StreamEnded(), nil
	case *http2.MetaHeadersFrame:
		for _, field := range frame.Fields {
			switch field.Name {
			case "grpc-status":
				c.status = field.Value
			case "grpc-message":
				c.text = field.Value
			}
		}
		return frame.StreamEnded(), nil
	case *http2.SettingsFrame:
		if frame.IsAck() {
			return false, nil
		}
		frame.ForeachSetting(func(setting http2.Setting) error {
			switch setting.ID {
			case http2.SettingInitialWindowSize:
				c.streamWindow += int64(setting.Val) - c.newWindow
				c.newWindow = int64(setting.Val)
			case http2.SettingMaxFrameSize:
				c.frameBytes = int(setting.Val)
			}
			return nil
		})
		return false, c.framer.WriteSettingsAck()
	case *http2.PingFrame:
		if !frame.IsAck() {
			return false, c.framer.WritePing(true, frame.Data)
		}
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			c.connWindow += int64(frame.Increment)
		} else if frame.StreamID == c.stream {
			c.streamWindow += int64(frame.Increment)
		}
	case *http2.RSTStreamFrame:
		if frame.StreamID == c.stream {
			return false, fmt.Errorf("the call was reset: %v", frame.ErrCode)
		}
	case *http2.GoAwayFrame:
		return false, fmt.Errorf("the server ends the connection: %v", frame.ErrCode)
	}
	return false, nil
}
