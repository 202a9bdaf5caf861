package main

import (
	"io"
	"net"
	"time"
)

const dialTimeout = 10 * time.Second

// forward carries a connection to the node and back until both sides have
// ended. What ends one side ends the other in the same way: an end of data as
// such, a reset as a reset.
func forward(client *net.TCPConn, target string) {
	dialed, err := net.DialTimeout("tcp", target, dialTimeout)
	if err != nil {
		// As if nobody had listened: no Service without a pod accepts connections.
		reset(client)
		return
	}
	server := dialed.(*net.TCPConn)
	ended := make(chan error, 2)
	go carry(server, client, ended)
	go carry(client, server, ended)
	for range 2 {
		if err := <-ended; err != nil {
			reset(client)
			reset(server)
		}
	}
	client.Close()
	server.Close()
}

// carry copies one direction within the kernel (splice) and closes it behind
// the last byte. The other direction goes on.
func carry(to, from *net.TCPConn, ended chan<- error) {
	_, err := io.Copy(to, from)
	if err == nil {
		to.CloseWrite()
	}
	ended <- err
}

func reset(connection *net.TCPConn) {
	connection.SetLinger(0)
	connection.Close()
}
