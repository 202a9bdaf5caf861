package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"time"
)

const (
	watchSeconds = 600
	listTimeout  = 15 * time.Second
	// From the first failed request to the pause that stays.
	firstPause, longestPause = 100 * time.Millisecond, time.Second
)

// ports are the node ports of the cluster, each with its Service as NAMESPACE/NAME.
type ports map[int]string

type service struct {
	Metadata struct {
		Namespace, Name, UID, ResourceVersion string
	}
	Spec struct {
		Type              string
		LoadBalancerClass *string
		Ports             []struct {
			NodePort int
			Protocol string
		}
	}
	Status struct {
		LoadBalancer struct{ Ingress []ingress }
	}
}

func (s service) name() string { return s.Metadata.Namespace + "/" + s.Metadata.Name }

type api struct {
	server    string
	client    *http.Client
	balancers netip.Prefix
}

// newAPI returns the API server as the user of a kubeconfig in JSON, with the
// certificates in files. Services of type LoadBalancer get addresses of balancers.
func newAPI(path string, balancers netip.Prefix) (*api, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server    string
				Authority string `json:"certificate-authority"`
			}
		}
		Users []struct {
			User struct {
				Certificate string `json:"client-certificate"`
				Key         string `json:"client-key"`
			}
		}
	}
	if err := json.Unmarshal(content, &config); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(config.Clusters) == 0 || len(config.Users) == 0 {
		return nil, fmt.Errorf("%s names no cluster or no user", path)
	}
	cluster, user := config.Clusters[0].Cluster, config.Users[0].User
	authority, err := os.ReadFile(cluster.Authority)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	pair, err := tls.LoadX509KeyPair(user.Certificate, user.Key)
	if err != nil {
		return nil, err
	}
	// A server that goes without a word, with its whole network, is missed within seconds.
	dialer := &net.Dialer{
		Timeout: 2 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: 2 * time.Second, Interval: time.Second, Count: 3,
		},
	}
	transport := &http.Transport{
		// Never by way of a proxy of the environment: the server is on this machine.
		Proxy:                 nil,
		DialContext:           dialer.DialContext,
		TLSClientConfig:       &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}},
		TLSHandshakeTimeout:   5 * time.Second,
		ResponseHeaderTimeout: 10 * time.Second,
	}
	return &api{cluster.Server, &http.Client{Transport: transport}, balancers}, nil
}

// follow sends the ports whenever they change, for ever. While the API server is
// away nothing is known to be gone, so nothing is sent.
func (a *api) follow(changes chan<- ports) {
	pause, failure := firstPause, ""
	for {
		err := a.once(changes, func() {
			if failure != "" {
				say("the API server answers again")
			}
			pause, failure = firstPause, ""
		})
		if err == nil {
			continue
		}
		if failure != err.Error() {
			failure = err.Error()
			say("%s", failure)
		}
		time.Sleep(pause)
		pause = min(2*pause, longestPause)
	}
}

// once lists the Services and follows their changes until the server ends that.
func (a *api) once(changes chan<- ports, answered func()) error {
	services, version, err := a.list()
	if err != nil {
		return err
	}
	answered()
	sent := nodePorts(services)
	changes <- sent
	if err := a.balance(services); err != nil {
		return err
	}
	query := fmt.Sprintf("watch=true&timeoutSeconds=%d&resourceVersion=%s", watchSeconds, version)
	body, err := a.get(context.Background(), query)
	if err != nil {
		return err
	}
	defer body.Close()
	for decoder := json.NewDecoder(body); ; {
		var event struct {
			Type   string
			Object service
		}
		if err := decoder.Decode(&event); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("watch of the Services: %w", err)
		}
		switch event.Type {
		case "ADDED", "MODIFIED":
			services[event.Object.Metadata.UID] = event.Object
		case "DELETED":
			delete(services, event.Object.Metadata.UID)
		default: // An error: the version is too old to go on from.
			return fmt.Errorf("watch of the Services ended: %s", event.Type)
		}
		if now := nodePorts(services); !maps.Equal(now, sent) {
			sent = now
			changes <- sent
		}
		if err := a.balance(services); err != nil {
			return err
		}
	}
}

func (a *api) list() (map[string]service, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	body, err := a.get(ctx, "")
	if err != nil {
		return nil, "", err
	}
	defer body.Close()
	var listed struct {
		Metadata struct{ ResourceVersion string }
		Items    []service
	}
	if err := json.NewDecoder(body).Decode(&listed); err != nil {
		return nil, "", fmt.Errorf("list of the Services: %w", err)
	}
	services := make(map[string]service, len(listed.Items))
	for _, one := range listed.Items {
		services[one.Metadata.UID] = one
	}
	return services, listed.Metadata.ResourceVersion, nil
}

func (a *api) get(ctx context.Context, query string) (io.ReadCloser, error) {
	request, err := http.NewRequestWithContext(
		ctx, http.MethodGet, a.server+"/api/v1/services?"+query, nil)
	if err != nil {
		return nil, err
	}
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		said, _ := io.ReadAll(io.LimitReader(answer.Body, 300))
		return nil, fmt.Errorf("%s/api/v1/services: %s: %s", a.server, answer.Status, said)
	}
	return answer.Body, nil
}

func nodePorts(services map[string]service) ports {
	found := ports{}
	for _, one := range services {
		for _, port := range one.Spec.Ports {
			if port.NodePort != 0 && (port.Protocol == "" || port.Protocol == "TCP") {
				found[port.NodePort] = one.name()
			}
		}
	}
	return found
}
