// An OpenID provider: the server of Dex, people from an LDAP directory, all state in memory.
//
//	dex-server CONFIG.json
//
// Dex's own command is not used: it serves a gRPC API whose generated code its module proxy copy lacks.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	gosundheit "github.com/AppsFlyer/go-sundheit"
	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/authflow"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/server/tokens"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/prometheus/client_golang/prometheus"
)

// Config is what the file holds. LDAP is the configuration of Dex's LDAP connector, as its documentation gives it.
type Config struct {
	Listen       string          `json:"listen"`
	Issuer       string          `json:"issuer"`
	ClientID     string          `json:"client_id"`
	ClientSecret string          `json:"client_secret"`
	RedirectURIs []string        `json:"redirect_uris"`
	LDAP         json.RawMessage `json:"ldap"`
}

func main() {
	if err := serve(); err != nil {
		fmt.Fprintln(os.Stderr, "dex-server:", err)
		os.Exit(1)
	}
}

func read() (config Config, err error) {
	if len(os.Args) != 2 {
		return config, fmt.Errorf("usage: dex-server CONFIG.json")
	}
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		return config, err
	}
	return config, json.Unmarshal(raw, &config)
}

// unlocked lets a refresh look into the directory without holding the lock of the whole memory storage: what that look
// does with the storage when the directory says no would wait for the lock for ever.
type unlocked struct{ storage.Storage }

func (u unlocked) UpdateRefreshToken(
	ctx context.Context, id string, update func(storage.RefreshToken) (storage.RefreshToken, error),
) error {
	before, err := u.GetRefresh(ctx, id)
	if err != nil {
		return err
	}
	after, err := update(before)
	if err != nil {
		return err
	}
	return u.Storage.UpdateRefreshToken(ctx, id, func(now storage.RefreshToken) (storage.RefreshToken, error) {
		if now.Token != before.Token || now.ObsoleteToken != before.ObsoleteToken {
			return now, errors.New("refresh token claimed twice")
		}
		return after, nil
	})
}

func provider(ctx context.Context, config Config, logger *slog.Logger) (http.Handler, error) {
	var kept storage.Storage = unlocked{memory.New(logger)}
	kept = storage.WithStaticClients(kept, []storage.Client{{
		ID: config.ClientID, Secret: config.ClientSecret, RedirectURIs: config.RedirectURIs, Name: "CompanyOS",
	}})
	kept = storage.WithStaticConnectors(kept, []storage.Connector{{
		ID: "ldap", Type: "ldap", Name: "Directory", Config: config.LDAP,
	}})
	const tokenLife = 10 * time.Minute
	keys, err := (&signer.LocalConfig{KeysRotationPeriod: "6h"}).Open(ctx, kept, tokenLife, time.Now, logger)
	if err != nil {
		return nil, err
	}
	// Tokens are not rotated: the client keeps a secret (RFC 9700, 4.14.2), and an answer that is lost would end the
	// session. Nor are they reused for a while, which would answer without a look into the directory.
	policy, err := tokens.NewRefreshTokenPolicy(logger, true, "", "", "")
	if err != nil {
		return nil, err
	}
	return server.NewServer(ctx, server.Config{
		Issuer:             config.Issuer,
		Storage:            kept,
		SkipApprovalScreen: true,
		IDTokensValidFor:   tokenLife,
		RefreshTokenPolicy: policy,
		PKCE:               authflow.PKCEConfig{Enforce: true, CodeChallengeMethodsSupported: []string{"S256"}},
		Logger:             logger,
		Signer:             keys,
		PrometheusRegistry: prometheus.NewRegistry(),
		HealthChecker:      gosundheit.New(),
	})
}

func serve() error {
	config, err := read()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	handler, err := provider(ctx, config, logger)
	if err != nil {
		return err
	}
	listener := &http.Server{Addr: config.Listen, Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = listener.Close()
	}()
	if err := listener.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}
