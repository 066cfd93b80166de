// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

//go:build kafka

package observe

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/access"
	"github.com/signet-kafka/signet/api/applyconfiguration"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/kafkatest"
	"github.com/signet-kafka/signet/principal"
	"github.com/signet-kafka/signet/test/await"
)

// patience is for what a broker does by itself.
const patience = 2 * time.Minute

type identity struct{ config *tls.Config }

func (i identity) TLSConfig(context.Context, *v1alpha1.KafkaCluster) (*tls.Config, error) {
	return i.config, nil
}

// world is a broker, a KafkaCluster of it with authorization, and a KafkaUser that consumes orders.
type world struct {
	t           *testing.T
	broker      *kafkatest.Broker
	cluster     *v1alpha1.KafkaCluster
	user        *v1alpha1.KafkaUser
	connections *access.Connections
	kafka       *kgo.Client
	api         client.Client
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ctrl.SetLogger(logr.Discard())
	a := kafkatest.NewAuthority(t)
	w := &world{t: t, broker: kafkatest.Start(t, a, kafkatest.Options{Properties: kafkatest.Authorizer})}
	w.cluster = testCluster(v1alpha1.ClusterPolicy{})
	w.cluster.UID, w.cluster.Generation = "cluster", 1
	w.cluster.Spec.Admin.Listener = "mtls"
	w.cluster.Spec.Listeners = []v1alpha1.Listener{{Name: "mtls", BootstrapServers: []string{w.broker.Address}, Authentication: v1alpha1.AuthenticationMTLS}}
	w.cluster.Spec.Authorization = &v1alpha1.Authorization{Mode: v1alpha1.AuthorizationHybrid}
	w.user = testUser(func(s *v1alpha1.KafkaUserSpec) { s.Consume = []string{"orders"} })
	w.user.UID, w.user.Generation = "user", 1
	w.user.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionMappingRecorded, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, LastTransitionTime: metav1.Now()}}
	raw, err := principal.ControllerSubject(w.cluster).RawDER()
	w.must(err)
	w.connections = access.NewConnections(identity{a.Client(&x509.Certificate{RawSubject: raw})}, "kubernetes")
	t.Cleanup(w.connections.CloseAll)
	w.kafka, err = w.connections.Client(w.cluster)
	w.must(err)
	t.Cleanup(w.kafka.Close)
	scheme := runtime.NewScheme()
	w.must(v1alpha1.AddToScheme(scheme))
	w.api = fake.NewClientBuilder().WithScheme(scheme).
		WithTypeConverters(applyconfiguration.NewTypeConverter(scheme), managedfields.NewDeducedTypeConverter()).
		WithStatusSubresource(&v1alpha1.KafkaUser{}, &v1alpha1.KafkaCluster{}).WithObjects(w.cluster, w.user).Build()
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// makeTopic makes the topic as brokers do.
func (w *world) makeTopic() {
	w.t.Helper()
	compact := "compact"
	_, err := kadm.NewClient(w.kafka).CreateTopic(w.t.Context(), 3, 1, map[string]*string{"cleanup.policy": &compact}, AccessTopic)
	w.must(err)
}

// write writes uses as a broker would, at a time: "READ TOPIC orders", "?…" tolerated, "!…" denied.
func (w *world) write(who string, when time.Time, lines ...string) {
	w.t.Helper()
	for _, u := range seen(who, lines...) {
		result := Allowed
		switch {
		case u.Tolerated > 0:
			result = Tolerated
		case u.Denied > 0:
			result = Denied
		}
		key, value := entry(Key{u.Access, 1, "client", result}, Sum{1, when, when})
		w.must(w.kafka.ProduceSync(w.t.Context(), &kgo.Record{Topic: AccessTopic, Key: key, Value: value}).FirstErr())
	}
}

// read reads the topic as a command does.
func (w *world) read() (*Graph, error) {
	w.t.Helper()
	connection, err := w.connections.Client(w.cluster, ConsumerOptions()...)
	w.must(err)
	defer connection.Close()
	graph := NewGraph()
	return graph, ReadAll(w.t.Context(), connection, graph)
}

