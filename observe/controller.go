// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package observe

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/signet-kafka/signet/access"
	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
	"github.com/signet-kafka/signet/principal"
)

const (
	fieldOwner = client.FieldOwner("signet-observe")
	// clustersAtOnce bounds how many clusters are judged at the same time.
	clustersAtOnce = 16
	// writesAtOnce and writesInPass bound the writes to the API server: at once, and until the next pass.
	writesAtOnce, writesInPass = 8, 200
	// nextPass is when a pass goes on that had more to write.
	nextPass = time.Second
	// userDelay gathers changes of KafkaUsers into one pass.
	userDelay = 2 * time.Second
	// shortestRest and longestRest are how long to rest before a log is opened again that could not be read.
	shortestRest, longestRest = 2 * time.Second, time.Minute
)

// Kafka is how the Controller reaches a KafkaCluster.
type Kafka interface {
	// Client returns a connection, for the caller to close.
	Client(cluster *v1alpha1.KafkaCluster, options ...kgo.Opt) (*kgo.Client, error)
	// Admin returns the connection that is kept for administration.
	Admin(cluster *v1alpha1.KafkaCluster) (*access.Admin, error)
}

// Controller follows the access log of each KafkaCluster with authorization. It writes the condition AccessObserved of
// KafkaClusters, and status.observed and the condition ReadyToEnforce of their KafkaUsers.
type Controller struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Kafka connects to the clusters.
	Kafka Kafka
	// Metrics of the logs.
	Metrics *Metrics
	// Period between two comparisons of what was observed with the ACLs.
	Period time.Duration
	// Now is the clock.
	Now func() time.Time

	mu      sync.Mutex
	readers map[types.NamespacedName]*reader
}

// SetupWithManager registers the controller.
func (r *Controller) SetupWithManager(mgr ctrl.Manager) error {
	// Readers live longer than the requests that open them, and no longer than the manager.
	closing := manager.RunnableFunc(func(ctx context.Context) error {
		<-ctx.Done()
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, open := range r.readers {
			open.close()
		}
		return nil
	})
	if err := mgr.Add(closing); err != nil {
		return err
	}
	return ctrl.NewControllerManagedBy(mgr).Named("kafkacluster-observe").
		For(&v1alpha1.KafkaCluster{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.KafkaUser{}, userHandler(), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: clustersAtOnce}).
		Complete(r)
}

func userHandler() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	add := func(o client.Object, q queue) {
		ref := o.(*v1alpha1.KafkaUser).Spec.ClusterRef.In(o.GetNamespace())
		q.AddAfter(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}}, userDelay)
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { add(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) { add(e.ObjectNew, q) },
	}
}

// Reconcile sees to one KafkaCluster's reader, and compares what it read with the ACLs.
func (r *Controller) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, req.NamespacedName, &cluster); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.stop(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if cluster.Spec.Authorization == nil || !cluster.DeletionTimestamp.IsZero() {
		r.stop(req.NamespacedName)
		return r.unobserved(ctx, &cluster)
	}
	seen := r.look(ctx, &cluster)
	if ctx.Err() != nil {
		return ctrl.Result{}, ctx.Err()
	}
	if err := r.writeCluster(ctx, &cluster, seen.condition); err != nil {
		return ctrl.Result{}, err
	}
	if !seen.current {
		return ctrl.Result{RequeueAfter: shortestRest}, nil
	}
	return r.judge(ctx, &cluster, seen.graph, seen.rules)
}

// sight is what is known of a KafkaCluster.
type sight struct {
	graph *Graph
	rules access.Rules
	// current tells that both are of now; condition says it of the graph, or why not.
	current   bool
	condition metav1.Condition
}

// look asks the cluster's reader and, where that has come to the end of the log, Kafka for its ACLs.
func (r *Controller) look(ctx context.Context, cluster *v1alpha1.KafkaCluster) sight {
	graph, reached, failure := r.reader(ctx, cluster).state()
	r.Metrics.size(cluster.Namespace+"/"+cluster.Name, reached, graph.Size())
	seen := sight{graph: graph}
	if reached && failure == nil {
		var acls []access.Binding
		acls, failure = r.acls(ctx, cluster)
		seen.rules = access.NewRules(acls)
	}
	seen.current = reached && failure == nil
	seen.condition = observed(graph.Size(), reached, failure)
	return seen
}

func (r *Controller) acls(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]access.Binding, error) {
	admin, err := r.Kafka.Admin(cluster)
	if err != nil {
		return nil, err
	}
	return admin.Describe(ctx)
}

