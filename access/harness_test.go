// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"crypto/tls"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/api/applyconfiguration"
	"github.com/signet-kafka/signet/api/v1alpha1"
)

// adminTLS is an AdminTLS that answers what it was told to.
type adminTLS struct {
	mu     sync.Mutex
	config *tls.Config
	err    error
}

func (a *adminTLS) TLSConfig(context.Context, *v1alpha1.KafkaCluster) (*tls.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config, a.err
}

// answer sets what it answers from now on.
func (a *adminTLS) answer(config *tls.Config, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config, a.err = config, err
}

// harness runs the three controllers against one Kafka and an API server in memory.
type harness struct {
	t        *testing.T
	ctx      context.Context
	api      client.Client
	events   *events.FakeRecorder
	users    *UserController
	clusters *ClusterController
	topics   *TopicController
	cluster  types.NamespacedName
	now      time.Time
	// real tells that the Kafka is a real one, and says no to what it cannot mean.
	real bool

	identity  AdminTLS
	bootstrap []string
}

// beside returns a harness for the Signet of another Kubernetes cluster with the same Kafka.
func (h *harness) beside(kubernetes string) *harness {
	h.t.Helper()
	other := newHarness(h.t, h.identity, h.bootstrap)
	other.users.Connections.kubernetes = kubernetes
	return other
}

func newHarness(t *testing.T, identity AdminTLS, bootstrap []string) *harness {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cluster := newCluster(v1alpha1.ClusterPolicy{})
	cluster.Spec.NamespaceSelector.MatchLabels = map[string]string{"kafka": "yes"}
	cluster.Spec.Listeners[0].BootstrapServers = bootstrap
	namespace := func(name string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"kafka": "yes"}}}
	}
	ctx, cancel := context.WithTimeout(ctrl.LoggerInto(context.Background(), logr.Discard()), 5*time.Minute)
	h := &harness{
		t: t, ctx: ctx,
		api: fake.NewClientBuilder().WithScheme(scheme).
			WithTypeConverters(applyconfiguration.NewTypeConverter(scheme), managedfields.NewDeducedTypeConverter()).
			WithStatusSubresource(&v1alpha1.KafkaUser{}, &v1alpha1.KafkaCluster{}, &v1alpha1.KafkaTopic{}).
			WithObjects(cluster, namespace("shop"), namespace("bank"), namespace("kafka")).Build(),
		events:  events.NewFakeRecorder(10000),
		cluster: client.ObjectKeyFromObject(cluster),
		now:     time.Unix(1_800_000_000, 0),

		identity: identity, bootstrap: bootstrap,
	}
	connections := NewConnections(identity, "this-kubernetes")
	clock := func() time.Time { return h.now }
	h.users = &UserController{Client: h.api, Connections: connections, Events: h.events, Period: 5 * time.Minute, Now: clock}
	h.clusters = &ClusterController{Client: h.api, Connections: connections, Events: h.events, Period: time.Minute, Now: clock}
	h.topics = &TopicController{Client: h.api, Connections: connections, Events: h.events, Period: 5 * time.Minute, Now: clock}
	t.Cleanup(func() { connections.CloseAll(); cancel() })
	return h
}

func (h *harness) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

// user creates a KafkaUser whose principal is recorded.
func (h *harness) user(namespace, name string, spec v1alpha1.KafkaUserSpec) *v1alpha1.KafkaUser {
	h.t.Helper()
	spec.ClusterRef = v1alpha1.ClusterReference{Namespace: h.cluster.Namespace, Name: h.cluster.Name}
	user := &v1alpha1.KafkaUser{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + namespace + "-" + name), Generation: 1}, Spec: spec}
	h.must(h.api.Create(h.ctx, user))
	h.record(user, metav1.ConditionTrue, v1alpha1.ReasonReady)
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
	return user
}

func (h *harness) record(user *v1alpha1.KafkaUser, status metav1.ConditionStatus, reason string) {
	h.t.Helper()
	h.must(h.api.Get(h.ctx, client.ObjectKeyFromObject(user), user))
	meta.SetStatusCondition(&user.Status.Conditions, recorded(status, reason, user.Generation))
	h.must(h.api.Status().Update(h.ctx, user))
}

// edit changes a KafkaUser's declaration, and has its principal recorded for it.
func (h *harness) edit(user *v1alpha1.KafkaUser, change func(*v1alpha1.KafkaUserSpec)) {
	h.t.Helper()
	h.must(h.api.Get(h.ctx, client.ObjectKeyFromObject(user), user))
	change(&user.Spec)
	user.Generation++
	h.must(h.api.Update(h.ctx, user))
	h.record(user, metav1.ConditionTrue, v1alpha1.ReasonReady)
	h.users.backlog.add(h.cluster, client.ObjectKeyFromObject(user))
}

// pass makes one pass over the cluster's users and returns when the next is due.
func (h *harness) pass() time.Duration {
	h.t.Helper()
	result, err := h.users.Reconcile(h.ctx, reconcile.Request{NamespacedName: h.cluster})
	h.must(err)
	return result.RequeueAfter
}

