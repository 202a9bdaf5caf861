package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"google.golang.org/grpc/credentials"
)

// transportCredentials returns what --ssl_config_file asks for.
func transportCredentials(pem *tlsPEM) (credentials.TransportCredentials, error) {
	pair, err := tls.X509KeyPair([]byte(pem.Certificate), []byte(pem.Key))
	if err != nil {
		return nil, fmt.Errorf("the certificate or key of --ssl_config_file can't be used: %w", err)
	}
	settings := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	if pem.Verify {
		settings.ClientAuth = tls.RequireAndVerifyClientCert
		settings.ClientCAs = x509.NewCertPool()
		if !settings.ClientCAs.AppendCertsFromPEM([]byte(pem.ClientCA)) {
			return nil, errors.New("custom_ca of --ssl_config_file has no certificate")
		}
	}
	return credentials.NewTLS(settings), nil
}