// observed is the condition AccessObserved.
func observed(size Size, reached bool, failure error) metav1.Condition {
	c := metav1.Condition{Type: v1alpha1.ConditionAccessObserved, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonReady, Message: "the access log is read to its end"}
	switch {
	case errors.Is(failure, ErrNoTopic):
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonPending, ErrNoTopic.Error()
	case failure != nil:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, access.ReasonOf(failure), failure.Error()
	case !reached:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonPending, "the access log is being read"
	case size.Dropped > 0:
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, v1alpha1.ReasonInvalid, fmt.Sprintf("the access log has more than %d records, and what is beyond is not seen: give clients fixed client ids", maxRecords)
	case size.Malformed > 0:
		c.Message += fmt.Sprintf("; malformed records were passed over, such as one with: %v", size.LastError)
	}
	return c
}

func (r *Controller) writeCluster(ctx context.Context, cluster *v1alpha1.KafkaCluster, want metav1.Condition) error {
	want.ObservedGeneration, want.LastTransitionTime = cluster.Generation, metav1.NewTime(r.Now())
	next, changed := condition.Next(cluster.Status.Conditions, want)
	if !changed {
		return nil
	}
	patch := apply.KafkaCluster(cluster.Name, cluster.Namespace).WithUID(cluster.UID).WithStatus(apply.KafkaClusterStatus().WithConditions(next))
	if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("write status of kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
	}
	return nil
}

// usersOf returns the KafkaUsers that refer to the cluster.
func (r *Controller) usersOf(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]*v1alpha1.KafkaUser, error) {
	var list v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list kafkausers: %w", err)
	}
	var users []*v1alpha1.KafkaUser
	for i := range list.Items {
		u := &list.Items[i]
		if u.DeletionTimestamp.IsZero() && u.Spec.ClusterRef.In(u.Namespace) == (v1alpha1.ClusterReference{Name: cluster.Name, Namespace: cluster.Namespace}) {
			users = append(users, u)
		}
	}
	return users, nil
}

// judge writes into each KafkaUser's status what is new of it.
func (r *Controller) judge(ctx context.Context, cluster *v1alpha1.KafkaCluster, graph *Graph, rules access.Rules) (ctrl.Result, error) {
	users, err := r.usersOf(ctx, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	uses := ByPrincipal(graph.Uses(nil))
	now := r.Now()
	notReady := 0
	var writes []func(context.Context) error
	for _, user := range users {
		name, err := principal.ForUser(cluster, user)
		// A principal that is not recorded may be another's, and so is what was seen of it.
		if err != nil || !meta.IsStatusConditionTrue(user.Status.Conditions, v1alpha1.ConditionMappingRecorded) {
			continue
		}
		summary := Judge(user, cluster, name, uses[name], rules, now)
		if summary.Ready.Reason == v1alpha1.ReasonWouldBeDenied {
			notReady++
		}
		if summary.changed(&user.Status) {
			writes = append(writes, func(ctx context.Context) error { return r.writeUser(ctx, user, summary, now) })
		}
	}
	r.Metrics.judged(cluster.Namespace+"/"+cluster.Name, len(uses), notReady)
	return r.write(ctx, writes)
}

// write carries out as many writes as a pass may make.
func (r *Controller) write(ctx context.Context, writes []func(context.Context) error) (ctrl.Result, error) {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	for _, write := range writes[:min(len(writes), writesInPass)] {
		group.Go(func() error { return write(ctx) })
	}
	if err := group.Wait(); err != nil {
		return ctrl.Result{}, err
	}
	if len(writes) > writesInPass {
		return ctrl.Result{RequeueAfter: nextPass}, nil
	}
	return ctrl.Result{RequeueAfter: r.Period}, nil
}

func (r *Controller) writeUser(ctx context.Context, user *v1alpha1.KafkaUser, s Summary, now time.Time) error {
	s.Ready.LastTransitionTime = metav1.NewTime(now)
	next, _ := condition.Next(user.Status.Conditions, s.Ready)
	observed := apply.ObservedAccess().WithAuthorization(s.Observed.Authorization).WithWouldBeDenied(s.Observed.WouldBeDenied)
	if s.Observed.LastSeen != nil {
		observed.WithLastSeen(*s.Observed.LastSeen)
	}
	return r.applyUser(ctx, user, apply.KafkaUserStatus().WithObserved(observed).WithConditions(next))
}

// applyUser replaces what this controller says in a KafkaUser's status.
func (r *Controller) applyUser(ctx context.Context, user *v1alpha1.KafkaUser, status *apply.KafkaUserStatusApplyConfiguration) error {
	// The UID keeps a late write from making the object anew, or from landing on its successor.
	patch := apply.KafkaUser(user.Name, user.Namespace).WithUID(user.UID).WithStatus(status)
	if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return fmt.Errorf("write status of kafkauser %s/%s: %w", user.Namespace, user.Name, err)
	}
	return nil
}

