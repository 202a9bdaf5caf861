// Command load_generator calls one URL from many clients at once, each of which waits for its answer
// before it asks again (a closed loop), and prints what came of it as one JSON object.
//
//	load_generator -url http://127.0.0.1:8501/v1/models/m:predict -body request.json -clients 8 -seconds 5
//	load_generator -url grpc://127.0.0.1:8500/tensorflow.serving.PredictionService/Predict -body request.bin
//
// Requests are the bytes of a file, sent as they are; answers are counted but not decoded. Every
// client is one goroutine with a connection of its own, which it keeps: what the machine spends on
// asking, servers lack.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net/url"
	"os"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

// client sends the request once and returns the answer's bytes.
type client interface {
	call(ctx context.Context) ([]byte, error)
	close()
}

func newClient(target *url.URL, body []byte, headers []string) client {
	if target.Scheme == "grpc" {
		return newGRPCClient(target, body, headers)
	}
	return newHTTPClient(target, body, headers)
}

type headerList []string

func (l *headerList) String() string { return strings.Join(*l, ", ") }
func (l *headerList) Set(value string) error {
	*l = append(*l, value)
	return nil
}

type report struct {
	Requests     int     `json:"requests"`
	Errors       int     `json:"errors"`
	FirstError   string  `json:"first_error"`
	Answer       []byte  `json:"answer"`
	Seconds      float64 `json:"seconds"`
	PerSecond    float64 `json:"per_second"`
	P50Millis    float64 `json:"p50_ms"`
	P99Millis    float64 `json:"p99_ms"`
	CPUPerSecond float64 `json:"cpu_per_second"`
}

func main() {
	address := flag.String("url", "", "http://host:port/path or grpc://host:port/service/method")
	file := flag.String("body", "", "file with the request")
	clients := flag.Int("clients", 1, "how many ask at the same time")
	seconds := flag.Float64("seconds", 5, "how long is measured")
	warmUp := flag.Float64("warm-up", 1, "seconds before that which do not count")
	await := flag.Float64("await", 0, "seconds to wait for a first answer before all that")
	var headers headerList
	flag.Var(&headers, "header", "`name: value`, sent with each request; may be repeated")
	flag.Parse()
	result, err := run(*address, *file, *clients, *seconds, *warmUp, *await, headers)
	if err != nil {
		fmt.Fprintln(os.Stderr, "load_generator:", err)
		os.Exit(1)
	}
	json.NewEncoder(os.Stdout).Encode(result)
}

func run(
	address, file string, clients int, seconds, warmUp, await float64, headers []string,
) (*report, error) {
	target, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	if target.Scheme != "grpc" && target.Scheme != "http" {
		return nil, errors.New("-url must begin with grpc:// or http://")
	}
	body, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if await > 0 {
		if err := awaitAnswer(target, body, headers, await); err != nil {
			return nil, err
		}
	}
	start := time.Now().Add(time.Duration(warmUp * float64(time.Second)))
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	var lock sync.Mutex
	var wait sync.WaitGroup
	var millis []float64
	result := &report{}
	var cpuAtStart float64
	time.AfterFunc(time.Until(start), func() { cpuAtStart = cpuSeconds() })
	for range clients {
		wait.Add(1)
		go func() {
			defer wait.Done()
			own, answer, failed, first := loop(target, body, headers, start, end)
			lock.Lock()
			defer lock.Unlock()
			millis = append(millis, own...)
			result.Errors += failed
			if first != "" {
				result.FirstError = first
			}
			if answer != nil {
				result.Answer = answer
			}
		}()
	}
	wait.Wait()
	elapsed := time.Since(start).Seconds()
	result.Requests = len(millis)
	result.Seconds = elapsed
	result.PerSecond = float64(len(millis)) / elapsed
	result.CPUPerSecond = (cpuSeconds() - cpuAtStart) / elapsed
	sort.Float64s(millis)
	if len(millis) > 0 {
		result.P50Millis = millis[len(millis)/2]
		result.P99Millis = millis[len(millis)*99/100]
	}
	return result, nil
}

// loop is one client: it asks until the end and returns the milliseconds of each request that began
// and ended well in between, the last answer, and how many failed.
func loop(
	target *url.URL, body []byte, headers []string, start, end time.Time,
) (millis []float64, answer []byte, failed int, first string) {
	caller := newClient(target, body, headers)
	defer caller.close()
	for {
		began := time.Now()
		if !began.Before(end) {
			break
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		got, err := caller.call(ctx)
		cancel()
		took := time.Since(began)
		if err != nil {
			failed++
			if first == "" {
				first = err.Error()
			}
			// A server that refuses at once must not be asked as fast as this machine can.
			time.Sleep(10 * time.Millisecond)
			continue
		}
		answer = got
		if began.After(start) {
			millis = append(millis, took.Seconds()*1000)
		}
	}
	return millis, bytes.Clone(answer), failed, first
}

// awaitAnswer asks until there is an answer, by a new connection each time.
func awaitAnswer(target *url.URL, body []byte, headers []string, seconds float64) error {
	deadline := time.Now().Add(time.Duration(seconds * float64(time.Second)))
	for {
		caller := newClient(target, body, headers)
		ctx, cancel := context.WithDeadline(context.Background(), deadline)
		_, err := caller.call(ctx)
		cancel()
		caller.close()
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func cpuSeconds() float64 {
	var usage syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()).Seconds()
}
