// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	kjson "sigs.k8s.io/json"

	"github.com/signet-kafka/signet/principal/mapping"
)

// What a configuration may leave out, and the bounds of what it may say.
const (
	// DefaultTokenLifetime is short enough for a token that leaked, and twice what a request may take to reach the
	// broker: see Connection.
	DefaultTokenLifetime = 10 * time.Minute
	// DefaultLoginTimeout is how long a connection may last without a login.
	DefaultLoginTimeout = 10 * time.Second
	// DefaultMaxRequest is Kafka's own default of socket.request.max.bytes.
	DefaultMaxRequest = 100 << 20

	minTokenLifetime, maxTokenLifetime = time.Minute, 24 * time.Hour
	minLoginTimeout, maxLoginTimeout   = time.Second, 5 * time.Minute
	minMaxRequest                      = 1 << 10
)

// Config is the configuration of the filter in Envoy, in JSON.
type Config struct {
	// Mapping is mapping.json.
	Mapping json.RawMessage `json:"mapping"`
	// Shards are the texts of the files that mapping.json names, by file name.
	Shards map[string]string `json:"shards,omitempty"`
	// Token says what is in the tokens by which the filter logs in.
	Token TokenConfig `json:"token"`
	// LoginTimeout is how long a connection may last without a login, as Go's time.ParseDuration reads it: 1s to 5m.
	// Default 10s.
	LoginTimeout string `json:"loginTimeout,omitempty"`
	// MaxRequestBytes is the broker's socket.request.max.bytes, 1024 or more. Default 104857600.
	MaxRequestBytes int64 `json:"maxRequestBytes,omitempty"`
}

// TokenConfig says what is in the tokens, and with which key they are signed.
type TokenConfig struct {
	// Issuer is the claim iss: the broker's sasl.oauthbearer.expected.issuer.
	Issuer string `json:"issuer"`
	// Audience is the claim aud: the broker's sasl.oauthbearer.expected.audience.
	Audience string `json:"audience"`
	// Lifetime of a token, as Go's time.ParseDuration reads it: 1m to 24h. Default 10m.
	Lifetime string `json:"lifetime,omitempty"`
	// KeyID is the header kid: the key's in the broker's JWKS.
	KeyID string `json:"keyId"`
	// Key is the private key (P-256, PEM).
	Key string `json:"key,omitempty"`
	// KeyEnvironment names the variable of the environment that has the private key instead: Envoy shows its
	// configuration to whoever reaches its admin port, but not its environment.
	KeyEnvironment string `json:"keyEnvironment,omitempty"`
}

// Filter is a configuration in memory, and the tokens that were made for it.
type Filter struct {
	set          *mapping.Set
	signer       *Signer
	loginTimeout time.Duration
	maxRequest   int64
}

// New reads a configuration. getenv looks up variables of the environment. The error says which part is wrong and never
// quotes the key.
func New(text []byte, getenv func(name string) string) (*Filter, error) {
	var c Config
	strict, err := kjson.UnmarshalStrict(text, &c, kjson.DisallowDuplicateFields, kjson.DisallowUnknownFields)
	if err == nil && len(strict) > 0 {
		err = strict[0]
	}
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	f := &Filter{maxRequest: DefaultMaxRequest}
	if len(c.Mapping) == 0 {
		return nil, errors.New("configuration: mapping is missing: put the content of mapping.json there")
	}
	f.set, err = mapping.Parse(c.Mapping, func(file string) ([]byte, error) {
		shard, ok := c.Shards[file]
		if !ok {
			return nil, fmt.Errorf("shards has no %s", file)
		}
		return []byte(shard), nil
	})
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	if f.signer, err = newSigner(c.Token, getenv); err != nil {
		return nil, fmt.Errorf("configuration: token: %w", err)
	}
	if f.loginTimeout, err = duration(c.LoginTimeout, DefaultLoginTimeout, minLoginTimeout, maxLoginTimeout); err != nil {
		return nil, fmt.Errorf("configuration: loginTimeout: %w", err)
	}
	if c.MaxRequestBytes != 0 {
		f.maxRequest = c.MaxRequestBytes
	}
	if f.maxRequest < minMaxRequest || f.maxRequest > maxFrame {
		return nil, fmt.Errorf("configuration: maxRequestBytes is %d, not between %d and %d", f.maxRequest, minMaxRequest, maxFrame)
	}
	return f, nil
}

func newSigner(c TokenConfig, getenv func(name string) string) (*Signer, error) {
	for _, required := range []struct{ name, value string }{{"issuer", c.Issuer}, {"audience", c.Audience}, {"keyId", c.KeyID}} {
		if required.value == "" {
			return nil, fmt.Errorf("%s is missing", required.name)
		}
	}
	if (c.Key == "") == (c.KeyEnvironment == "") {
		return nil, errors.New("one of key and keyEnvironment is needed")
	}
	where, text := "key", c.Key
	if text == "" {
		where, text = "environment variable "+c.KeyEnvironment, getenv(c.KeyEnvironment)
	}
	key, err := ParseKey([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, err)
	}
	lifetime, err := duration(c.Lifetime, DefaultTokenLifetime, minTokenLifetime, maxTokenLifetime)
	if err != nil {
		return nil, fmt.Errorf("lifetime: %w", err)
	}
	return &Signer{Issuer: c.Issuer, Audience: c.Audience, KeyID: c.KeyID, Lifetime: lifetime, Key: key}, nil
}

func duration(text string, unset, least, most time.Duration) (time.Duration, error) {
	if text == "" {
		return unset, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is no duration: write it as 90s or 10m", text)
	}
	if d < least || d > most {
		return 0, fmt.Errorf("%s is not between %s and %s", d, least, most)
	}
	return d, nil
}

// Describe says in a line what the configuration holds; nothing of it is secret.
func (f *Filter) Describe() string {
	return fmt.Sprintf("kafkacluster %s, generation %d, %d entries; tokens of %s for %s, key %s, %s", f.set.Cluster(), f.set.Generation(), f.set.Len(),
		f.signer.Issuer, f.signer.Audience, f.signer.KeyID, f.signer.Lifetime)
}