// fullPass makes one over all users, as if drift were due.
func (h *harness) fullPass() {
	h.t.Helper()
	h.users.backlog.addAll(h.cluster)
	h.pass()
}

// synced returns the condition AccessSynced.
func (h *harness) synced(user *v1alpha1.KafkaUser) metav1.Condition {
	h.t.Helper()
	h.must(h.api.Get(h.ctx, client.ObjectKeyFromObject(user), user))
	c := meta.FindStatusCondition(user.Status.Conditions, v1alpha1.ConditionAccessSynced)
	if c == nil {
		return metav1.Condition{}
	}
	if c.ObservedGeneration != user.Generation {
		h.t.Errorf("AccessSynced is of generation %d, the KafkaUser of %d", c.ObservedGeneration, user.Generation)
	}
	return *c
}

// wantSynced holds that the condition has the reason, and Kafka exactly the bindings that user declares.
func (h *harness) wantSynced(user *v1alpha1.KafkaUser) {
	h.t.Helper()
	c := h.synced(user)
	if c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonReady {
		h.t.Errorf("AccessSynced of %s: %s %s: %s", user.Name, c.Status, c.Reason, c.Message)
	}
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	want := sorted(Grants(user, &cluster, Facts{}))
	h.wantHeld("User:"+user.Namespace+"."+user.Name, want)
	if user.Status.ACLs == nil || int(*user.Status.ACLs) != len(want) {
		h.t.Errorf("status.acls of %s: %v, want %d", user.Name, user.Status.ACLs, len(want))
	}
}

func (h *harness) wantReason(user *v1alpha1.KafkaUser, reason string) metav1.Condition {
	h.t.Helper()
	c := h.synced(user)
	if c.Status != metav1.ConditionFalse || c.Reason != reason {
		h.t.Errorf("AccessSynced of %s: %s %s: %s, want reason %s", user.Name, c.Status, c.Reason, c.Message, reason)
	}
	return c
}

func (h *harness) admin() *Admin {
	h.t.Helper()
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	admin, err := h.users.Connections.Admin(&cluster)
	h.must(err)
	return admin
}

// held returns a principal's bindings in Kafka, sorted.
func (h *harness) held(principal string) []Binding {
	h.t.Helper()
	bindings, err := h.admin().Describe(h.ctx, principal)
	h.must(err)
	slices.SortFunc(bindings, compare)
	return bindings
}

// all returns every principal's bindings in Kafka, without the one by which Signet claims it.
func (h *harness) all() []Binding {
	h.t.Helper()
	bindings, err := h.admin().Describe(h.ctx)
	h.must(err)
	return slices.DeleteFunc(bindings, func(b Binding) bool { return b.ResourceName == claimTopic })
}

// wantHeld holds that a principal has exactly these bindings, as soon as every broker knows.
func (h *harness) wantHeld(principal string, want []Binding) {
	h.t.Helper()
	want = slices.Clone(want)
	slices.SortFunc(want, compare)
	var got []Binding
	if !h.eventually(func() bool { got = h.held(principal); return slices.Equal(got, want) }) {
		h.t.Errorf("%s holds\n%v\nwant\n%v", principal, got, want)
	}
}

// eventually waits for a condition that brokers come to on their own, and fails the test where they do not.
func (h *harness) eventually(condition func() bool) bool {
	h.t.Helper()
	for range 200 {
		if condition() {
			return true
		}
		time.Sleep(50 * time.Millisecond)
	}
	h.t.Error("did not come true in time")
	return false
}

// gone tells whether an object does not exist any more.
func (h *harness) gone(o client.Object) bool {
	h.t.Helper()
	err := h.api.Get(h.ctx, client.ObjectKeyFromObject(o), o)
	h.must(client.IgnoreNotFound(err))
	return err != nil
}

func (h *harness) ask() metav1.Condition {
	h.t.Helper()
	_, err := h.clusters.Reconcile(h.ctx, reconcile.Request{NamespacedName: h.cluster})
	h.must(err)
	var cluster v1alpha1.KafkaCluster
	h.must(h.api.Get(h.ctx, h.cluster, &cluster))
	c := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionReachable)
	if c == nil {
		h.t.Fatal("no condition Reachable")
	}
	return *c
}

// topic reconciles a KafkaTopic, as often as it is pending, and returns its condition Ready.
func (h *harness) topic(topic *v1alpha1.KafkaTopic) metav1.Condition {
	h.t.Helper()
	var ready metav1.Condition
	h.eventually(func() bool {
		_, err := h.topics.Reconcile(h.ctx, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(topic)})
		h.must(err)
		if h.gone(topic) {
			ready = metav1.Condition{}
			return true
		}
		if c := meta.FindStatusCondition(topic.Status.Conditions, v1alpha1.ConditionReady); c != nil {
			ready = *c
		}
		return ready.Reason != v1alpha1.ReasonPending
	})
	return ready
}
