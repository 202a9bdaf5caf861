package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	_ "google.golang.org/grpc/encoding/gzip" // Requests may be compressed.
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/tap"
)

const (
	// mostEarly is how long before its deadline a call ends, at most.
	mostEarly    = 5 * time.Millisecond
	healthPrefix = "/grpc.health.v1.Health/"
	// handshakeTimeout is how long a connection may take to begin.
	handshakeTimeout = 20 * time.Second
)

// grpcPort answers gRPC at a TCP port, a Unix socket or both.
type grpcPort struct {
	server    *grpc.Server
	listeners []net.Listener
	link      *link
	bodies    *budget
	receiving *receiving
	refusal   string
	tooMuch   string
	untaken   string
	calls     *calls
	token     *token
}

// newGRPCPort binds what is asked for.
func newGRPCPort(wanted *config, l *link, health *health, bodies *budget, limit limit, guard *token) (*grpcPort, error) {
	port := &grpcPort{
		link: l, bodies: bodies, refusal: wanted.GRPC.Refusal, tooMuch: wanted.TooMuchWaits,
		token: guard, receiving: newReceiving(wanted.MostWaitingBytes, limit.answers),
		untaken: wanted.TooMuchUntaken,
		calls:   &calls{most: wanted.GRPC.MostCalls, refusal: wanted.GRPC.TooManyCalls},
	}
	options, err := serverOptions(&wanted.GRPC)
	if err != nil {
		return nil, err
	}
	options = append(options, grpc.InTapHandle(port.admit), grpc.StreamInterceptor(port.calls.ofStream))
	port.server = grpc.NewServer(options...)
	for service, methods := range wanted.GRPC.Services {
		description := &grpc.ServiceDesc{ServiceName: service, HandlerType: (*any)(nil)}
		for _, method := range methods {
			description.Methods = append(description.Methods, grpc.MethodDesc{
				MethodName: method, Handler: port.handler("/" + service + "/" + method),
			})
		}
		port.server.RegisterService(description, struct{}{})
	}
	healthgrpc.RegisterHealthServer(port.server, health)
	registerReflection(port.server, wanted.GRPC.Files)
	var addresses [][2]string
	if wanted.GRPC.Port != 0 {
		addresses = append(addresses, [2]string{"tcp4", fmt.Sprintf("0.0.0.0:%d", wanted.GRPC.Port)})
	}
	if wanted.GRPC.SocketPath != "" {
		removeOldSocket(wanted.GRPC.SocketPath)
		addresses = append(addresses, [2]string{"unix", wanted.GRPC.SocketPath})
	}
	for _, address := range addresses {
		listener, err := net.Listen(address[0], address[1])
		if err != nil {
			return nil, fmt.Errorf("Couldn't start gRPC server on %s: %s", address[1], reason(err))
		}
		port.listeners = append(port.listeners, limit.of(listener))
	}
	return port, nil
}

func (p *grpcPort) serve() {
	for _, listener := range p.listeners {
		go func() {
			if err := p.server.Serve(listener); err != nil {
				complain("gRPC: %v", err)
			}
		}()
	}
}

// drain ends once every call has ended, at the latest after `grace`.
func (p *grpcPort) drain(grace time.Duration) {
	timer := time.AfterFunc(grace, p.server.Stop)
	p.server.GracefulStop()
	timer.Stop()
}

// admit refuses calls by their headers, before anything of their message is kept.
func (p *grpcPort) admit(ctx context.Context, info *tap.Info) (context.Context, error) {
	if strings.HasPrefix(info.FullMethodName, healthPrefix) {
		return ctx, nil
	}
	if !p.token.isIn(first(info.Header, "authorization"), first(info.Header, "x-auth-token")) {
		return nil, status.Error(codes.Unauthenticated, p.refusal)
	}
	return p.receiving.cancellable(ctx), nil
}

