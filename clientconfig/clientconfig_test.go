// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package clientconfig

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func orders() Client {
	return Client{
		User:             "orders",
		Namespace:        "shop",
		Principal:        "User:shop.orders",
		Cluster:          "kafka/kafka",
		BootstrapServers: []string{"kafka-0.kafka:9093", "[fd00::17]:9093"},
		Authentication:   v1alpha1.AuthenticationMTLS,
		Dir:              Dir("orders"),
	}
}

func TestRender(t *testing.T) {
	plaintext := orders()
	plaintext.Authentication = v1alpha1.AuthenticationNone
	exported := orders()
	exported.Dir = `/home/ada/my kafka=files!/#1 \ größe/🔑`
	many := orders()
	many.BootstrapServers = nil
	for i := range 32 {
		many.BootstrapServers = append(many.BootstrapServers, fmt.Sprintf("broker-%02d.kafka-headless.kafka.svc.cluster.local:9093", i))
	}
	for name, client := range map[string]Client{
		"mtls": orders(), "plaintext": plaintext, "odd-directory": exported, "many-servers": many,
	} {
		t.Run(name, func(t *testing.T) {
			files, err := Render(client)
			if err != nil {
				t.Fatal(err)
			}
			keys := []string{"bootstrap.servers", "client.properties", "kafka.json", "librdkafka.conf", "security.protocol"}
			if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, keys) {
				t.Errorf("keys %q, want %q", got, keys)
			}
			for key, content := range files {
				golden(t, filepath.Join("testdata", name, key), content)
			}

			want := map[string]string{
				"bootstrap.servers": strings.Join(client.BootstrapServers, ","),
				"security.protocol": files["security.protocol"],
			}
			if client.Authentication == v1alpha1.AuthenticationMTLS {
				want["ssl.keystore.type"], want["ssl.keystore.location"] = "PEM", client.Dir+"/keystore.pem"
				want["ssl.truststore.type"], want["ssl.truststore.location"] = "PEM", client.Dir+"/ca.crt"
				want["ssl.endpoint.identification.algorithm"] = "https"
			}
			if got := loadProperties(t, []byte(files["client.properties"])); !maps.Equal(got, want) {
				t.Errorf("client.properties reads as %q, want %q", got, want)
			}
			var d document
			if err := json.Unmarshal([]byte(files["kafka.json"]), &d); err != nil {
				t.Errorf("kafka.json: %v", err)
			}
			if !slices.Equal(d.BootstrapServers, client.BootstrapServers) || d.ClientID != "shop.orders" {
				t.Errorf("kafka.json reads as %+v", d)
			}
		})
	}
}

func TestRenderRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*Client)
		field  string
	}{
		"newline in the directory":                   {func(c *Client) { c.Dir = "/x\nsasl.jaas.config=evil" }, "directory"},
		"carriage return in the directory":           {func(c *Client) { c.Dir = "/x\rsasl.jaas.config=evil" }, "directory"},
		"NUL in the directory":                       {func(c *Client) { c.Dir = "/x\x00" }, "directory"},
		"next line (U+0085) in the directory":        {func(c *Client) { c.Dir = "/x\u0085a=b" }, "directory"},
		"line separator (U+2028) in the directory":   {func(c *Client) { c.Dir = "/x\u2028a=b" }, "directory"},
		"directory that is not UTF-8":                {func(c *Client) { c.Dir = "/x\xff" }, "directory"},
		"blank before the directory":                 {func(c *Client) { c.Dir = " /x" }, "directory"},
		"directory longer than kcat's buffer":        {func(c *Client) { c.Dir = "/" + strings.Repeat("x", 500) }, "directory"},
		"newline in a bootstrap server":              {func(c *Client) { c.BootstrapServers[0] = "a:1\nsasl.mechanism=PLAIN" }, "bootstrap server"},
		"comma in a bootstrap server":                {func(c *Client) { c.BootstrapServers[0] = "a:1,evil:1" }, "bootstrap server"},
		"bootstrap server without a port":            {func(c *Client) { c.BootstrapServers[0] = "kafka" }, "bootstrap server"},
		"bootstrap server longer than kcat's buffer": {func(c *Client) { c.BootstrapServers[0] = strings.Repeat("a", 600) + ":1" }, "bootstrap server"},
		"no bootstrap server":                        {func(c *Client) { c.BootstrapServers = nil }, "bootstrap servers"},
		"newline in the principal":                   {func(c *Client) { c.Principal += "\n" }, "principal"},
		"newline in the cluster":                     {func(c *Client) { c.Cluster += "\n" }, "cluster"},
		"user that is not a label":                   {func(c *Client) { c.User = "a.b" }, "user"},
		"namespace with a newline":                   {func(c *Client) { c.Namespace = "a\nb" }, "namespace"},
		"unknown authentication":                     {func(c *Client) { c.Authentication = "SASL" }, "authentication"},
		"no authentication":                          {func(c *Client) { c.Authentication = "" }, "authentication"},
	} {
		t.Run(name, func(t *testing.T) {
			client := orders()
			test.change(&client)
			files, err := Render(client)
			var invalid *InvalidError
			if !errors.As(err, &invalid) || invalid.Field != test.field || files != nil {
				t.Errorf("Render = %q, %v; want an InvalidError for %s", files, err, test.field)
			}
			if err != nil && strings.ContainsAny(err.Error(), "\n\r") {
				t.Errorf("the error spans lines: %q", err)
			}
		})
	}
}

