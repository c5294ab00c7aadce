//go:build tools

// Package toxiproxy pins the real Toxiproxy server, which ../real.py builds: go.sum verifies what is downloaded.
package toxiproxy

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
