// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package authorizer

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal"
)

// The tests of this file start a real broker with Signet's authorizer, in KRaft's combined mode: one for the broker, one
// for the controller. They need java, in SIGNET_KAFKA_LIBS the directory with Kafka's jars, and in SIGNET_BROKER_JAR the
// jar of broker/: go run ./test/run -only kafka

const (
	accessTopic = "__signet_access"
	auditTopic  = "__signet_audit"
	// flush is how often the access log is written.
	flush = 500 * time.Millisecond
	// patience is how long brokers may take for what they do by themselves.
	patience = 2 * time.Minute
)

const properties = `authorizer.class.name=dev.signet.kafka.broker.SignetAuthorizer
allow.everyone.if.no.acl.found=false
super.users=User:broker;User:signet:kafka.kafka
signet.authorization.file={dir}/authorization.json
signet.authorization.poll.ms=200
signet.metrics.address=localhost:%d
signet.access.flush.ms=500
signet.access.producer.bootstrap.servers={address}
signet.access.producer.security.protocol=SSL
signet.access.producer.ssl.keystore.type=PEM
signet.access.producer.ssl.keystore.location={dir}/keystore.pem
signet.access.producer.ssl.truststore.type=PEM
signet.access.producer.ssl.truststore.location={dir}/ca.pem
`

// world is a broker and its clients.
type world struct {
	t          *testing.T
	authority  *kafkatest.Authority
	broker     *kafkatest.Broker
	metrics    int
	generation int
}

func newWorld(t *testing.T) *world {
	jar := os.Getenv("SIGNET_BROKER_JAR")
	if jar == "" {
		t.Fatal("SIGNET_BROKER_JAR must name the jar of broker/")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, authority: kafkatest.NewAuthority(t), metrics: l.Addr().(*net.TCPAddr).Port}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	w.broker = kafkatest.Start(t, w.authority, kafkatest.Options{Properties: fmt.Sprintf(properties, w.metrics), Jars: []string{jar}})
	return w
}

// authorize writes authorization.json: its mode, and what else it says.
func (w *world) authorize(mode, enforced, audited string) {
	w.t.Helper()
	w.generation++
	w.broker.Write("authorization.json", []byte(fmt.Sprintf(
		`{"version":1,"cluster":"kafka/kafka","generation":%d,"mode":"%s","enforced":[%s],"audited":[%s],"people":"User:people\\.[a-z]+"}`,
		w.generation, mode, enforced, audited)))
}

// client connects as a KafkaUser, or as Signet itself.
func (w *world) client(t *testing.T, namespace, name string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	organization := "signet"
	if namespace == "kafka" {
		organization = "signet-controller"
	}
	raw, err := principal.UserSubject{Namespace: namespace, Name: name, Organization: organization}.RawDER()
	if err != nil {
		t.Fatal(err)
	}
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(w.broker.Address), kgo.DialTLSConfig(w.authority.Client(&x509.Certificate{RawSubject: raw})), kgo.ClientID(name),
		kgo.RetryTimeout(30 * time.Second), kgo.MetadataMinAge(10 * time.Millisecond), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		// The broker is killed in between; a record that has failed is not sent again behind the test's back.
		kgo.RecordDeliveryTimeout(30 * time.Second), kgo.UnknownTopicRetries(50),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func (w *world) admin(t *testing.T) *kadm.Client {
	t.Helper()
	return kadm.NewClient(w.client(t, "kafka", "kafka"))
}

// produce sends a record in a request of its own.
func produce(t *testing.T, c *kgo.Client, topic string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte("x")}).FirstErr()
}

// within waits until check is true.
func within(t *testing.T, what string, check func() bool) {
	t.Helper()
	for start := time.Now(); !check(); time.Sleep(100 * time.Millisecond) {
		if time.Since(start) > patience {
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}

func denied(err error) bool {
	return errors.Is(err, kerr.TopicAuthorizationFailed) || errors.Is(err, kerr.ClusterAuthorizationFailed)
}

// inForce waits until the broker has the authorization.json that was written last, and the controller with it.
func (w *world) inForce(t *testing.T) {
	t.Helper()
	within(t, "authorization.json is in force", func() bool {
		m := w.scrape(t)
		generation := strconv.Itoa(w.generation)
		return m[`signet_authorization_generation{role="broker"}`] == generation && m[`signet_authorization_generation{role="controller"}`] == generation
	})
}

// scrape reads the metrics as Prometheus does: value by name and labels.
func (w *world) scrape(t *testing.T) map[string]string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://localhost:%d/metrics", w.metrics), nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(text)) {
		if end := strings.LastIndexByte(line, ' '); !strings.HasPrefix(line, "#") && end > 0 {
			values[line[:end]] = strings.TrimSuffix(line[end+1:], "\n")
		}
	}
	return values
}