// unobserved takes back what was said of a cluster and its users that are not observed any more.
func (r *Controller) unobserved(ctx context.Context, cluster *v1alpha1.KafkaCluster) (ctrl.Result, error) {
	users, err := r.usersOf(ctx, cluster)
	if err != nil {
		return ctrl.Result{}, err
	}
	var writes []func(context.Context) error
	for _, user := range users {
		if user.Status.Observed != nil {
			writes = append(writes, func(ctx context.Context) error { return r.applyUser(ctx, user, apply.KafkaUserStatus()) })
		}
	}
	if meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionAccessObserved) != nil {
		patch := apply.KafkaCluster(cluster.Name, cluster.Namespace).WithUID(cluster.UID).WithStatus(apply.KafkaClusterStatus())
		if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); client.IgnoreNotFound(err) != nil {
			return ctrl.Result{}, fmt.Errorf("write status of kafkacluster %s/%s: %w", cluster.Namespace, cluster.Name, err)
		}
	}
	result, err := r.write(ctx, writes)
	if len(writes) <= writesInPass {
		result = ctrl.Result{}
	}
	return result, err
}

// reader follows one log.
type reader struct {
	// spec is the part of the KafkaCluster's that says how to reach it.
	spec   v1alpha1.KafkaClusterSpec
	uid    types.UID
	cancel context.CancelFunc
	ended  chan struct{}

	mu      sync.Mutex
	graph   *Graph
	reached bool
	failure error
}

// state returns what the reader has.
func (r *reader) state() (graph *Graph, reached bool, failure error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.graph, r.reached, r.failure
}

func (r *reader) close() {
	r.cancel()
	<-r.ended
}

// reader returns the one of the cluster, which it starts if there is none for what the KafkaCluster now declares.
func (r *Controller) reader(ctx context.Context, cluster *v1alpha1.KafkaCluster) *reader {
	key := client.ObjectKeyFromObject(cluster)
	spec := v1alpha1.KafkaClusterSpec{Listeners: cluster.Spec.Listeners, Admin: cluster.Spec.Admin, Certificates: cluster.Spec.Certificates}
	r.mu.Lock()
	defer r.mu.Unlock()
	open := r.readers[key]
	if open != nil && open.uid == cluster.UID && equality.Semantic.DeepEqual(open.spec, spec) {
		return open
	}
	if open != nil {
		open.close()
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	open = &reader{spec: *spec.DeepCopy(), uid: cluster.UID, cancel: cancel, ended: make(chan struct{}), graph: NewGraph()}
	if r.readers == nil {
		r.readers = map[types.NamespacedName]*reader{}
	}
	r.readers[key] = open
	go open.run(ctx, r.Kafka, cluster.DeepCopy())
	return open
}

func (r *Controller) stop(key types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if open := r.readers[key]; open != nil {
		open.close()
		delete(r.readers, key)
	}
	r.Metrics.forget(key.String())
}

// run follows the log until the context ends. Where it cannot go on it rests, and begins anew; what was read stays until
// the new reading has come as far.
func (r *reader) run(ctx context.Context, kafka Kafka, cluster *v1alpha1.KafkaCluster) {
	defer close(r.ended)
	rest := shortestRest
	for ctx.Err() == nil {
		graph := NewGraph()
		failure := follow(ctx, kafka, cluster, graph, func() {
			rest = shortestRest
			r.mu.Lock()
			defer r.mu.Unlock()
			r.graph, r.reached, r.failure = graph, true, nil
		})
		if ctx.Err() != nil {
			return
		}
		r.mu.Lock()
		r.failure = failure
		r.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-time.After(rest):
		}
		rest = min(2*rest, longestRest)
	}
}

func follow(ctx context.Context, kafka Kafka, cluster *v1alpha1.KafkaCluster, graph *Graph, reached func()) error {
	connection, err := kafka.Client(cluster, ConsumerOptions()...)
	if err != nil {
		return err
	}
	defer connection.Close()
	return Follow(ctx, connection, graph, reached)
}
