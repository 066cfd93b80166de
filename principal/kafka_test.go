// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package principal

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/apimachinery/pkg/types"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal/mapping"
)

// The tests of this file start a real broker with Signet's principal builder. They need java, in SIGNET_KAFKA_LIBS the
// directory with Kafka's jars, and in SIGNET_BROKER_JAR the jar of broker/: go run ./test/run -only kafka

// live is how soon a changed mapping file must be in force on new connections.
const live = 10 * time.Second

// world is a broker, the ledger that it is told of, and the CAs of its clients.
type world struct {
	t          *testing.T
	cluster    *v1alpha1.KafkaCluster
	authority  *kafkatest.Authority
	foreign    *kafkatest.Authority
	broker     *kafkatest.Broker
	mappings   []v1alpha1.PrincipalMapping
	generation int64
}

const (
	legacySubject = `CN=legacy\, Inc,O=Acme`
	signetBuilder = `listener.name.signet.principal.builder.class=dev.signet.kafka.broker.SignetPrincipalBuilder
listener.name.signet.signet.mapping.file={dir}/mapping.json
`
)

func newWorld(t *testing.T) *world {
	jar := os.Getenv("SIGNET_BROKER_JAR")
	if jar == "" {
		t.Fatal("SIGNET_BROKER_JAR must name the jar of broker/")
	}
	w := &world{t: t, cluster: kafka(), authority: kafkatest.NewAuthority(t), foreign: kafkatest.NewAuthority(t)}
	w.record("shop", "orders", "orders-sa", legacySubject)
	config := w.render()
	// The rules that a stock broker gets are those of this moment, for good.
	w.broker = kafkatest.Start(t, w.authority, kafkatest.Options{
		Properties: kafkatest.Authorizer + signetBuilder, Rules: config.Data[v1alpha1.KeyMappingRules],
		Signet: true, Jars: []string{jar}, ClientCAs: w.foreign.PEM(),
	})
	w.write()
	w.visible("User:shop.orders")
	return w
}

// record adds a KafkaUser to the ledger, with its external subjects approved.
func (w *world) record(namespace, name, serviceAccount string, external ...string) {
	w.t.Helper()
	u := user(namespace, name)
	if serviceAccount != "" {
		u.Spec.Workload = &v1alpha1.Workload{ServiceAccountName: serviceAccount}
	}
	u.Spec.ExternalSubjects = external
	m := recordOf(w.t, u, int64(len(w.mappings)))
	m.Spec.ApprovedSubjects = external
	m.UID = types.UID(namespace + name)
	w.mappings = append(w.mappings, m)
}

func (w *world) render() BrokerConfig {
	w.t.Helper()
	w.generation++
	var entries []Entry
	for name, v := range Judge(w.cluster, w.mappings, everybody) {
		if v.Reason != v1alpha1.ReasonReady {
			w.t.Fatalf("%s: %s: %s", name, v.Reason, v.Message)
		}
		entries = append(entries, v.Entries...)
	}
	config, err := RenderBrokerConfig(w.cluster, w.authority.PEM(), entries, nil, w.generation)
	if err != nil {
		w.t.Fatal(err)
	}
	return config
}

// write gives the broker the ledger as it is now, as a mounted ConfigMap would.
func (w *world) write() {
	w.t.Helper()
	config := w.render()
	for i, shard := range config.Shards {
		w.broker.Write(mapping.ShardName(i+1), []byte(shard[mapping.ShardName(i+1)]))
	}
	w.broker.Write(mapping.FileName, []byte(config.Data[v1alpha1.KeyMappingFile]))
}

// visible makes a topic that this principal and no other may see: a client's list of topics then tells who it is.
func (w *world) visible(principal string) {
	w.t.Helper()
	admin := kadm.NewClient(w.connect(w.broker.Address, w.authority.Client(w.template(ControllerSubject(w.cluster).String()))))
	topic := "seen-by-" + strings.TrimPrefix(principal, TypeUser)
	if _, err := admin.CreateTopic(w.t.Context(), 1, 1, nil, topic); err != nil {
		w.t.Fatal(err)
	}
	acls := kadm.NewACLs().Allow(principal).AllowHosts("*").Topics(topic).Operations(kadm.OpDescribe).ResourcePatternType(kadm.ACLPatternLiteral)
	results, err := admin.CreateACLs(w.t.Context(), acls)
	if err != nil || results[0].Err != nil {
		w.t.Fatal(err, results)
	}
}

// template is a client certificate with a subject and SPIFFE IDs.
func (w *world) template(subject string, ids ...string) *x509.Certificate {
	w.t.Helper()
	c := &x509.Certificate{}
	switch subject {
	case "":
		c.RawSubject = []byte{0x30, 0x00}
	case legacySubject:
		c.Subject = pkix.Name{CommonName: "legacy, Inc", Organization: []string{"Acme"}}
	default:
		parts := strings.Split(subject, ",")
		value := func(i int) string { _, v, _ := strings.Cut(parts[i], "="); return v }
		raw, err := UserSubject{Name: value(0), Namespace: value(1), Organization: value(2)}.RawDER()
		if err != nil {
			w.t.Fatal(err)
		}
		c.RawSubject = raw
	}
	for _, id := range ids {
		parsed, err := url.Parse(id)
		if err != nil {
			w.t.Fatal(err)
		}
		c.URIs = append(c.URIs, parsed)
	}
	return c
}