// access is the key of a record of the access log.
type access struct {
	V                                                        int
	Node                                                     int32
	Principal, ClientID, Type, Name, Operation, Result, Host string
	Time                                                     int64
}

type counts struct{ V, Count, First, Last int64 }

// records reads a topic from its beginning to its present end.
func (w *world) records(t *testing.T, topic string) []*kgo.Record {
	t.Helper()
	admin := w.admin(t)
	ends, err := admin.ListEndOffsets(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	if ends.Error() != nil { // It is not there yet.
		return nil
	}
	left := map[int32]int64{}
	offsets := map[string]map[int32]kgo.Offset{topic: {}}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
			offsets[topic][o.Partition] = kgo.NewOffset().AtStart()
		}
	})
	reader := w.client(t, "kafka", "kafka", kgo.ConsumePartitions(offsets))
	defer reader.Close()
	var records []*kgo.Record
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for len(left) > 0 {
		fetches := reader.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatal(err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			records = append(records, r)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return records
}

// log reads the access log: the newest value of each key.
func (w *world) log(t *testing.T) map[access]counts {
	t.Helper()
	all := map[access]counts{}
	for _, r := range w.records(t, accessTopic) {
		var key access
		var value counts
		if err := errors.Join(json.Unmarshal(r.Key, &key), json.Unmarshal(r.Value, &value)); err != nil {
			t.Fatalf("%s %s: %v", r.Key, r.Value, err)
		}
		if value.Count < all[key].Count {
			t.Errorf("the count of %s goes down from %d to %d", r.Key, all[key].Count, value.Count)
		}
		if key.V != 1 || value.V != 1 || value.First > value.Last || value.First < 1_700_000_000_000 {
			t.Errorf("%s %s", r.Key, r.Value)
		}
		all[key] = value
	}
	return all
}

// ordersAccess is the key of what a user does to the topic orders.
func ordersAccess(user, operation, result string) access {
	_, client, _ := strings.Cut(user, ".")
	return access{V: 1, Node: 1, Principal: "User:" + user, ClientID: client, Type: "TOPIC", Name: "orders", Operation: operation, Result: result}
}

// logged waits until the access log has a count of an access, and returns the last that it saw.
func (w *world) logged(t *testing.T, key access, atLeast int64) int64 {
	t.Helper()
	var count int64
	within(t, fmt.Sprintf("%+v has a count of at least %d", key, atLeast), func() bool {
		count = w.log(t)[key].Count
		return count >= atLeast
	})
	return count
}

func TestKafkaAuthorizer(t *testing.T) {
	w := newWorld(t)
	admin := w.admin(t)
	if _, err := admin.CreateTopics(t.Context(), 1, 1, nil, "orders", "payments"); err != nil {
		t.Fatal(err)
	}
	orders, other := w.client(t, "shop", "orders"), w.client(t, "shop", "other")

	t.Run("NothingWasReadYet", func(t *testing.T) {
		if err := produce(t, orders, "orders"); !denied(err) {
			t.Errorf("produce without authorization.json: %v", err)
		}
		if out := w.broker.Log(); !regexp.MustCompile(`ERROR .*authorization.json: cannot be read.* No good file was ever read`).Match(out) {
			t.Errorf("the log does not say it:\n%s", out)
		}
		if m := w.scrape(t); m[`signet_authorization_generation{role="broker"}`] != "0" || m[`signet_authorization_mode{role="broker"}`] != "2" {
			t.Error(m)
		}
	})

	t.Run("AuditLetsThroughAndRecords", func(t *testing.T) {
		w.authorize("Audit", "", "")
		w.inForce(t)
		for range 7 {
			if err := produce(t, orders, "orders"); err != nil {
				t.Fatal(err)
			}
		}
		group := w.client(t, "shop", "reader", kgo.ConsumerGroup("shop"), kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		if fetches := group.PollFetches(ctx); fetches.Err0() != nil || fetches.NumRecords() == 0 {
			t.Fatalf("consume: %v", fetches.Errors())
		}
		if count := w.logged(t, ordersAccess("shop.orders", "WRITE", "tolerated"), 7); count != 7 {
			t.Errorf("%d writes were counted, want 7", count)
		}
		w.logged(t, ordersAccess("shop.reader", "READ", "tolerated"), 1)
		w.logged(t, access{V: 1, Node: 1, Principal: "User:shop.reader", ClientID: "reader", Type: "GROUP", Name: "shop", Operation: "READ", Result: "tolerated"}, 1)
		// A client does not write where it cannot see the topic.
		w.logged(t, ordersAccess("shop.orders", "DESCRIBE", "denied"), 1)
		within(t, "the scrape has the count", func() bool {
			return w.scrape(t)[`signet_authorizer_decisions_total{role="broker",principal="User:shop.orders",resource_type="TOPIC",resource_name="orders",operation="WRITE",authorized="false",effective="allowed"}`] == "7"
		})
	})

	t.Run("ListingIsNoAccess", func(t *testing.T) {
		lister := kadm.NewClient(w.client(t, "shop", "lister"))
		topics, err := lister.ListTopics(t.Context())
		if err != nil || !topics.Has("orders") || !topics.Has("payments") {
			t.Errorf("%v, %v", topics.Names(), err)
		}
		// Behind the listing, so that it is written no sooner.
		if err := produce(t, w.client(t, "shop", "lister"), "orders"); err != nil {
			t.Fatal(err)
		}
		w.logged(t, ordersAccess("shop.lister", "WRITE", "tolerated"), 1)
		for key := range w.log(t) {
			if key.Principal == "User:shop.lister" && key.Name != "orders" {
				t.Errorf("a listing was recorded: %+v", key)
			}
			if key.Name == "hardcode" {
				t.Errorf("Kafka's probe was recorded: %+v", key)
			}
		}
	})

	t.Run("ClusterAndConfigurationsAreEnforcedInAudit", func(t *testing.T) {
		stranger := kadm.NewClient(w.client(t, "shop", "stranger"))
		acls := kadm.NewACLs().Allow("User:shop.stranger").AllowHosts("*").Topics("orders").Operations(kadm.OpAll).ResourcePatternType(kadm.ACLPatternLiteral)
		created, err := stranger.CreateACLs(t.Context(), acls)
		if err == nil {
			err = created[0].Err
		}
		if !denied(err) {
			t.Errorf("create an ACL: %v", err)
		}
		retention := "1"
		altered, err := stranger.AlterTopicConfigs(t.Context(), []kadm.AlterConfig{{Name: "retention.ms", Value: &retention}}, "orders")
		if err == nil {
			err = altered[0].Err
		}
		if !denied(err) {
			t.Errorf("alter a topic's configuration: %v", err)
		}
		brokers, err := stranger.AlterBrokerConfigs(t.Context(), []kadm.AlterConfig{{Name: "log.retention.ms", Value: &retention}}, 1)
		if err == nil {
			err = brokers[0].Err
		}
		if !denied(err) {
			t.Errorf("alter a broker's configuration: %v", err)
		}
		// What a Kafka without ACLs lets everybody do goes on.
		if made, err := stranger.CreateTopics(t.Context(), 1, 1, nil, "stranger"); err != nil || made["stranger"].Err != nil {
			t.Errorf("create a topic: %v, %v", err, made["stranger"].Err)
		}
	})

	t.Run("HybridDeniesOnlyTheEnforced", func(t *testing.T) {
		w.authorize("Hybrid", `"User:shop.orders"`, "")
		w.inForce(t)
		if err := produce(t, orders, "orders"); !denied(err) {
			t.Errorf("the enforced one: %v", err)
		}
		if err := produce(t, other, "orders"); err != nil {
			t.Errorf("the other: %v", err)
		}
		acls := kadm.NewACLs().Allow("User:shop.orders").AllowHosts("*").Topics("ord").Operations(kadm.OpWrite).ResourcePatternType(kadm.ACLPatternPrefixed)
		if created, err := admin.CreateACLs(t.Context(), acls); err != nil || created[0].Err != nil {
			t.Fatal(err, created)
		}
		within(t, "the ACL is in force", func() bool { return produce(t, orders, "orders") == nil })
		if err := produce(t, orders, "payments"); !denied(err) {
			t.Errorf("what no ACL allows: %v", err)
		}
		w.logged(t, ordersAccess("shop.orders", "WRITE", "allowed"), 1)
		w.authorize("Hybrid", `"User:shop.other"`, "")
		w.inForce(t)
		if err := produce(t, orders, "payments"); err != nil {
			t.Errorf("the one that is enforced no more: %v", err)
		}
		if err := produce(t, other, "orders"); !denied(err) {
			t.Errorf("the one that is enforced now: %v", err)
		}
	})

	t.Run("BrokenFileChangesNothing", func(t *testing.T) {
		w.broker.Write("authorization.json", []byte(`{"version":1,"mode":"Audit"`))
		within(t, "the failure is counted", func() bool {
			return w.scrape(t)[`signet_authorization_failures_total{role="broker"}`] != "0"
		})
		if err := produce(t, other, "orders"); !denied(err) {
			t.Errorf("the enforced one: %v", err)
		}
	})

	t.Run("EnforceDeniesAllButTheAudited", func(t *testing.T) {
		w.authorize("Enforce", "", `"User:shop.other"`)
		w.inForce(t)
		if err := produce(t, w.client(t, "shop", "third"), "orders"); !denied(err) {
			t.Errorf("anybody: %v", err)
		}
		if err := produce(t, other, "orders"); err != nil {
			t.Errorf("the audited one: %v", err)
		}
		if err := produce(t, orders, "orders"); err != nil {
			t.Errorf("the one with an ACL: %v", err)
		}
	})

	t.Run("PeopleAreEvents", func(t *testing.T) {
		w.authorize("Audit", "", "")
		w.inForce(t)
		ann := w.client(t, "people", "ann")
		for range 3 {
			if err := produce(t, ann, "orders"); err != nil {
				t.Fatal(err)
			}
		}
		var events []access
		within(t, "the events are there", func() bool {
			events = nil
			for _, r := range w.records(t, auditTopic) {
				var e access
				if err := json.Unmarshal(r.Value, &e); err != nil || string(r.Key) != e.Principal {
					t.Fatalf("%s %s: %v", r.Key, r.Value, err)
				}
				if e.Operation == "WRITE" {
					events = append(events, e)
				}
			}
			return len(events) >= 3
		})
		for _, e := range events {
			want := ordersAccess("people.ann", "WRITE", "tolerated")
			want.Time, want.Host = e.Time, e.Host
			if e != want || e.Time < 1_700_000_000_000 || net.ParseIP(e.Host) == nil {
				t.Errorf("%+v", e)
			}
		}
		if len(events) != 3 {
			t.Errorf("%d events, want 3", len(events))
		}
		w.logged(t, ordersAccess("people.ann", "WRITE", "tolerated"), 3)
	})

	t.Run("LogDoesNotFeedOnItself", func(t *testing.T) {
		end := func() int64 {
			ends, err := admin.ListEndOffsets(t.Context(), accessTopic)
			if err != nil {
				t.Fatal(err)
			}
			var sum int64
			ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
			return sum
		}
		within(t, "nothing is written while nobody does anything", func() bool {
			before := end()
			time.Sleep(6 * flush)
			return end() == before
		})
	})

	t.Run("KilledBrokerLosesAFlushAtMost", func(t *testing.T) {
		key := ordersAccess("shop.counted", "WRITE", "tolerated")
		counted := w.client(t, "shop", "counted")
		send := func(requests int) {
			for range requests {
				if err := produce(t, counted, "orders"); err != nil {
					t.Fatal(err)
				}
			}
		}
		send(50)
		if count := w.logged(t, key, 50); count != 50 {
			t.Fatalf("%d were counted, want 50", count)
		}
		first := w.log(t)[key].First
		send(20)
		w.broker.Kill()
		// The restarted broker compares its index with Kafka's own answers.
		text, err := os.ReadFile(filepath.Join(w.broker.Dir, "server.properties"))
		if err != nil {
			t.Fatal(err)
		}
		w.broker.Write("server.properties", append(text, "signet.authorizer.index=shadow\n"...))
		w.broker.Start()
		w.inForce(t)
		counted = w.client(t, "shop", "counted")
		send(10)
		count := w.logged(t, key, 60)
		t.Logf("%d of 80 were counted", count)
		if count > 80 {
			t.Errorf("%d were counted, more than there were", count)
		}
		if now := w.log(t)[key].First; now != first {
			t.Errorf("it was first seen at %d, and now at %d", first, now)
		}
	})

	t.Run("ShadowFindsNoDifference", func(t *testing.T) {
		w.authorize("Hybrid", `"User:shop.orders"`, "")
		w.inForce(t)
		orders, other := w.client(t, "shop", "orders"), w.client(t, "shop", "other")
		if err := produce(t, orders, "orders"); err != nil {
			t.Errorf("the enforced one with an ACL: %v", err)
		}
		if err := produce(t, orders, "payments"); !denied(err) {
			t.Errorf("the enforced one without an ACL: %v", err)
		}
		if err := produce(t, other, "payments"); err != nil {
			t.Errorf("the other: %v", err)
		}
		m := w.scrape(t)
		for _, role := range []string{"broker", "controller"} {
			if got := m[`signet_index_differences_total{role="`+role+`"}`]; got != "0" {
				t.Errorf("%s differences in the %s", got, role)
			}
		}
	})

	t.Run("StopsWhenTold", func(t *testing.T) {
		if err := syscall.Kill(w.broker.PID(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		within(t, "the broker has ended", func() bool {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", w.broker.PID()))
			if err != nil {
				t.Fatal(err)
			}
			// It is a zombie until the clean-up waits for it.
			return bytes.Contains(stat, []byte(") Z "))
		})
		if out := w.broker.Log(); bytes.Contains(out, []byte("dev.signet.kafka.broker.SignetAuthorizer.close")) {
			t.Errorf("closing the authorizer failed:\n%s", out)
		}
	})
}
