// Command probe is what the tests of the cluster run in pods: a web server and
// its client.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

const usage = `usage:
  probe serve            answer every request on port 8080 with this host's name
  probe get URL          print the answer to a request
  probe api PATH         the same from the API server, as the pod's service account
  probe cat FILE         print a file`

func main() {
	if len(os.Args) < 2 {
		fail(usage)
	}
	switch arg := append(os.Args, "")[2]; os.Args[1] {
	case "serve":
		name, err := os.Hostname()
		check(err)
		fmt.Println("serving", name)
		server := http.Server{Addr: ":8080", ReadHeaderTimeout: 10 * time.Second}
		server.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
		check(server.ListenAndServe())
	case "get":
		get(arg, http.DefaultTransport, "")
	case "api":
		const dir = "/var/run/secrets/kubernetes.io/serviceaccount/"
		token, err := os.ReadFile(dir + "token")
		check(err)
		ca, err := os.ReadFile(dir + "ca.crt")
		check(err)
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(ca)
		get("https://kubernetes.default.svc"+arg, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, string(token))
	case "cat":
		content, err := os.ReadFile(arg)
		check(err)
		_, err = os.Stdout.Write(content)
		check(err)
	default:
		fail(usage)
	}
}

func get(url string, transport http.RoundTripper, token string) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, url, nil) //nolint:gosec // a client for any URL, bounded by its timeout
	check(err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Do(req) //nolint:gosec // a client for any URL
	check(err)
	defer func() { _ = resp.Body.Close() }()
	_, err = io.Copy(os.Stdout, resp.Body)
	check(err)
	if resp.StatusCode != http.StatusOK {
		fail(resp.Status)
	}
}

func check(err error) {
	if err != nil {
		fail(err)
	}
}

func fail(what any) {
	fmt.Fprintln(os.Stderr, what)
	os.Exit(1)
}