// handler returns what has Python answer a method.
func (p *grpcPort) handler(method string) grpc.MethodHandler {
	return func(
		_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor,
	) (any, error) {
		if err := p.calls.begin(); err != nil {
			return nil, err
		}
		defer p.calls.end()
		var message mem.BufferSlice
		received := p.receiving.begin(ctx)
		err := decode(&message)
		received()
		if errors.Is(context.Cause(ctx), errTooMuch) {
			message.Free()
			return nil, status.Error(codes.ResourceExhausted, p.tooMuch)
		}
		if err != nil {
			return nil, err
		}
		size := message.Len()
		if !p.bodies.takeOrAlone(int64(size)) {
			message.Free()
			return nil, status.Error(codes.ResourceExhausted, p.tooMuch)
		}
		parts := make([][]byte, 0, 4)
		for _, buffer := range message {
			parts = append(parts, buffer.ReadOnlyData())
		}
		asking, answered := inTime(ctx)
		defer answered()
		got, err := p.link.ask(asking, kindGRPC, method, parts, size, func() {
			message.Free()
			p.bodies.giveBack(int64(size))
		})
		switch {
		case errors.Is(err, errLost):
			return nil, status.Error(codes.Unavailable, err.Error())
		case err != nil:
			return nil, status.FromContextError(err).Err()
		case got.status != 0:
			return nil, status.Error(codes.Code(got.status), string(got.content))
		}
		return p.counted(ctx, got.content)
	}
}

// inTime ends a moment before a call's deadline, so that it is said to be exceeded. At the deadline
// itself grpc-go resets the stream, and a client whose clock is a little behind takes that for
// CANCELLED (internal/transport/http2_server.go, operateHeaders).
func inTime(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, is := ctx.Deadline()
	if !is {
		return ctx, func() {}
	}
	return context.WithDeadline(ctx, deadline.Add(-min(time.Until(deadline)/10, mostEarly)))
}

// counted returns an answer that counts until its client has taken it.
func (p *grpcPort) counted(ctx context.Context, content []byte) (any, error) {
	found := &answer{content, connOfCall(ctx)}
	if !found.isCounted() {
		return content, nil
	}
	if !found.conn.carry(int64(len(content))) {
		return nil, status.Error(codes.ResourceExhausted, p.untaken)
	}
	// As the official server answers, however it was asked; what was compressed would not count.
	grpc.SetSendCompressor(ctx, encoding.Identity)
	return found, nil
}

func serverOptions(wanted *grpcConfig) ([]grpc.ServerOption, error) {
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.ConnectionTimeout(handshakeTimeout),
		grpc.SharedWriteBuffer(true),
		grpc.MaxRecvMsgSize(limitOr(wanted.MostMessageBytes, math.MaxInt32)),
		grpc.MaxSendMsgSize(limitOr(wanted.MostSentBytes, math.MaxInt32)),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			Time:                  milliseconds(wanted.KeepaliveTime),
			Timeout:               milliseconds(wanted.KeepaliveTimeout),
			MaxConnectionAge:      milliseconds(wanted.MaxConnectionAge),
			MaxConnectionAgeGrace: milliseconds(wanted.MaxConnectionAgeGrace),
			MaxConnectionIdle:     milliseconds(wanted.MaxConnectionIdle),
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{
			MinTime: milliseconds(wanted.MinimalPing), PermitWithoutStream: wanted.PingsWithoutCalls,
		}),
		grpc.UnknownServiceHandler(func(any, grpc.ServerStream) error {
			return status.Error(codes.Unimplemented, "Method not found!")
		}),
	}
	if wanted.MostHeaderBytes > 0 {
		options = append(options, grpc.MaxHeaderListSize(wanted.MostHeaderBytes))
	}
	if wanted.MostStreams > 0 {
		options = append(options, grpc.MaxConcurrentStreams(wanted.MostStreams))
	}
	secured := trackedPlain()
	if wanted.TLS != nil {
		found, err := transportCredentials(wanted.TLS)
		if err != nil {
			return nil, err
		}
		secured = tracked{found}
	}
	options = append(options, grpc.Creds(secured))
	return options, nil
}

func first(header metadata.MD, name string) string {
	if values := header[name]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// limitOr returns a number of bytes; below 0 it means "no limit" in gRPC's arguments.
func limitOr(bytes, otherwise int) int {
	if bytes < 0 {
		return otherwise
	}
	return bytes
}

func milliseconds(number int64) time.Duration { return time.Duration(number) * time.Millisecond }

// removeOldSocket removes what a server that was killed has left.
func removeOldSocket(path string) {
	if found, err := os.Lstat(path); err == nil && found.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
}
