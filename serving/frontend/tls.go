package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"golang.org/x/net/http2"
)

// tlsSettings returns what --ssl_config_file asks for.
func tlsSettings(pem *tlsPEM) (*tls.Config, error) {
	pair, err := tls.X509KeyPair([]byte(pem.Certificate), []byte(pem.Key))
	if err != nil {
		return nil, fmt.Errorf("the certificate or key of --ssl_config_file can't be used: %w", err)
	}
	settings := &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12,
		NextProtos: []string{http2.NextProtoTLS},
	}
	if pem.Verify {
		settings.ClientAuth = tls.RequireAndVerifyClientCert
		settings.ClientCAs = x509.NewCertPool()
		if !settings.ClientCAs.AppendCertsFromPEM([]byte(pem.ClientCA)) {
			return nil, errors.New("custom_ca of --ssl_config_file has no certificate")
		}
	}
	return settings, nil
}