// controller returns one of its own, with its passes.
func (w *world) controller() (pass func() (*v1alpha1.KafkaCluster, *v1alpha1.KafkaUser), registry *prometheus.Registry) {
	w.t.Helper()
	registry = prometheus.NewRegistry()
	metrics, err := NewMetrics(registry)
	w.must(err)
	c := &Controller{Client: w.api, Kafka: w.connections, Metrics: metrics, Period: time.Minute, Now: time.Now}
	key := client.ObjectKeyFromObject(w.cluster)
	w.t.Cleanup(func() { c.stop(key) })
	return func() (*v1alpha1.KafkaCluster, *v1alpha1.KafkaUser) {
		w.t.Helper()
		_, err := c.Reconcile(w.t.Context(), reconcile.Request{NamespacedName: key})
		w.must(err)
		var cluster v1alpha1.KafkaCluster
		var user v1alpha1.KafkaUser
		w.must(w.api.Get(w.t.Context(), key, &cluster))
		w.must(w.api.Get(w.t.Context(), types.NamespacedName{Namespace: w.user.Namespace, Name: w.user.Name}, &user))
		return &cluster, &user
	}, registry
}

// until makes passes until the condition of the KafkaUser has the reason.
func (w *world) until(pass func() (*v1alpha1.KafkaCluster, *v1alpha1.KafkaUser), reason string) *v1alpha1.KafkaUser {
	w.t.Helper()
	var user *v1alpha1.KafkaUser
	await.Until(w.t, patience, "ReadyToEnforce is "+reason, func() (bool, string) {
		var cluster *v1alpha1.KafkaCluster
		cluster, user = pass()
		c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionReadyToEnforce)
		return c != nil && c.Reason == reason, fmt.Sprintf("%+v, the cluster %+v", c, cluster.Status.Conditions)
	})
	return user
}