func (w *world) connect(address string, config *tls.Config) *kgo.Client {
	w.t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.DialTLSConfig(config), kgo.RetryTimeout(2*time.Second), kgo.MetadataMinAge(10*time.Millisecond))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(c.Close)
	return c
}

// who asks, with a connection of its own, which topics there are: the principal is the one in the topic's name. Nobody
// is "", a connection that the broker closes an error.
func (w *world) who(address string, config *tls.Config) (string, error) {
	w.t.Helper()
	c := w.connect(address, config)
	defer c.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	topics, err := kadm.NewClient(c).ListTopics(ctx)
	if err != nil {
		return "", err
	}
	var names []string
	for _, name := range topics.Names() {
		names = append(names, TypeUser+strings.TrimPrefix(name, "seen-by-"))
	}
	return strings.Join(names, " "), nil
}

func (w *world) want(t *testing.T, address string, config *tls.Config, principal string) {
	t.Helper()
	if got, err := w.who(address, config); err != nil || got != principal {
		t.Errorf("the client is %q, %v; want %s", got, err, principal)
	}
}

func (w *world) wantRefused(t *testing.T, address string, config *tls.Config) {
	t.Helper()
	if got, err := w.who(address, config); err == nil {
		t.Errorf("the client is %q, want its connection closed", got)
	}
}

// metrics reads the principal builder's MBean.
func (w *world) metrics(t *testing.T) map[string]string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "java", "-XX:TieredStopAtLevel=1", filepath.Join("testdata", "ReadMBean.java"),
		strconv.Itoa(w.broker.PID()), "signet.kafka:type=principal-mapping,*").Output()
	if err != nil {
		t.Fatalf("read MBean: %v", err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(out)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		values[name] = value
	}
	return values
}

