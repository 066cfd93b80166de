// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"encoding/base64"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

func TestPrincipalOfAToken(t *testing.T) {
	token := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for _, c := range []struct{ token, claim, want string }{
		{token(`{"sub":"signet"}`), "", "User:signet"},
		{token(`{"sub":"signet","azp":"other"}`), "azp", "User:other"},
		{token(`{"sub":"signet"}`), "azp", ""},
		{token(`{"sub":7}`), "", ""},
		{token(`{"sub":""}`), "", ""},
		{token(`{"sub":"a\nb"}`), "", ""},
		{token(`{"sub":"` + strings.Repeat("a", 256) + `"}`), "", ""},
		{token(`["sub"]`), "", ""},
		{"opaque", "", ""},
		{"a.*.c", "", ""},
		{"", "", ""},
	} {
		if got := principalOf(c.token, c.claim); got != c.want {
			t.Errorf("%q, claim %q: %q, want %q", c.token, c.claim, got, c.want)
		}
	}
}

// FuzzPrincipalOfAToken holds that nothing that an identity provider may send makes a principal that could not stand in a
// status or in super.users' line.
func FuzzPrincipalOfAToken(f *testing.F) {
	f.Add("e30."+base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"signet"}`))+".c2ln", "sub")
	f.Fuzz(func(t *testing.T, token, claim string) {
		got := principalOf(token, claim)
		if got != "" && (!strings.HasPrefix(got, "User:") || strings.ContainsAny(got, "\r\n\x00") || len(got) > 260) {
			t.Errorf("%q", got)
		}
	})
}

func TestTokenIsRenewedBeforeItExpires(t *testing.T) {
	got := time.Unix(1_800_000_000, 0)
	for _, c := range []struct {
		life, after time.Duration
		want        bool
	}{
		{time.Hour, 0, true},
		{time.Hour, 47 * time.Minute, true},
		{time.Hour, 49 * time.Minute, false},
		{20 * time.Second, 9 * time.Second, true},
		{20 * time.Second, 11 * time.Second, false},
		{5 * time.Second, 0, false},
		{-time.Second, 0, false},
	} {
		token := bearerToken{"token", got, got.Add(c.life)}
		if token.good(got.Add(c.after)) != c.want {
			t.Errorf("a token of %s after %s: good is %t", c.life, c.after, !c.want)
		}
	}
	if (bearerToken{text: "token", got: got}).good(got) || (bearerToken{got: got, expiry: got.Add(time.Hour)}).good(got) {
		t.Error("a token of unknown life, or none, is kept")
	}
}

// TestTokenEndpointAnswers holds what is said of a token endpoint that gives no token, and that neither the client secret nor
// what the endpoint sent is in it.
func TestTokenEndpointAnswers(t *testing.T) {
	const secret = "the-client-secret"
	answers := map[string]struct {
		status int
		header string
		body   string
		want   string
	}{
		"refused":            {http.StatusUnauthorized, "application/json", `{"error":"invalid_client","error_description":"` + secret + `"}`, "401 Unauthorized, invalid_client"},
		"refused otherwise":  {http.StatusBadRequest, "application/json", `{"error":"` + secret + `"}`, "400 Bad Request"},
		"broken":             {http.StatusInternalServerError, "text/plain", secret, "500 Internal Server Error"},
		"redirect":           {http.StatusFound, "", "", "302 Found"},
		"no token":           {http.StatusOK, "application/json", `{"token_type":"Bearer"}`, "not a token's"},
		"no JSON":            {http.StatusOK, "application/json", `{`, "not a token's"},
		"a token with lines": {http.StatusOK, "application/json", `{"access_token":"a\nb","token_type":"Bearer"}`, "no access_token that could be sent"},
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/elsewhere" {
					t.Error("the client secret was taken elsewhere")
				}
				w.Header().Set("Content-Type", answer.header)
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(answer.status)
				if _, err := w.Write([]byte(answer.body)); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			tokens := &tokens{endpoint: v1alpha1.TokenEndpoint{URL: server.URL, ClientID: "signet"}, now: time.Now}
			_, err := tokens.get(t.Context(), secret, "1", trustOf(server))
			if err == nil || !strings.Contains(err.Error(), answer.want) || strings.Contains(err.Error(), secret) {
				t.Errorf("%v, want %q", err, answer.want)
			}
		})
	}
	closed := httptest.NewTLSServer(http.NotFoundHandler())
	trust := trustOf(closed)
	closed.Close()
	tokens := &tokens{endpoint: v1alpha1.TokenEndpoint{URL: closed.URL, ClientID: "signet"}, now: time.Now}
	if _, err := tokens.get(t.Context(), secret, "1", trust); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("an endpoint that is down: %v", err)
	}
}

// TestNoSASL holds that a program that reads no credentials says so.
func TestNoSASL(t *testing.T) {
	cluster := newCluster(v1alpha1.ClusterPolicy{})
	cluster.Spec.Admin.SASL = &v1alpha1.AdminSASL{Mechanism: v1alpha1.MechanismSCRAMSHA512, Username: "signet", SecretName: "a"}
	_, err := NewConnections(&adminTLS{}, "kubernetes").Login(t.Context(), cluster)
	var invalid *InvalidClusterError
	if !errors.As(err, &invalid) {
		t.Errorf("%v", err)
	}
}

// trustOf is the certificate (PEM) that verifies a server.
func trustOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}
