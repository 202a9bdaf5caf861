package main

import (
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// place is where a node port is, or should be, open on this machine.
type place struct {
	address string
	port    int
}

type listeners struct {
	addresses []string
	node      string
	state     string
	wanted    ports
	open      map[place]net.Listener
	problems  map[place]string
}

func newListeners(addresses []string, node, state string) *listeners {
	return &listeners{
		addresses: addresses, node: node, state: state,
		open: map[place]net.Listener{}, problems: map[place]string{},
	}
}

// set opens what is wanted and closes what is not any more. Connections that
// are open stay.
func (l *listeners) set(wanted ports) {
	l.wanted = wanted
	for at, listener := range l.open {
		if _, is := wanted[at.port]; !is {
			listener.Close()
			delete(l.open, at)
			say("closed %s", at)
		}
	}
	for at := range l.problems {
		if _, is := wanted[at.port]; !is {
			delete(l.problems, at)
		}
	}
	for port := range wanted {
		for _, address := range l.addresses {
			l.listen(place{address, port})
		}
	}
	l.write()
}

// retry opens what another program had.
func (l *listeners) retry() {
	before := len(l.problems)
	for at := range l.problems {
		l.listen(at)
	}
	if len(l.problems) != before {
		l.write()
	}
}

func (l *listeners) listen(at place) {
	if _, is := l.open[at]; is {
		return
	}
	listener, err := net.Listen(at.network(), at.String())
	if err != nil {
		problem := err.Error()
		if errors.Is(err, syscall.EADDRINUSE) {
			problem = "another program of this machine has it"
		}
		if l.problems[at] != problem {
			say("can't open %s for %s: %s", at, l.wanted[at.port], problem)
		}
		l.problems[at] = problem
		return
	}
	delete(l.problems, at)
	l.open[at] = listener
	say("opened %s for %s", at, l.wanted[at.port])
	go accept(listener, net.JoinHostPort(l.node, strconv.Itoa(at.port)))
}

// write tells local/kubernetes/node_ports.py how it is.
func (l *listeners) write() {
	type entry struct {
		Address string `json:"address"`
		Port    int    `json:"port"`
		Service string `json:"service"`
		Problem string `json:"problem"`
	}
	entries := []entry{}
	for at := range l.open {
		entries = append(entries, entry{at.address, at.port, l.wanted[at.port], ""})
	}
	for at, problem := range l.problems {
		entries = append(entries, entry{at.address, at.port, l.wanted[at.port], problem})
	}
	slices.SortFunc(entries, func(a, b entry) int { return a.Port - b.Port })
	content, err := json.Marshal(entries)
	if err == nil {
		err = os.WriteFile(l.state+".new", content, 0o644)
	}
	if err == nil {
		err = os.Rename(l.state+".new", l.state)
	}
	if err != nil {
		say("%v", err)
	}
}

func (p place) String() string {
	return net.JoinHostPort(p.address, strconv.Itoa(p.port))
}

// network keeps 0.0.0.0 from meaning all addresses of IPv6 as well.
func (p place) network() string {
	if net.ParseIP(p.address).To4() != nil {
		return "tcp4"
	}
	return "tcp6"
}

// accept hands every connection on until the listener is closed.
func accept(listener net.Listener, target string) {
	for {
		connection, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // Too many open files: some will be closed.
			say("%v", err)
			time.Sleep(50 * time.Millisecond)
			continue
		}
		go forward(connection.(*net.TCPConn), target)
	}
}