// within waits until check is true.
func within(t *testing.T, limit time.Duration, what string, check func() bool) {
	t.Helper()
	start := time.Now()
	for !check() {
		if time.Since(start) > limit {
			t.Fatalf("%s: not within %s", what, limit)
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("%s: after %s", what, time.Since(start).Round(100*time.Millisecond))
}

func TestKafkaPrincipals(t *testing.T) {
	w := newWorld(t)
	properties, err := os.ReadFile(filepath.Join(w.broker.Dir, "server.properties"))
	if err != nil {
		t.Fatal(err)
	}
	pid := w.broker.PID()
	orders := w.authority.Client(w.template("CN=orders,OU=shop,O=signet", "spiffe://kafka.signet.dev/user/shop/orders"))
	workload := w.authority.Client(w.template("", "spiffe://cluster.local/ns/shop/sa/orders-sa"))
	legacy := w.foreign.Client(w.template(legacySubject))
	legacy.RootCAs = orders.RootCAs

	t.Run("ThreeKindsOfSubjectAreOnePrincipal", func(t *testing.T) {
		within(t, live, "the mapping file is in force", func() bool {
			who, err := w.who(w.broker.Signet, orders)
			return err == nil && who == "User:shop.orders"
		})
		for _, config := range []*tls.Config{orders, workload, legacy} {
			w.want(t, w.broker.Signet, config, "User:shop.orders")
		}
		// A stock broker knows the two that have a subject. The third is refused there, and never "User:".
		w.want(t, w.broker.Address, orders, "User:shop.orders")
		w.want(t, w.broker.Address, legacy, "User:shop.orders")
		w.wantRefused(t, w.broker.Address, workload)
	})

	for attack, config := range map[string]*tls.Config{
		"AttackStrangerOfTheMesh":            w.authority.Client(w.template("", "spiffe://cluster.local/ns/shop/sa/default")),
		"AttackEmptySubject":                 w.authority.Client(w.template("")),
		"AttackOtherTrustDomain":             w.authority.Client(w.template("", "spiffe://evil.example/user/shop/orders")),
		"AttackTwoSPIFFEIDs":                 w.authority.Client(w.template("", "spiffe://cluster.local/ns/shop/sa/orders-sa", "spiffe://kafka.signet.dev/user/shop/orders")),
		"AttackSubjectOfOneAndIDOfAnother":   w.authority.Client(w.template("CN=kafka,OU=kafka,O=signet-controller", "spiffe://kafka.signet.dev/user/shop/orders")),
		"AttackCommonNameThatImitatesTheRDN": w.authority.Client(&x509.Certificate{Subject: pkix.Name{CommonName: "orders,OU=shop,O=signet"}}),
	} {
		t.Run(attack, func(t *testing.T) { w.wantRefused(t, w.broker.Signet, config) })
	}
	t.Run("AttackNoCertificate", func(t *testing.T) {
		w.wantRefused(t, w.broker.Signet, &tls.Config{RootCAs: orders.RootCAs, MinVersion: tls.VersionTLS12})
	})

	t.Run("ThousandNewUsersWithoutTouchingTheBroker", func(t *testing.T) {
		for i := range 1000 {
			w.record("new", fmt.Sprintf("user-%d", i), "")
		}
		w.write()
		for _, i := range []int{0, 500, 999} {
			name := fmt.Sprintf("user-%d", i)
			w.visible("User:new." + name)
			config := w.authority.Client(w.template("CN="+name+",OU=new,O=signet", "spiffe://kafka.signet.dev/user/new/"+name))
			within(t, live, name+" is mapped", func() bool {
				who, err := w.who(w.broker.Signet, config)
				return err == nil && who == "User:new."+name
			})
			w.want(t, w.broker.Address, config, "User:new."+name)
		}
	})

	t.Run("ChangedFileIsLiveOnNewAndOnOldConnections", func(t *testing.T) {
		old := kadm.NewClient(w.connect(w.broker.Signet, legacy))
		sees := func() bool {
			topics, err := old.ListTopics(t.Context())
			return err == nil && slices.Contains(topics.Names(), "seen-by-shop.orders")
		}
		if !sees() {
			t.Fatal("the legacy client sees nothing before the change")
		}
		w.mappings[0].Spec.ApprovedSubjects = nil
		w.write()
		within(t, live, "the withdrawn subject is refused", func() bool {
			_, err := w.who(w.broker.Signet, legacy)
			return err != nil
		})
		if sees() {
			t.Error("a connection from before the change still has the principal")
		}
		w.mappings[0].Spec.ApprovedSubjects = []string{legacySubject}
		w.write()
		within(t, live, "the subject is back", func() bool {
			who, err := w.who(w.broker.Signet, legacy)
			return err == nil && who == "User:shop.orders"
		})
		if before, err := w.who(w.broker.Signet, orders); err != nil || before != "User:shop.orders" {
			t.Errorf("the other subject of the user is %q, %v", before, err)
		}
	})

	t.Run("BrokenFileChangesNothingAndIsVisible", func(t *testing.T) {
		generation := w.metrics(t)["Generation"]
		if want := strconv.FormatInt(w.generation, 10); generation != want {
			t.Errorf("Generation is %s, want %s", generation, want)
		}
		for name, broken := range map[string]string{"torn": `{"version":1,"exact":{"CN=or`, "empty": "", "another version": `{"version":2}`, "garbage": strings.Repeat("\xff", 4096)} {
			w.broker.Write(mapping.FileName, []byte(broken))
			var seen map[string]string
			within(t, time.Minute, name+" is reported", func() bool {
				seen = w.metrics(t)
				return seen["LastError"] != ""
			})
			if failures, err := strconv.Atoi(seen["Failures"]); err != nil || failures == 0 || seen["Generation"] != generation {
				t.Errorf("%s: %v", name, seen)
			}
			for _, config := range []*tls.Config{orders, workload, legacy} {
				w.want(t, w.broker.Signet, config, "User:shop.orders")
			}
			w.wantRefused(t, w.broker.Signet, w.authority.Client(w.template("CN=stranger,OU=shop,O=other")))
		}
		w.write()
		within(t, time.Minute, "the good file is in force again", func() bool {
			seen := w.metrics(t)
			return seen["LastError"] == "" && seen["Generation"] == strconv.FormatInt(w.generation, 10)
		})
	})

	after, err := os.ReadFile(filepath.Join(w.broker.Dir, "server.properties"))
	if err != nil || string(after) != string(properties) || w.broker.PID() != pid {
		t.Errorf("the broker's configuration or process is another one, %v", err)
	}
}

// TestKafkaFailsClosed holds that a broker that never read a mapping file lets nobody in by it.
func TestKafkaFailsClosed(t *testing.T) {
	jar := os.Getenv("SIGNET_BROKER_JAR")
	if jar == "" {
		t.Fatal("SIGNET_BROKER_JAR must name the jar of broker/")
	}
	w := &world{t: t, cluster: kafka(), authority: kafkatest.NewAuthority(t)}
	w.record("shop", "orders", "")
	w.broker = kafkatest.Start(t, w.authority, kafkatest.Options{Properties: kafkatest.Authorizer + signetBuilder, Signet: true, Jars: []string{jar}})
	w.visible("User:shop.orders")
	orders := w.authority.Client(w.template("CN=orders,OU=shop,O=signet"))
	w.wantRefused(t, w.broker.Signet, orders)
	w.want(t, w.broker.Address, orders, "User:shop.orders")
	if !strings.Contains(string(w.broker.Log()), mapping.FileName) {
		t.Errorf("the broker's log does not name the file:\n%s", w.broker.Log())
	}
	w.write()
	within(t, live, "the file that appeared is in force", func() bool {
		who, err := w.who(w.broker.Signet, orders)
		return err == nil && who == "User:shop.orders"
	})
}