// FuzzRender shows that no value adds a property to, or takes one from, any of the formats.
func FuzzRender(f *testing.F) {
	f.Add("kafka:9093", "/var/run/secrets", "User:shop.orders")
	f.Add("kafka:9093", "/x\nsasl.jaas.config=a", "User:a\\\nb")
	f.Add("kafka:9093\\", `/x\u000asasl.mechanism=PLAIN`, "User:\u2028")
	f.Add("a:1", strings.Repeat("y", 470)+"\\", "")
	f.Fuzz(func(t *testing.T, server, dir, principal string) {
		client := orders()
		client.BootstrapServers = []string{server, "kafka:9093"}
		client.Dir, client.Principal = dir, principal
		files, err := Render(client)
		if err != nil {
			var invalid *InvalidError
			if !errors.As(err, &invalid) || files != nil {
				t.Fatalf("Render = %q, %v", files, err)
			}
			return
		}
		reference, err := Render(orders())
		if err != nil {
			t.Fatal(err)
		}
		keys := func(parse func([]byte) (map[string]string, error), file string, of map[string]string) []string {
			properties, err := parse([]byte(of[file]))
			if err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			return slices.Sorted(maps.Keys(properties))
		}
		if got, want := keys(parseProperties, "client.properties", files), keys(parseProperties, "client.properties", reference); !slices.Equal(got, want) {
			t.Errorf("client.properties has %q, want %q", got, want)
		}
		if got, want := keys(parseKcat, "librdkafka.conf", files), keys(parseKcat, "librdkafka.conf", reference); !slices.Equal(got, want) {
			t.Errorf("librdkafka.conf has %q, want %q", got, want)
		}
		properties, _ := parseProperties([]byte(files["client.properties"]))
		if got, want := properties["ssl.keystore.location"], client.file("keystore.pem"); got != want {
			t.Errorf("ssl.keystore.location reads as %q, want %q", got, want)
		}
		configuration, _ := parseKcat([]byte(files["librdkafka.conf"]))
		if got, want := configuration["ssl.key.location"], client.file("tls.key"); got != want {
			t.Errorf("ssl.key.location reads as %q, want %q", got, want)
		}
		var d document
		if err := json.Unmarshal([]byte(files["kafka.json"]), &d); err != nil || d.Principal != principal {
			t.Errorf("kafka.json has principal %q, %v; want %q", d.Principal, err, principal)
		}
	})
}

func TestEnvironmentNamesRenderedKeys(t *testing.T) {
	files, err := Render(orders())
	if err != nil {
		t.Fatal(err)
	}
	for _, variable := range Environment("orders") {
		if from := variable.ValueFrom; from != nil {
			if _, ok := files[from.ConfigMapKeyRef.Key]; !ok || from.ConfigMapKeyRef.Name != "orders-kafka-client" {
				t.Errorf("%s refers to %s/%s, which Render does not make", variable.Name, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
			}
			continue
		}
		dir, file := filepath.Split(variable.Value)
		if _, ok := files[file]; !ok || dir != "/var/run/secrets/kafka.signet.dev/orders/" {
			t.Errorf("%s names %s, which Render does not make", variable.Name, variable.Value)
		}
	}
}

func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; go test -update writes it", err)
	}
	if got != string(want) {
		t.Errorf("%s:\n%s\nwant:\n%s", path, got, want)
	}
}
