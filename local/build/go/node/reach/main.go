// Command reach tries what every pod needs of its node: it resolves a name by
// way of the pod's resolv.conf and connects to a Service. Success is silent.
//
//	reach [-seconds N] HOST:PORT
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"time"
)

// One try. A datagram to an endpoint that is gone gets no answer at all, and
// the resolver itself would wait for five seconds.
const (
	tryTimeout = 500 * time.Millisecond
	pause      = 50 * time.Millisecond
)

func main() {
	seconds := flag.Float64("seconds", 30, "how long to try")
	flag.Parse()
	host, port, err := net.SplitHostPort(flag.Arg(0))
	if flag.NArg() != 1 || err != nil {
		fmt.Fprintf(os.Stderr, "%q is not HOST:PORT\n", flag.Args())
		os.Exit(2)
	}
	until := time.Now().Add(time.Duration(*seconds * float64(time.Second)))
	for {
		failure := try(host, port)
		if failure == "" {
			return
		}
		if time.Now().After(until) {
			fmt.Println(failure)
			os.Exit(1)
		}
		time.Sleep(pause)
	}
}

// try returns what failed, behind the word that local/kubernetes/trial.py reads,
// or nothing.
func try(host, port string) string {
	ctx, cancel := context.WithTimeout(context.Background(), tryTimeout)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		return fmt.Sprintf("name: %v", err)
	}
	connection, err := net.DialTimeout("tcp", net.JoinHostPort(addresses[0], port), tryTimeout)
	if err != nil {
		return fmt.Sprintf("service: %v", err)
	}
	connection.Close()
	return ""
}
