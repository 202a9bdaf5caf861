package main

import "encoding/json"

// config is what Python asks for: the body of its first frame, in JSON. Numbers of 0 stand for "no
// limit" where nothing else is said.
type config struct {
	GRPC grpcConfig `json:"grpc"`
	REST restConfig `json:"rest"`
	// TokenDigest is the SHA-256 of the token in hexadecimal digits; empty: none is asked for.
	TokenDigest string   `json:"token_digest"`
	Health      []string `json:"health_services"`
	// MostWaitingBytes is the most that bodies may take here before Python has them.
	MostWaitingBytes int64  `json:"most_waiting_bytes"`
	TooMuchWaits     string `json:"too_much_waits"`
	// MostUntakenBytes is the most that answers may take here until their clients have them.
	MostUntakenBytes int64  `json:"most_untaken_bytes"`
	TooMuchUntaken   string `json:"too_much_untaken"`
	MostConnections  int    `json:"most_connections"`
	MostRequestBytes int64  `json:"most_request_bytes"`
}

type grpcConfig struct {
	Port       int    `json:"port"`
	SocketPath string `json:"socket_path"`
	// Services are the methods, by service, that Python answers.
	Services map[string][]string `json:"services"`
	// Files is a serialised FileDescriptorSet, for reflection.
	Files            []byte  `json:"files"`
	TLS              *tlsPEM `json:"tls"`
	Refusal          string  `json:"refusal"`
	MostMessageBytes int     `json:"most_message_bytes"`
	MostSentBytes    int     `json:"most_sent_bytes"`
	MostHeaderBytes  uint32  `json:"most_header_bytes"`
	MostStreams      uint32  `json:"most_streams"`
	// MostCalls are those of all connections together, streams included.
	MostCalls    int64  `json:"most_calls"`
	TooManyCalls string `json:"too_many_calls"`
	// In milliseconds.
	KeepaliveTime         int64 `json:"keepalive_time_ms"`
	KeepaliveTimeout      int64 `json:"keepalive_timeout_ms"`
	MinimalPing           int64 `json:"minimal_ping_ms"`
	PingsWithoutCalls     bool  `json:"pings_without_calls"`
	MaxConnectionAge      int64 `json:"max_connection_age_ms"`
	MaxConnectionAgeGrace int64 `json:"max_connection_age_grace_ms"`
	MaxConnectionIdle     int64 `json:"max_connection_idle_ms"`
}

type tlsPEM struct {
	Key         string `json:"key"`
	Certificate string `json:"certificate"`
	ClientCA    string `json:"client_ca"`
	Verify      bool   `json:"verify_clients"`
}

type restConfig struct {
	Port            int    `json:"port"`
	Host            string `json:"host"`
	MostHeaderBytes int    `json:"most_header_bytes"`
	// PassedHeaders are those that Python is told, in lower case.
	PassedHeaders []string `json:"passed_headers"`
	// Headers are part of every answer.
	Headers        [][2]string `json:"headers"`
	Refusal        string      `json:"refusal"`
	TooLarge       string      `json:"too_large"`
	TooMuchWaits   string      `json:"too_much_waits"`
	TooMuchUntaken string      `json:"too_much_untaken"`
	Unavailable    string      `json:"unavailable"`
	TooLate        string      `json:"too_late"`
	Gone           string      `json:"gone"`
	// In milliseconds.
	Timeout       int64 `json:"timeout_ms"`
	KeepAlive     int64 `json:"keep_alive_ms"`
	HeaderTimeout int64 `json:"header_timeout_ms"`
	BodyTimeout   int64 `json:"body_timeout_ms"`
	// MaxConnectionAge is that of kept connections.
	MaxConnectionAge int64 `json:"max_connection_age_ms"`
}

func parseConfig(content []byte) (*config, error) {
	wanted := &config{}
	return wanted, json.Unmarshal(content, wanted)
}
