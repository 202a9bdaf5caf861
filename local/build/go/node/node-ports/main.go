// Command node-ports gives this machine the node ports of all Services: it
// listens for each of them and hands every connection to the node, which has a
// network of its own. TCP only. And it gives addresses to Services of type
// LoadBalancer.
package main

import (
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"
)

// How often a port that another program has is tried again.
const retryTaken = time.Second

func main() {
	kubeconfig := flag.String("kubeconfig", "", "JSON file of the user who may watch Services")
	addresses := flag.String("addresses", "127.0.0.1", "where to listen: IP addresses, with commas")
	node := flag.String("node", "", "IP address of the node")
	balancers := flag.String("balancers", "", "range of the addresses of load balancers")
	state := flag.String("state", "", "file that says which ports are open, and which are not")
	flag.Parse()
	of, err := netip.ParsePrefix(*balancers)
	if err != nil {
		err = fmt.Errorf("-balancers: %w", err)
	}
	api, failure := newAPI(*kubeconfig, of)
	err = errors.Join(err, failure)
	if err == nil && net.ParseIP(*node) == nil {
		err = fmt.Errorf("-node %q is not an IP address", *node)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	changes := make(chan ports)
	go api.follow(changes)
	open := newListeners(strings.Split(*addresses, ","), *node, *state)
	again := time.NewTicker(retryTaken)
	for {
		select {
		case wanted := <-changes:
			open.set(wanted)
		case <-again.C:
			open.retry()
		}
	}
}

func say(format string, values ...any) {
	fmt.Printf("%s %s\n", time.Now().UTC().Format("2006-01-02T15:04:05Z"), fmt.Sprintf(format, values...))
}
