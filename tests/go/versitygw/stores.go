//go:build tools

// Package stores pins the object stores that tests are run against.
package stores

import _ "github.com/versity/versitygw/cmd/versitygw"
