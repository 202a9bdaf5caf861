//go:build tools

// Package tools pins the Pulumi CLI that is built beside it.
package tools

import _ "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
