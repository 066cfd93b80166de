// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/signet-kafka/signet/certs"
)

func TestDue(t *testing.T) {
	// Ten hours, from 12:00.
	chain, _ := identity(t, ordersNames, noon, noon.Add(10*time.Hour), true)
	const orders = "CN=orders,OU=shop,O=signet"
	for name, tc := range map[string]struct {
		chain   []byte
		subject string
		renewAt float64
		now     time.Time
		want    string
	}{
		"fresh":                         {chain, orders, 0.7, noon, ""},
		"just before":                   {chain, orders, 0.7, noon.Add(7*time.Hour - time.Second), ""},
		"the very moment":               {chain, orders, 0.7, noon.Add(7 * time.Hour), "it is time"},
		"another directory, not yet":    {chain, orders, 0.75, noon.Add(7 * time.Hour), ""},
		"expired":                       {chain, orders, 0.7, noon.Add(11 * time.Hour), "it is time"},
		"a clock that is behind":        {chain, orders, 0.7, noon.Add(-time.Hour), ""},
		"a new marker of the cluster":   {chain, "CN=orders,OU=shop,O=acme", 0.7, noon, "the KafkaUser has another subject"},
		"no certificate":                {nil, orders, 0.7, noon, "there is no certificate"},
		"a file that was cut to pieces": {chain[:len(chain)/2], orders, 0.7, noon, "there is no certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := Due(tc.chain, tc.subject, tc.renewAt, tc.now); got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

// TestRenewalsSpread: a thousand directories, made in one second for certificates of an hour, are renewed evenly over a
// tenth of their life and none before two thirds of it.
func TestRenewalsSpread(t *testing.T) {
	const directories = 1000
	chain, _ := identity(t, ordersNames, noon, noon.Add(time.Hour), true)
	certificates, err := certs.ParseCertificates(chain)
	if err != nil {
		t.Fatal(err)
	}
	perMinute := map[time.Duration]int{}
	for i := range directories {
		after := renewalTime(certificates[0], NewRenewAt(float64(i)/directories)).Sub(noon)
		if after < 40*time.Minute || after > 46*time.Minute {
			t.Fatalf("renewed after %s of an hour", after)
		}
		perMinute[after.Truncate(time.Minute)]++
	}
	for minute, count := range perMinute {
		if count > directories/6+1 {
			t.Errorf("%d of %d after %s", count, directories, minute)
		}
	}
}

func TestSettings(t *testing.T) {
	full := Settings{
		User: "orders", Namespace: "shop", Kubeconfig: "/etc/k", Context: "c", Listener: "l", Path: "/p",
		Duration: metav1.Duration{Duration: time.Hour}, KeyFile: "/k", RenewAt: NewRenewAt(0.123456789),
	}
	for _, want := range []Settings{full, {User: "a", Namespace: "b", KeyElsewhere: true, CSR: "/c", RenewAt: 0.7}} {
		file, err := want.File()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := ParseSettings(file.Data); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                             "EOF",
		"[]":                           "cannot unmarshal",
		`{"user":"a","namespace":"b"}`: "renewAt is 0",
		`{"user":"a","namespace":"b","renewAt":1}`:                                        "renewAt is 1",
		`{"user":"a","renewAt":0.7}`:                                                      "user and namespace",
		`{"user":"a","namespace":"b","renewAt":0.7,"token":"x"}`:                          "unknown field",
		`{"user":"a","namespace":"b","renewAt":0.7}{}`:                                    "something follows",
		`{"user":"a","namespace":"b","renewAt":0.7,"duration":"1s"}`:                      "no less than",
		`{"user":"a","namespace":"b","renewAt":0.7,"keyElsewhere":true,"keyFile":"/etc"}`: "keyFile has no meaning",
	} {
		if _, err := ParseSettings([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestSettingsOverride(t *testing.T) {
	own, file, elsewhere := Settings{}, Settings{KeyFile: "/key"}, Settings{KeyElsewhere: true, CSR: "/csr"}
	for name, tc := range map[string]struct {
		settings     Settings
		csr, keyFile string
		want         Settings
		err          string
	}{
		"nothing":                        {own, "", "", own, ""},
		"another request":                {elsewhere, "/other", "", Settings{KeyElsewhere: true, CSR: "/other"}, ""},
		"a request by standard input":    {elsewhere, "-", "", elsewhere, ""},
		"another key":                    {file, "", "/other", Settings{KeyFile: "/other"}, ""},
		"a request for a key of its own": {own, "/csr", "", own, "its key is in the directory"},
		"a file for a key of its own":    {own, "", "/key", own, "made without one"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := tc.settings.override(tc.csr, tc.keyFile)
			if got != tc.want || (err == nil) != (tc.err == "") || err != nil && !strings.Contains(err.Error(), tc.err) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func FuzzParseSettings(f *testing.F) {
	f.Add([]byte(`{"user":"a","namespace":"b","renewAt":0.7,"duration":"1h0m0s"}`))
	f.Add([]byte(`{"user":"a","namespace":"b","renewAt":1e999}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		s, err := ParseSettings(text)
		if err != nil {
			return
		}
		file, err := s.File()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseSettings(file.Data); err != nil || !reflect.DeepEqual(again, s) {
			t.Errorf("%+v became %+v, %v", s, again, err)
		}
	})
}

func TestChanged(t *testing.T) {
	there := map[string][]byte{"ca.crt": []byte("1"), "tls.crt": []byte("1"), "gone": nil}
	got := Changed(there, []File{{Name: "tls.crt", Data: []byte("2")}, {Name: "ca.crt", Data: []byte("1")}, {Name: "empty"}})
	if want := []string{"empty", "gone", "tls.crt"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Changed(map[string][]byte{"a": []byte("1")}, []File{{Name: "a", Data: []byte("1")}}); len(got) != 0 {
		t.Errorf("got %q", got)
	}
}
