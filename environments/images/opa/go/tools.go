//go:build tools

// Package opa pins the Open Policy Agent, which the image builder builds: go.sum verifies what is downloaded.
package opa

import _ "github.com/open-policy-agent/opa"
