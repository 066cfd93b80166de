// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/principal"
)

// tokens gets bearer tokens from a token endpoint and keeps the last one while it is good. It is safe for concurrent use.
type tokens struct {
	endpoint v1alpha1.TokenEndpoint
	// now is the clock.
	now func() time.Time

	mu   sync.Mutex
	last bearerToken
	// version is that of the secret that the last one was got with.
	version string
}

// bearerToken is a token with its life; expiry is zero where the endpoint does not say it.
type bearerToken struct {
	text        string
	got, expiry time.Time
}

// minLogin is how long a login should last at least: brokers end it with its token (KIP-368), and refuse to log the same
// connection in twice within a second.
const minLogin = 10 * time.Second

// good tells whether the token is to be used at this time: for four fifths of its life, as Kafka's own clients do
// (sasl.login.refresh.window.factor), and not at its very end. One of unknown life is not kept.
func (t bearerToken) good(now time.Time) bool {
	return t.text != "" && !t.expiry.IsZero() && now.Before(t.got.Add(t.expiry.Sub(t.got)*4/5)) && t.expiry.Sub(now) >= minLogin
}

// get returns a token that is good, for the client secret of this version. trust (PEM) verifies the endpoint; nil for the
// system's roots. Errors hold neither the secret nor what the endpoint sent.
func (t *tokens) get(ctx context.Context, secret, version string, trust []byte) (string, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if t.version == version && t.last.good(now) {
		return t.last.text, nil
	}
	config := clientcredentials.Config{ClientID: t.endpoint.ClientID, ClientSecret: secret, TokenURL: t.endpoint.URL, Scopes: strings.Fields(t.endpoint.Scope)}
	if t.endpoint.Audience != "" {
		config.EndpointParams = url.Values{"audience": {t.endpoint.Audience}}
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, DisableKeepAlives: true}
	if trust != nil {
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(trust)
	}
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	// A redirect would take the client secret to another place.
	web := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	token, err := config.Token(context.WithValue(ctx, oauth2.HTTPClient, web))
	if err != nil {
		return "", fmt.Errorf("token endpoint %s: %w", t.endpoint.URL, endpointError(err))
	}
	if token.AccessToken == "" || strings.ContainsFunc(token.AccessToken, unicode.IsControl) {
		return "", fmt.Errorf("token endpoint %s: its answer has no access_token that could be sent", t.endpoint.URL)
	}
	t.version, t.last = version, bearerToken{token.AccessToken, now, token.Expiry}
	return token.AccessToken, nil
}

// endpointError says why an endpoint gave no token, without the body of its answer, which may repeat what was sent.
func endpointError(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		var transport *url.Error
		if errors.As(err, &transport) {
			return transport.Err
		}
		return errors.New("its answer is not a token's (RFC 6749, section 5.1)")
	}
	known := map[string]bool{"invalid_request": true, "invalid_client": true, "invalid_grant": true, "unauthorized_client": true, "unsupported_grant_type": true, "invalid_scope": true}
	text := "it answers " + refused.Response.Status
	if known[refused.ErrorCode] {
		text += ", " + refused.ErrorCode
	}
	return errors.New(text)
}

// principalOf returns the principal that brokers take from a JSON web token: User:<claim>, by default the claim sub; "" where
// the token is not one, or has no such claim. It verifies nothing.
func principalOf(token, claim string) string {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return ""
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return ""
	}
	var claims map[string]any
	if json.Unmarshal(payload, &claims) != nil {
		return ""
	}
	if claim == "" {
		claim = "sub"
	}
	name, ok := claims[claim].(string)
	if !ok || name == "" || len(name) > 255 || strings.ContainsFunc(name, unicode.IsControl) {
		return ""
	}
	return principal.TypeUser + name
}
