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
	keystores := orders()
	keystores.Keystores = []v1alpha1.KeystoreFormat{v1alpha1.KeystorePKCS12, v1alpha1.KeystoreJKS}
	external := keystores
	external.Scope, external.BootstrapServers = v1alpha1.ScopeExternal, []string{"kafka.example.com:9094"}
	mesh := orders()
	mesh.Scope, mesh.Authentication, mesh.BootstrapServers = v1alpha1.ScopeMesh, v1alpha1.AuthenticationMesh, []string{"kafka.kafka.svc:9095"}
	plaintextKeystore := plaintext
	plaintextKeystore.Keystores = keystores.Keystores[:1]
	// The file that holds the key and the properties that go with it, by what stands in the name of a Java file.
	stores := map[string][2]string{"": {"PEM", "keystore.pem"}, "-pkcs12": {"PKCS12", "keystore.p12"}, "-jks": {"JKS", "keystore.jks"}}
	for name, test := range map[string]struct {
		client Client
		// in the names of the files, and of the Java files beside the plain one
		scope string
		java  []string
	}{
		"mtls": {orders(), "", nil}, "plaintext": {plaintext, "", nil}, "odd-directory": {exported, "", nil}, "many-servers": {many, "", nil},
		"keystores": {keystores, "", []string{"-pkcs12", "-jks"}}, "external": {external, "-external", []string{"-pkcs12", "-jks"}},
		"plaintext-keystore": {plaintextKeystore, "", []string{"-pkcs12"}}, "mesh": {mesh, "-mesh", nil},
	} {
		t.Run(name, func(t *testing.T) {
			client := test.client
			files, err := Render(client)
			if err != nil {
				t.Fatal(err)
			}
			keys := []string{"client" + test.scope + ".properties", "librdkafka" + test.scope + ".conf", "kafka" + test.scope + ".json"}
			for _, java := range test.java {
				keys = append(keys, "client"+java+test.scope+".properties")
			}
			if got := slices.Concat(Files(client.Scope), KeystoreFiles(client.Scope, client.Keystores)); !slices.Equal(got, keys) {
				t.Errorf("files %q, want %q", got, keys)
			}
			switch test.scope {
			case "":
				keys = append(keys, "bootstrap.servers", "security.protocol")
			case "-mesh":
				keys = append(keys, "mesh.bootstrap.servers", "mesh.security.protocol")
			}
			slices.Sort(keys)
			if got := slices.Sorted(maps.Keys(files)); !slices.Equal(got, keys) {
				t.Errorf("keys %q, want %q", got, keys)
			}
			for key, content := range files {
				golden(t, filepath.Join("testdata", name, key), content)
			}

			for _, java := range append(test.java, "") {
				want := map[string]string{"bootstrap.servers": strings.Join(client.BootstrapServers, ","), "security.protocol": "PLAINTEXT"}
				if client.Authentication == v1alpha1.AuthenticationMTLS {
					want["security.protocol"] = "SSL"
					want["ssl.keystore.type"], want["ssl.keystore.location"] = stores[java][0], client.Dir+"/"+stores[java][1]
					want["ssl.truststore.type"], want["ssl.truststore.location"] = "PEM", client.Dir+"/ca"+test.scope+".crt"
					want["ssl.endpoint.identification.algorithm"] = "https"
					if java != "" {
						want["ssl.keystore.password"] = "changeit"
					}
				}
				file := "client" + java + test.scope + ".properties"
				if got := loadProperties(t, []byte(files[file])); !maps.Equal(got, want) {
					t.Errorf("%s reads as %q, want %q", file, got, want)
				}
			}
			var d document
			if err := json.Unmarshal([]byte(files["kafka"+test.scope+".json"]), &d); err != nil {
				t.Errorf("kafka.json: %v", err)
			}
			if !slices.Equal(d.BootstrapServers, client.BootstrapServers) || d.ClientID != "shop.orders" {
				t.Errorf("kafka.json reads as %+v", d)
			}
		})
	}
}

