//go:build tools

// Package tools pins the Kubernetes plugin that is built beside it.
package tools

import _ "github.com/pulumi/pulumi-kubernetes/provider/v2/cmd/pulumi-resource-kubernetes"