// TestKafkaObserve drives reading, suggestion, preflight and the controller against a real broker. The records are
// written by the test, in the format of the authorizer.
func TestKafkaObserve(t *testing.T) {
	w := newWorld(t)
	admin, err := w.connections.Admin(w.cluster)
	w.must(err)
	pass, registry := w.controller()

	if _, err := w.read(); !errors.Is(err, ErrNoTopic) {
		t.Errorf("without the topic: %v, want ErrNoTopic", err)
	}
	await.Until(t, patience, "the condition says that there is no topic", func() (bool, string) {
		cluster, user := pass()
		c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionAccessObserved)
		return c != nil && c.Status == metav1.ConditionFalse && c.Message == ErrNoTopic.Error() && user.Status.Observed == nil, fmt.Sprintf("%+v", c)
	})

	w.makeTopic()
	if graph, err := w.read(); err != nil || len(graph.Uses(nil)) != 0 {
		t.Errorf("an empty topic: %v, %v", graph.Uses(nil), err)
	}
	w.until(pass, v1alpha1.ReasonNotSeen)

	// A client without any ACL, under a mode that lets it through.
	now := time.Now().Truncate(time.Millisecond)
	const name = "User:shop.orders"
	w.write(name, now, "?READ TOPIC orders", "?READ TOPIC refunds", "?WRITE TOPIC shop-out", "?READ GROUP shop.workers", "?READ GROUP legacy", "!CREATE CLUSTER kafka-cluster")
	w.write("User:bank.ledger", now, "READ TOPIC orders")
	w.must(w.kafka.ProduceSync(t.Context(), &kgo.Record{Topic: AccessTopic, Key: []byte("?"), Value: []byte("!")}, &kgo.Record{Topic: AccessTopic, Key: []byte("{}")}).FirstErr())
	forgotten, value := entry(Key{Access{"User:gone", "TOPIC", "x", "READ"}, 1, "", Allowed}, Sum{1, now, now})
	w.must(w.kafka.ProduceSync(t.Context(), &kgo.Record{Topic: AccessTopic, Key: forgotten, Value: value}, &kgo.Record{Topic: AccessTopic, Key: forgotten}).FirstErr())
	// A committed transaction ends its partitions with a marker, which is no record: the end is still found.
	transactional, err := w.connections.Client(w.cluster, kgo.TransactionalID("test"))
	w.must(err)
	defer transactional.Close()
	w.must(transactional.BeginTransaction())
	key, value := entry(Key{Access{"User:bank.ledger", "TOPIC", "orders", "READ"}, 2, "", Allowed}, Sum{41, now, now})
	w.must(transactional.ProduceSync(t.Context(), &kgo.Record{Topic: AccessTopic, Key: key, Value: value}).FirstErr())
	w.must(transactional.EndTransaction(t.Context(), kgo.TryCommit))

	graph, err := w.read()
	w.must(err)
	if size := graph.Size(); size.Malformed != 2 || size.Dropped != 0 || size.Records != 8 {
		t.Errorf("%+v", size)
	}
	by := ByPrincipal(graph.Uses(nil))
	if ledger := by["User:bank.ledger"]; len(ledger) != 1 || ledger[0].Allowed != 42 || len(by) != 2 || len(by[name]) != 6 {
		t.Errorf("%+v", by)
	}
	if user := w.until(pass, v1alpha1.ReasonWouldBeDenied); user.Status.Observed.WouldBeDenied != 5 || user.Status.Observed.Authorization != v1alpha1.Audited || !user.Status.Observed.LastSeen.Equal(&metav1.Time{Time: now.Truncate(time.Second)}) {
		t.Errorf("%+v", user.Status.Observed)
	}

	// What is suggested, and granted by Kafka, makes preflight empty.
	since := now.Add(-time.Hour)
	preflight := func() (names []string) {
		t.Helper()
		acls, err := admin.Describe(t.Context())
		w.must(err)
		graph, err := w.read()
		w.must(err)
		for _, u := range WouldBeDenied(ByPrincipal(graph.Uses(nil))[name], access.NewRules(acls), since, func(string) bool { return false }) {
			names = append(names, u.Name)
		}
		return names
	}
	if got := preflight(); !slices.Equal(got, []string{"legacy", "shop.workers", "orders", "refunds", "shop-out"}) {
		t.Errorf("before: %q", got)
	}
	suggestion := Suggest(by[name], w.user, w.cluster, Existing{Topics: []string{"orders", "refunds", "shop-out"}, Complete: true}, since)
	if got := fmt.Sprintf("%q %q %q %q", suggestion.Consume, suggestion.Produce, suggestion.Admin, suggestion.ConsumerGroups); got != `["orders" "refunds"] ["shop-out"] [] ["legacy"]` || len(suggestion.Notes) != 0 {
		t.Errorf("suggested %s, %q", got, suggestion.Notes)
	}
	applied := w.user.DeepCopy()
	suggestion.Apply(applied)
	grants := access.Grants(applied, w.cluster, access.Facts{})
	w.must(admin.Apply(t.Context(), access.Diff(map[string]access.Bindings{name: grants}, nil, nil)))
	await.Until(t, patience, "preflight is empty", func() (bool, string) { got := preflight(); return len(got) == 0, strings.Join(got, ", ") })
	w.until(pass, v1alpha1.ReasonNothingDenied)

	// A right that goes is missed although the client was allowed it so far.
	w.write(name, now.Add(time.Second), "READ TOPIC refunds")
	suggestion.Consume = []string{"orders"}
	suggestion.Apply(applied)
	held, err := admin.Describe(t.Context(), name)
	w.must(err)
	less := access.Grants(applied, w.cluster, access.Facts{})
	w.must(admin.Apply(t.Context(), access.Diff(map[string]access.Bindings{name: less}, held, nil)))
	user := w.until(pass, v1alpha1.ReasonWouldBeDenied)
	if c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionReadyToEnforce); !strings.Contains(c.Message, "READ on topic refunds") {
		t.Errorf("%s", c.Message)
	}

	// Another controller, from nothing, comes to the same; and follows on after the broker was killed.
	again, _ := w.controller()
	if rebuilt := w.until(again, v1alpha1.ReasonWouldBeDenied); rebuilt.ResourceVersion != user.ResourceVersion {
		t.Errorf("a controller that starts writes\n%+v\nwhere there was\n%+v", rebuilt.Status, user.Status)
	}
	w.broker.Kill()
	w.broker.Start()
	w.must(w.api.Get(t.Context(), client.ObjectKeyFromObject(w.user), w.user))
	w.must(admin.Apply(t.Context(), access.Diff(map[string]access.Bindings{name: grants}, nil, nil)))
	w.write(name, now.Add(2*time.Hour), "READ TOPIC refunds")
	w.until(again, v1alpha1.ReasonNothingDenied)
	await.Until(t, patience, "the last access after the restart is seen", func() (bool, string) {
		_, user := again()
		return user.Status.Observed.LastSeen.Equal(&metav1.Time{Time: now.Add(2 * time.Hour).Truncate(time.Second)}), fmt.Sprintf("%+v", user.Status.Observed)
	})

	count, err := testutil.GatherAndCount(registry)
	if err != nil || count != 6 {
		t.Errorf("%d series, %v", count, err)
	}
	// Without authorization nothing is said any more.
	var cluster v1alpha1.KafkaCluster
	w.must(w.api.Get(t.Context(), client.ObjectKeyFromObject(w.cluster), &cluster))
	cluster.Spec.Authorization = nil
	w.must(w.api.Update(t.Context(), &cluster))
	after, bare := pass()
	if meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionAccessObserved) != nil || bare.Status.Observed != nil || meta.FindStatusCondition(bare.Status.Conditions, v1alpha1.ConditionReadyToEnforce) != nil {
		t.Errorf("%+v\n%+v", after.Status, bare.Status)
	}
	if count, err := testutil.GatherAndCount(registry); err != nil || count != 0 {
		t.Errorf("%d series without authorization, %v", count, err)
	}
}