// TestNoFileIsAnothers holds that the files for one listener never take the place of those for another.
func TestNoFileIsAnothers(t *testing.T) {
	whose := map[string]v1alpha1.ListenerScope{
		v1alpha1.FileCertificate: "none", v1alpha1.FileKey: "none", v1alpha1.FileKeystore: "none",
		v1alpha1.FilePKCS12: "none", v1alpha1.FileJKS: "none",
	}
	for _, scope := range append(Scopes(), "") {
		for _, file := range slices.Concat(Files(scope), KeystoreFiles(scope, v1alpha1.KeystoreFormats()), []string{v1alpha1.FileForScope(v1alpha1.FileCA, scope)}) {
			if other, taken := whose[file]; taken {
				t.Errorf("%s is of scope %q and of scope %q", file, other, scope)
			}
			whose[file] = scope
		}
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
		"unknown keystore":                           {func(c *Client) { c.Keystores = []v1alpha1.KeystoreFormat{"PEM\nx"} }, "keystore"},
		"scope with no files of its own":             {func(c *Client) { c.Scope = v1alpha1.ScopeCluster }, "scope"},
		"certificates in the mesh":                   {func(c *Client) { c.Scope = v1alpha1.ScopeMesh }, "authentication"},
		"the mesh's authentication outside":          {func(c *Client) { c.Authentication = v1alpha1.AuthenticationMesh }, "authentication"},
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

// FuzzRender shows that no value adds a property to, or takes one from, any of the formats, for any listener and keystore.
func FuzzRender(f *testing.F) {
	f.Add("kafka:9093", "/var/run/secrets", "User:shop.orders")
	f.Add("kafka:9093", "/x\nsasl.jaas.config=a", "User:a\\\nb")
	f.Add("kafka:9093\\", `/x\u000asasl.mechanism=PLAIN`, "User:\u2028")
	f.Add("a:1", strings.Repeat("y", 470)+"\\", "")
	f.Fuzz(func(t *testing.T, server, dir, principal string) {
		for _, scope := range append(Scopes(), "") {
			reference := orders()
			reference.Scope, reference.Keystores = scope, v1alpha1.KeystoreFormats()
			client := reference
			client.BootstrapServers = []string{server, "kafka:9093"}
			client.Dir, client.Principal = dir, principal
			checkRendered(t, client, reference)
		}
	})
}

// checkRendered holds that a client is refused, or that its files say what it is and have the properties of the reference's.
func checkRendered(t *testing.T, client, reference Client) {
	t.Helper()
	files, err := Render(client)
	if err != nil {
		var invalid *InvalidError
		if !errors.As(err, &invalid) || files != nil {
			t.Fatalf("Render = %q, %v", files, err)
		}
		return
	}
	want, err := Render(reference)
	if err != nil {
		t.Fatal(err)
	}
	keystore := map[string]string{"PEM": "keystore.pem", "PKCS12": "keystore.p12", "JKS": "keystore.jks"}
	for name, text := range files {
		var parse func([]byte) (map[string]string, error)
		switch filepath.Ext(name) {
		case ".properties":
			parse = parseProperties
		case ".conf":
			parse = parseKcat
		case ".json":
			var d document
			if err := json.Unmarshal([]byte(text), &d); err != nil || d.Principal != client.Principal {
				t.Errorf("%s has principal %q, %v; want %q", name, d.Principal, err, client.Principal)
			}
			continue
		default:
			continue // one value, not a file
		}
		got, err := parse([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		like, err := parse([]byte(want[name]))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(like)); !slices.Equal(got, want) {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
		if format, java := got["ssl.keystore.type"]; java {
			if want := client.file(keystore[format]); got["ssl.keystore.location"] != want || got["ssl.truststore.location"] != client.trustFile() {
				t.Errorf("%s names %q and %q, want %q and %q", name, got["ssl.keystore.location"], got["ssl.truststore.location"], want, client.trustFile())
			}
		} else if want := client.file("tls.key"); got["ssl.key.location"] != want || got["ssl.ca.location"] != client.trustFile() {
			t.Errorf("%s names %q and %q, want %q and %q", name, got["ssl.key.location"], got["ssl.ca.location"], want, client.trustFile())
		}
	}
}

func TestEnvironmentNamesRenderedKeys(t *testing.T) {
	mesh := orders()
	mesh.Scope, mesh.Authentication, mesh.Keystores = v1alpha1.ScopeMesh, v1alpha1.AuthenticationMesh, nil
	for _, c := range []Client{orders(), mesh} {
		files, err := Render(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, variable := range Environment("orders", c.Scope) {
			if from := variable.ValueFrom; from != nil {
				if _, ok := files[from.ConfigMapKeyRef.Key]; !ok || from.ConfigMapKeyRef.Name != "orders-kafka-client" {
					t.Errorf("%s refers to %s/%s, which Render does not make", variable.Name, from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
				}
				continue
			}
			// A pod has the files of its listener by their plain names.
			dir, file := filepath.Split(variable.Value)
			if _, ok := files[v1alpha1.FileForScope(file, c.Scope)]; !ok || dir != "/var/run/secrets/kafka.signet.dev/orders/" {
				t.Errorf("%s names %s, which Render does not make", variable.Name, variable.Value)
			}
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
