package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// httpClient speaks HTTP/1.1 over one connection, in the goroutine that calls.
type httpClient struct {
	host    string
	request []byte
	conn    net.Conn
	reader  *bufio.Reader
	answer  bytes.Buffer
}

func newHTTPClient(target *url.URL, body []byte, headers []string) *httpClient {
	var request bytes.Buffer
	fmt.Fprintf(&request, "POST %s HTTP/1.1\r\nHost: %s\r\n", target.RequestURI(), target.Host)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ":")
		fmt.Fprintf(&request, "%s: %s\r\n", name, strings.TrimSpace(value))
	}
	fmt.Fprintf(&request, "Content-Length: %d\r\n\r\n", len(body))
	request.Write(body)
	return &httpClient{host: target.Host, request: request.Bytes()}
}

func (c *httpClient) call(ctx context.Context) ([]byte, error) {
	if c.conn == nil {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.host)
		if err != nil {
			return nil, err
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	answer, err := c.exchange(ctx)
	if err != nil {
		c.close()
	}
	return answer, err
}

func (c *httpClient) exchange(ctx context.Context) ([]byte, error) {
	deadline, _ := ctx.Deadline()
	c.conn.SetDeadline(deadline)
	if _, err := c.conn.Write(c.request); err != nil {
		return nil, err
	}
	response, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return nil, err
	}
	c.answer.Reset()
	if _, err = io.Copy(&c.answer, response.Body); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("HTTP %d: %.300s", response.StatusCode, c.answer.String())
	}
	if response.Close {
		c.close()
	}
	return c.answer.Bytes(), nil
}

func (c *httpClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
