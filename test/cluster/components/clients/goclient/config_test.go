package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	mounted := write("kafka.json", `{"bootstrapServers":["kafka:9093"],"securityProtocol":"SSL","caFile":"/var/ca.crt","certFile":"/var/tls.crt","keyFile":"/var/tls.key","clientId":"orders"}`)
	broken := write("broken.json", `{"bootstrapServers":`)
	sasl := write("sasl.json", `{"bootstrapServers":["kafka:9093"],"securityProtocol":"SASL_SSL"}`)
	empty := write("empty.json", `{}`)

	for name, test := range map[string]struct {
		from source
		want Config
		err  string
	}{
		"mounted file": {from: source{file: mounted}, want: Config{SecurityProtocol: "SSL", CAFile: "/var/ca.crt", CertFile: "/var/tls.crt", KeyFile: "/var/tls.key", ClientID: "orders", BootstrapServers: []string{"kafka:9093"}}},
		"copied directory": {from: source{file: mounted, dir: dir, bootstrap: []string{"node:30094"}}, want: Config{
			SecurityProtocol: "SSL", CAFile: filepath.Join(dir, "ca.crt"), CertFile: filepath.Join(dir, "tls.crt"), KeyFile: filepath.Join(dir, "tls.key"),
			ClientID: "orders", BootstrapServers: []string{"node:30094"}}},
		"directory without kafka.json": {from: source{dir: "/none", bootstrap: []string{"a:1"}}, want: Config{
			SecurityProtocol: "SSL", CAFile: "/none/ca.crt", CertFile: "/none/tls.crt", KeyFile: "/none/tls.key", BootstrapServers: []string{"a:1"}}},
		"only a CA: no client certificate":   {from: source{ca: "ca.crt", bootstrap: []string{"a:1"}}, want: Config{SecurityProtocol: "SSL", CAFile: "ca.crt", BootstrapServers: []string{"a:1"}}},
		"only addresses: no identity at all": {from: source{bootstrap: []string{"a:1"}}, want: Config{BootstrapServers: []string{"a:1"}}},
		"nothing":                            {from: source{}, err: "no bootstrap servers"},
		"no servers in the file":             {from: source{file: empty}, err: "no bootstrap servers"},
		"no such file":                       {from: source{file: "/none/kafka.json"}, err: "/none/kafka.json"},
		"broken file":                        {from: source{file: broken}, err: broken},
		"other protocol":                     {from: source{file: sasl}, err: `security protocol "SASL_SSL"`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := test.from.load()
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("error %v, want one with %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if strings.Join(got.BootstrapServers, ",") != strings.Join(test.want.BootstrapServers, ",") {
				t.Errorf("servers %q, want %q", got.BootstrapServers, test.want.BootstrapServers)
			}
			got.BootstrapServers, test.want.BootstrapServers = nil, nil
			if got.SecurityProtocol != test.want.SecurityProtocol || got.CAFile != test.want.CAFile || got.CertFile != test.want.CertFile ||
				got.KeyFile != test.want.KeyFile || got.ClientID != test.want.ClientID {
				t.Errorf("configuration %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestTLSErrorsNameTheFile(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("no PEM"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, config := range map[string]Config{
		"no CA":   {CAFile: "/none/ca.crt"},
		"junk CA": {CAFile: junk},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := config.tls(); err == nil || !strings.Contains(err.Error(), config.CAFile) {
				t.Errorf("error %v, want one that names %s", err, config.CAFile)
			}
		})
	}
}
