// Command dex runs Dex, the OpenID Connect provider, from its own configuration file: `dex serve FILE`.
//
// It is Dex's server with Dex's storage, signer and connectors. Left out of Dex's own command is its gRPC interface for
// administration: its module (dex/api/v2) is not published for this revision, so the command can't be built from modules.
// Of the configuration file, the part below is understood, and any other key is refused.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	gosundheit "github.com/AppsFlyer/go-sundheit"
	"github.com/dexidp/dex/server"
	"github.com/dexidp/dex/server/authflow"
	"github.com/dexidp/dex/server/connectors"
	"github.com/dexidp/dex/server/signer"
	"github.com/dexidp/dex/server/tokens"
	"github.com/dexidp/dex/storage"
	"github.com/dexidp/dex/storage/memory"
	"github.com/dexidp/dex/web"
	"github.com/ghodss/yaml"
)

type config struct {
	Issuer  string `json:"issuer"`
	Storage struct {
		Type string `json:"type"` // memory
	} `json:"storage"`
	Web struct {
		HTTP string `json:"http"`
	} `json:"web"`
	Logger struct {
		Level string `json:"level"`
	} `json:"logger"`
	Expiry struct {
		IDTokens    string `json:"idTokens"`
		SigningKeys string `json:"signingKeys"`
	} `json:"expiry"`
	OAuth2 struct {
		GrantTypes         []string `json:"grantTypes"`
		ResponseTypes      []string `json:"responseTypes"`
		SkipApprovalScreen bool     `json:"skipApprovalScreen"`
		PasswordConnector  string   `json:"passwordConnector"`
		PKCE               struct {
			Enforce bool `json:"enforce"`
		} `json:"pkce"`
	} `json:"oauth2"`
	StaticClients    []storage.Client `json:"staticClients"`
	EnablePasswordDB bool             `json:"enablePasswordDB"`
	StaticPasswords  []password       `json:"staticPasswords"`
	Connectors       []connector      `json:"connectors"`
}

type password struct {
	Email             string   `json:"email"`
	Username          string   `json:"username"`
	Name              string   `json:"name"`
	PreferredUsername string   `json:"preferredUsername"`
	EmailVerified     *bool    `json:"emailVerified"`
	UserID            string   `json:"userID"`
	Hash              string   `json:"hash"` // bcrypt
	Groups            []string `json:"groups"`
}

type connector struct {
	Type   string          `json:"type"`
	Name   string          `json:"name"`
	ID     string          `json:"id"`
	Config json.RawMessage `json:"config"`
}

var grantTypes = []string{"authorization_code", "password", "refresh_token", "client_credentials"}

func main() {
	if len(os.Args) != 3 || os.Args[1] != "serve" {
		fail(errors.New("usage: dex serve FILE"))
	}
	given, err := read(os.Args[2])
	if err != nil {
		fail(fmt.Errorf("%s: %w", os.Args[2], err))
	}
	if err := serve(given); err != nil {
		fail(err)
	}
}

func read(path string) (config, error) {
	var given config
	text, err := os.ReadFile(path)
	if err != nil {
		return given, err
	}
	document, err := yaml.YAMLToJSON(text)
	if err != nil {
		return given, err
	}
	decoder := json.NewDecoder(bytes.NewReader(document))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&given); err != nil {
		return given, err
	}
	if given.Issuer == "" || given.Web.HTTP == "" {
		return given, errors.New("issuer and web.http are required")
	}
	if given.Storage.Type != "memory" {
		return given, fmt.Errorf("storage.type is %q; this image keeps its state in memory", given.Storage.Type)
	}
	return given, nil
}

func serve(given config) error {
	level := slog.LevelInfo
	if err := level.UnmarshalText([]byte(or(given.Logger.Level, "info"))); err != nil {
		return fmt.Errorf("logger.level: %w", err)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	handler, err := provider(ctx, given, logger)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", given.Web.HTTP)
	if err != nil {
		return err
	}
	logger.Info("listening", "address", given.Web.HTTP, "issuer", given.Issuer)
	httpServer := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		ending, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = httpServer.Shutdown(ending)
	}()
	if err := httpServer.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

func provider(ctx context.Context, given config, logger *slog.Logger) (http.Handler, error) {
	now := func() time.Time { return time.Now().UTC() }
	validFor, err := time.ParseDuration(or(given.Expiry.IDTokens, "24h"))
	if err != nil {
		return nil, fmt.Errorf("expiry.idTokens: %w", err)
	}
	store, err := filled(given, logger)
	if err != nil {
		return nil, err
	}
	keys := signer.LocalConfig{KeysRotationPeriod: or(given.Expiry.SigningKeys, "6h")}
	signs, err := keys.Open(ctx, store, validFor, now, logger)
	if err != nil {
		return nil, err
	}
	refreshing, err := tokens.NewRefreshTokenPolicy(logger, false, "", "", "")
	if err != nil {
		return nil, err
	}
	grants := given.OAuth2.GrantTypes
	if len(grants) == 0 {
		grants = grantTypes
	}
	return server.NewServer(ctx, server.Config{
		Issuer:                 given.Issuer,
		Storage:                store,
		AllowedGrantTypes:      grants,
		SupportedResponseTypes: given.OAuth2.ResponseTypes,
		SkipApprovalScreen:     given.OAuth2.SkipApprovalScreen,
		PasswordConnector:      given.OAuth2.PasswordConnector,
		PKCE: authflow.PKCEConfig{
			Enforce:                       given.OAuth2.PKCE.Enforce,
			CodeChallengeMethodsSupported: []string{"S256"},
		},
		IDTokensValidFor:   validFor,
		RefreshTokenPolicy: refreshing,
		Now:                now,
		Web:                server.WebConfig{WebFS: web.FS()},
		Logger:             logger,
		HealthChecker:      gosundheit.New(),
		Signer:             signs,
	})
}

// filled is the storage with what the file says: clients, users, connectors.
func filled(given config, logger *slog.Logger) (storage.Storage, error) {
	store := storage.WithStaticClients(memory.New(logger), given.StaticClients)
	users := make([]storage.Password, len(given.StaticPasswords))
	for i, each := range given.StaticPasswords {
		users[i] = storage.Password{
			Email: each.Email, Username: each.Username, Name: each.Name, PreferredUsername: each.PreferredUsername,
			EmailVerified: each.EmailVerified, UserID: each.UserID, Hash: []byte(each.Hash), Groups: each.Groups,
		}
	}
	store = storage.WithStaticPasswords(store, users, logger)
	var sources []storage.Connector
	for _, each := range given.Connectors {
		if _, known := server.ConnectorsConfig[each.Type]; !known {
			return nil, fmt.Errorf("connector %s: there is no type %q", each.ID, each.Type)
		}
		sources = append(sources, storage.Connector{ID: each.ID, Type: each.Type, Name: each.Name, Config: each.Config})
	}
	if given.EnablePasswordDB {
		local := connectors.LocalConnector
		sources = append(sources, storage.Connector{ID: local, Name: "Email", Type: local})
	}
	return storage.WithStaticConnectors(store, sources), nil
}

func or(given, otherwise string) string {
	if given == "" {
		return otherwise
	}
	return given
}

func fail(why error) {
	fmt.Fprintln(os.Stderr, "dex:", why)
	os.Exit(1)
}
