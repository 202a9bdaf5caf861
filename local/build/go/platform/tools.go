//go:build tools

// Package tools pins the Pulumi CLI, which has a main package of its own.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
