package main

import (
	"context"
	"fmt"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthgrpc "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// health is gRPC's health service: one status for all services of the server, as Python last told.
// Not grpc-go's own, since watches have to end when the server drains.
type health struct {
	healthgrpc.UnimplementedHealthServer
	services map[string]bool

	lock     sync.Mutex
	serving  bool
	draining bool
	// changed is closed at the next change, and replaced.
	changed chan struct{}
}

func newHealth(services []string) *health {
	known := map[string]bool{}
	for _, name := range services {
		known[name] = true
	}
	return &health{services: known, changed: make(chan struct{})}
}

func (h *health) set(serving bool) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.serving = serving && !h.draining
	h.tell()
}

// drain has watches end once they have told that nothing is served any longer.
func (h *health) drain() {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.serving, h.draining = false, true
	h.tell()
}

func (h *health) tell() {
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *health) Check(
	_ context.Context, request *healthgrpc.HealthCheckRequest,
) (*healthgrpc.HealthCheckResponse, error) {
	if !h.services[request.Service] {
		return nil, status.Error(codes.NotFound, fmt.Sprintf("No service is called '%s'.", request.Service))
	}
	h.lock.Lock()
	defer h.lock.Unlock()
	return &healthgrpc.HealthCheckResponse{Status: statusOf(h.serving)}, nil
}

func (h *health) Watch(
	request *healthgrpc.HealthCheckRequest, stream grpc.ServerStreamingServer[healthgrpc.HealthCheckResponse],
) error {
	told := healthgrpc.HealthCheckResponse_ServingStatus(-1)
	for {
		h.lock.Lock()
		now, draining, changed := statusOf(h.serving), h.draining, h.changed
		h.lock.Unlock()
		if !h.services[request.Service] {
			now = healthgrpc.HealthCheckResponse_SERVICE_UNKNOWN
		}
		if now != told {
			told = now
			if err := stream.Send(&healthgrpc.HealthCheckResponse{Status: now}); err != nil {
				return err
			}
		}
		if draining {
			return status.Error(codes.Unavailable, "The server is stopping.")
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		}
	}
}

func statusOf(serving bool) healthgrpc.HealthCheckResponse_ServingStatus {
	if serving {
		return healthgrpc.HealthCheckResponse_SERVING
	}
	return healthgrpc.HealthCheckResponse_NOT_SERVING
}
