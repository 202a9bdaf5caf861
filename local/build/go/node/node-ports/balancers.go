package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"slices"
	"time"
)

const patchTimeout = 10 * time.Second

// ingress is what a Service's status says of its load balancer.
type ingress struct {
	IP string `json:"ip"`
}

// balance gives an address of the range to each Service of type LoadBalancer
// that has none. The nodes' kube-proxy does the rest: it knows the address by
// the Service's status, and this machine has a route to a node for the range.
func (a *api) balance(services map[string]service) error {
	for uid, address := range assigned(services, a.balancers) {
		one := services[uid]
		if err := a.give(one, address); err != nil {
			return err
		}
		one.Status.LoadBalancer.Ingress = []ingress{{address.String()}}
		services[uid] = one
		say("%s is the load balancer of %s", address, one.name())
	}
	return nil
}

// assigned says which Services are to get an address, by their UID: the lowest
// that is free. Those with a class of balancers are for another program.
func assigned(services map[string]service, all netip.Prefix) map[string]netip.Addr {
	taken, wanting := map[string]bool{}, []string{}
	for uid, one := range services {
		if one.Spec.Type != "LoadBalancer" || one.Spec.LoadBalancerClass != nil {
			continue
		}
		if len(one.Status.LoadBalancer.Ingress) == 0 {
			wanting = append(wanting, uid)
		}
		for _, has := range one.Status.LoadBalancer.Ingress {
			taken[has.IP] = true
		}
	}
	slices.Sort(wanting)
	given, next := map[string]netip.Addr{}, all.Addr().Next()
	for _, uid := range wanting {
		for taken[next.String()] {
			next = next.Next()
		}
		if all.Contains(next) {
			given[uid] = next
			next = next.Next()
		}
	}
	return given
}

func (a *api) give(one service, address netip.Addr) error {
	ctx, cancel := context.WithTimeout(context.Background(), patchTimeout)
	defer cancel()
	content, err := json.Marshal(map[string]any{
		"status": map[string]any{
			"loadBalancer": map[string]any{"ingress": []ingress{{address.String()}}},
		},
	})
	if err != nil {
		return err
	}
	url := fmt.Sprintf("%s/api/v1/namespaces/%s/services/%s/status",
		a.server, one.Metadata.Namespace, one.Metadata.Name)
	request, err := http.NewRequestWithContext(ctx, http.MethodPatch, url, bytes.NewReader(content))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/merge-patch+json")
	answer, err := a.client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
	switch answer.StatusCode {
	case http.StatusOK, http.StatusNotFound: // Gone meanwhile: the watch tells of it.
		return nil
	}
	return fmt.Errorf("%s: %s: %s", url, answer.Status, said)
}
