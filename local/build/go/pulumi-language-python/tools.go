//go:build tools

// Package tools pins Pulumi's Python language host that is built beside it.
package tools

import _ "github.com/pulumi/pulumi/sdk/v3/python/cmd/pulumi-language-python"
