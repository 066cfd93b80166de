// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/internal/condition"
	"github.com/signet-kafka/signet/principal"
)

const (
	fieldOwner = client.FieldOwner("signet-access")
	// clustersAtOnce bounds how many clusters are worked on at the same time; one that hangs holds one place until its
	// request times out.
	clustersAtOnce = 16
	// writesAtOnce bounds the concurrent writes to the API server of one pass.
	writesAtOnce = 8
	// settledAtLeast is of how many KafkaUsers a pass writes the status before it gives way to the next one.
	settledAtLeast = 128
	// retryRefused is when bindings that a broker refused are tried again, beside every change of their user.
	retryRefused = time.Minute
)

// UserController keeps the ACLs and the quotas of KafkaUsers. It works in passes over one KafkaCluster: one reading of its ACLs, one
// Diff for all users with changes, batches. A pass over all users, which also repairs drift, follows a start, a change of
// the KafkaCluster (an annotation is enough) or of the cluster's reachability, and Period. It writes the condition
// AccessSynced and status.acls, and keeps the Finalizer.
type UserController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Connections to the clusters.
	Connections *Connections
	// Events gets one event for each KafkaUser whose ACLs changed.
	Events events.EventRecorder
	// Period between two passes over all users of a cluster, give or take a tenth.
	Period time.Duration
	// Now is the clock.
	Now func() time.Time

	backlog backlog
}

// SetupWithManager registers the controller.
func (r *UserController) SetupWithManager(mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).Named("kafkauser-access").
		Watches(&v1alpha1.KafkaUser{}, r.userHandler()).
		Watches(&v1alpha1.KafkaCluster{}, r.clusterHandler()).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.namespaceChanged)).
		WithOptions(controller.Options{MaxConcurrentReconciles: clustersAtOnce}).
		Complete(r)
}

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

func (r *UserController) userHandler() handler.EventHandler {
	add := func(user *v1alpha1.KafkaUser, queue requests) {
		cluster := clusterOf(user)
		r.backlog.add(cluster, client.ObjectKeyFromObject(user))
		queue.Add(reconcile.Request{NamespacedName: cluster})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue requests) {
			add(e.Object.(*v1alpha1.KafkaUser), queue)
		},
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue requests) {
			before, after := e.ObjectOld.(*v1alpha1.KafkaUser), e.ObjectNew.(*v1alpha1.KafkaUser)
			if concerns(before, after) {
				add(after, queue)
			}
		},
	}
}

// concerns tells whether a change of a KafkaUser is one that this controller did not make itself.
func concerns(before, after *v1alpha1.KafkaUser) bool {
	recordedBefore := meta.FindStatusCondition(before.Status.Conditions, v1alpha1.ConditionMappingRecorded)
	recordedAfter := meta.FindStatusCondition(after.Status.Conditions, v1alpha1.ConditionMappingRecorded)
	return before.UID != after.UID ||
		before.Generation != after.Generation ||
		before.DeletionTimestamp.IsZero() != after.DeletionTimestamp.IsZero() ||
		before.Annotations[v1alpha1.AnnotationAdopt] != after.Annotations[v1alpha1.AnnotationAdopt] ||
		slices.Contains(before.Finalizers, Finalizer) && !slices.Contains(after.Finalizers, Finalizer) ||
		(recordedBefore == nil) != (recordedAfter == nil) ||
		recordedBefore != nil && *recordedBefore != *recordedAfter
}

func (r *UserController) clusterHandler() handler.EventHandler {
	add := func(cluster client.Object, queue requests) {
		key := client.ObjectKeyFromObject(cluster)
		r.backlog.addAll(key)
		queue.Add(reconcile.Request{NamespacedName: key})
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue requests) { add(e.Object, queue) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue requests) { add(e.Object, queue) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue requests) {
			if clusterChanged(e.ObjectOld.(*v1alpha1.KafkaCluster), e.ObjectNew.(*v1alpha1.KafkaCluster)) {
				add(e.ObjectNew, queue)
			}
		},
	}
}

func (r *UserController) namespaceChanged(ctx context.Context, namespace client.Object) []reconcile.Request {
	var users v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &users, client.InNamespace(namespace.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list kafkausers", "namespace", namespace.GetName())
		return nil
	}
	var out []reconcile.Request
	for i := range users.Items {
		cluster := clusterOf(&users.Items[i])
		r.backlog.add(cluster, client.ObjectKeyFromObject(&users.Items[i]))
		out = append(out, reconcile.Request{NamespacedName: cluster})
	}
	return out
}

// Reconcile makes one pass over a KafkaCluster.
func (r *UserController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	w := r.backlog.take(req.NamespacedName, r.Now())
	wait, err := r.pass(ctx, req.NamespacedName, &w)
	if err != nil {
		r.backlog.putBack(req.NamespacedName, w)
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: wait}, nil
}

// subject is a KafkaUser in a pass.
type subject struct {
	user      *v1alpha1.KafkaUser
	principal string
	decision  Decision
	// created and deleted count the bindings that the pass created and deleted.
	created, deleted int
	refused          []Refusal
	// quotas were changed, or could not be.
	quotasChanged bool
	quotasRefused error
}

// pass does the work, or as much of it as can be done, and returns when to look at the cluster again. An error is the API
// server's and means that the whole pass has to be made again.
func (r *UserController) pass(ctx context.Context, key types.NamespacedName, w *work) (time.Duration, error) {
	users, err := r.users(ctx, key, *w)
	if err != nil {
		return 0, err
	}
	var cluster v1alpha1.KafkaCluster
	if err := r.Client.Get(ctx, key, &cluster); apierrors.IsNotFound(err) {
		return 0, r.withoutCluster(ctx, key)
	} else if err != nil {
		return 0, err
	}
	if _, err := cluster.Admits(nil); err != nil {
		return r.fail(ctx, key, *w, undecided(users), &InvalidClusterError{err})
	}
	subjects, err := r.decide(ctx, users, &cluster, w.facts)
	if err != nil {
		return 0, err
	}
	if w.failure != nil {
		r.backlog.putBack(key, *w)
		return w.wait, r.report(ctx, subjects, w.failure)
	}
	admin, err := r.Connections.Admin(&cluster)
	if err != nil {
		return r.fail(ctx, key, *w, subjects, err)
	}
	if err := r.Connections.Claim(ctx, &cluster); err != nil {
		return r.fail(ctx, key, *w, subjects, err)
	}
	var mappings []v1alpha1.PrincipalMapping
	var holders Holders
	var abandoned []string
	if w.all {
		brokers, err := admin.Brokers(ctx)
		if err != nil {
			return r.fail(ctx, key, *w, subjects, err)
		}
		if w.facts != brokers.Facts {
			w.facts = brokers.Facts
			if subjects, err = r.decide(ctx, users, &cluster, w.facts); err != nil {
				return 0, err
			}
		}
	}
	if w.all || slices.ContainsFunc(subjects, (*subject).mayYield) {
		if mappings, err = r.mappings(ctx, &cluster); err != nil {
			return 0, err
		}
		holders = HoldersOf(mappings, &cluster)
		yield(subjects, holders)
	}
	if w.all {
		alive := make(map[string]bool, len(subjects))
		for _, s := range subjects {
			alive[s.principal] = alive[s.principal] || !s.decision.Foreign
		}
		abandoned = Abandoned(mappings, holders, &cluster, func(principal string) bool { return alive[principal] })
	}
	if err := r.awaitAdoption(ctx, admin, &cluster, subjects); err != nil {
		return r.fail(ctx, key, *w, subjects, err)
	}
	if subjects, err = r.guard(ctx, subjects, key); err != nil {
		return 0, err
	}
	existing, err := r.synchronize(ctx, admin, key, subjects, abandoned)
	if err != nil && !errors.Is(err, ErrPartial) {
		return r.fail(ctx, key, *w, subjects, err)
	}
	unsettled := r.backlog.takeUnsettled(key)
	if unsettled == nil {
		unsettled = make(map[types.NamespacedName]settlement, len(subjects))
	}
	for _, s := range subjects {
		unsettled[client.ObjectKeyFromObject(s.user)] = settlement{s, existing[s.principal]}
	}
	err = r.settle(ctx, key, unsettled)
	r.backlog.keepUnsettled(key, unsettled)
	if err != nil {
		return 0, err
	}
	wait := r.backlog.done(key, *w, r.Period, r.Now())
	for _, s := range subjects {
		if len(s.refused) > 0 || s.quotasRefused != nil || s.decision.Reason == v1alpha1.ReasonAdoptionPending {
			r.backlog.add(key, client.ObjectKeyFromObject(s.user))
			wait = min(wait, retryRefused)
		}
	}
	return wait, nil
}

// fail puts the work off until the cluster may be tried again, and says why.
func (r *UserController) fail(ctx context.Context, cluster types.NamespacedName, w work, subjects []*subject, failure error) (time.Duration, error) {
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	r.backlog.putBack(cluster, w)
	wait := r.backlog.failed(cluster, failure, r.Now())
	ctrl.LoggerFrom(ctx).Info("cluster left alone for a while", "reason", reasonOf(failure), "error", failure.Error(), "wait", wait)
	return wait, r.report(ctx, subjects, failure)
}

// users returns the KafkaUsers to look at. They are the cache's own and must not be changed.
func (r *UserController) users(ctx context.Context, cluster types.NamespacedName, w work) ([]*v1alpha1.KafkaUser, error) {
	if w.all {
		return r.usersOf(ctx, cluster)
	}
	var out []*v1alpha1.KafkaUser
	for key := range w.users {
		var user v1alpha1.KafkaUser
		if err := r.Client.Get(ctx, key, &user); apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if clusterOf(&user) == cluster {
			out = append(out, &user)
		}
	}
	return out, nil
}

func (r *UserController) usersOf(ctx context.Context, cluster types.NamespacedName) ([]*v1alpha1.KafkaUser, error) {
	var list v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var out []*v1alpha1.KafkaUser
	for i := range list.Items {
		if clusterOf(&list.Items[i]) == cluster {
			out = append(out, &list.Items[i])
		}
	}
	return out, nil
}

// decide decides each user. A namespace that is not there (any more) is admitted by nobody.
func (r *UserController) decide(ctx context.Context, users []*v1alpha1.KafkaUser, cluster *v1alpha1.KafkaCluster, facts Facts) ([]*subject, error) {
	admitted := map[string]bool{}
	subjects := make([]*subject, 0, len(users))
	for _, user := range users {
		ok, known := admitted[user.Namespace]
		if !known {
			var err error
			if ok, err = admits(ctx, r.Client, cluster, user.Namespace); err != nil {
				return nil, err
			}
			admitted[user.Namespace] = ok
		}
		name, err := principal.ForUser(cluster, user)
		if err != nil {
			subjects = append(subjects, &subject{user: user, decision: Decision{Reason: v1alpha1.ReasonInvalid, Message: err.Error()}})
			continue
		}
		subjects = append(subjects, &subject{user: user, principal: name, decision: Decide(user, cluster, ok, facts)})
	}
	return subjects, nil
}

// undecided are users of whom nothing can be decided.
func undecided(users []*v1alpha1.KafkaUser) []*subject {
	subjects := make([]*subject, len(users))
	for i, user := range users {
		subjects[i] = &subject{user: user, principal: user.Status.Principal}
	}
	return subjects
}

// mappings returns the PrincipalMappings of a cluster's namespace. They are the cache's own and must not be changed.
func (r *UserController) mappings(ctx context.Context, cluster *v1alpha1.KafkaCluster) ([]v1alpha1.PrincipalMapping, error) {
	var list v1alpha1.PrincipalMappingList
	if err := r.Client.List(ctx, &list, client.InNamespace(cluster.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	return list.Items, nil
}

// mayYield tells whether the principal may be another's although the decision is to manage it: the condition
// MappingRecorded says that it is not in force, or says nothing new any more because the user is being deleted.
func (s *subject) mayYield() bool {
	return s.decision.Managed &&
		(s.user.DeletionTimestamp != nil || !meta.IsStatusConditionTrue(s.user.Status.Conditions, v1alpha1.ConditionMappingRecorded))
}

// yield lets go of each principal that another has by now, whatever a user's condition says: its ACLs are the other's.
// Of two users that would manage one principal, both let go of it.
func yield(subjects []*subject, holders Holders) {
	byPrincipal := make(map[string]*subject, len(subjects))
	for _, s := range subjects {
		if !s.decision.Managed {
			continue
		}
		if other := holders.Other(s.principal, v1alpha1.MappingName(s.user.Namespace, s.user.Name)); other != "" {
			s.decision = othersPrincipal(fmt.Sprintf("PrincipalMapping %s has %s", other, s.principal))
			continue
		}
		if twin := byPrincipal[s.principal]; twin != nil {
			for _, each := range []*subject{s, twin} {
				each.decision = Decision{Reason: v1alpha1.ReasonPending, Message: fmt.Sprintf("waits until one of KafkaUsers %s/%s and %s/%s has %s",
					twin.user.Namespace, twin.user.Name, s.user.Namespace, s.user.Name, s.principal)}
			}
			continue
		}
		byPrincipal[s.principal] = s
	}
}

// guard gives every user that is about to be granted something its finalizer. One that changed meanwhile is left for the
// next pass.
func (r *UserController) guard(ctx context.Context, subjects []*subject, cluster types.NamespacedName) ([]*subject, error) {
	var mu sync.Mutex
	postponed := map[*subject]bool{}
	err := eachOf(ctx, subjects, func(ctx context.Context, s *subject) error {
		nothing := len(s.decision.Quotas) == 0 && (s.decision.Hold || len(s.decision.Grants) == 0)
		if nothing || controllerutil.ContainsFinalizer(s.user, Finalizer) {
			return nil
		}
		err := r.setFinalizer(ctx, s, controllerutil.AddFinalizer)
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			r.backlog.add(cluster, client.ObjectKeyFromObject(s.user))
			mu.Lock()
			defer mu.Unlock()
			postponed[s] = true
			return nil
		}
		return err
	})
	return slices.DeleteFunc(slices.Clone(subjects), func(s *subject) bool { return postponed[s] }), err
}

func (r *UserController) setFinalizer(ctx context.Context, s *subject, change func(client.Object, string) bool) error {
	user := s.user.DeepCopy()
	patch := client.MergeFromWithOptions(s.user.DeepCopy(), client.MergeFromWithOptimisticLock{})
	change(user, Finalizer)
	if err := r.Client.Patch(ctx, user, patch, fieldOwner); err != nil {
		return fmt.Errorf("patch finalizers of kafkauser %s: %w", client.ObjectKeyFromObject(user), err)
	}
	s.user = user
	return nil
}

// synchronize makes Kafka hold what was decided, and nothing for the abandoned principals. It returns how
// many bindings Kafka held before for each principal.
func (r *UserController) synchronize(ctx context.Context, admin *Admin, cluster types.NamespacedName, subjects []*subject, abandoned []string) (map[string]int, error) {
	byPrincipal := make(map[string]*subject, len(subjects))
	managed := slices.Clone(abandoned)
	for _, s := range subjects {
		if s.decision.Managed {
			byPrincipal[s.principal] = s
			managed = append(managed, s.principal)
		}
	}
	if len(managed) == 0 {
		return nil, nil
	}
	var quotas map[string]Quotas
	var bindings []Binding
	reading, together := errgroup.WithContext(ctx)
	reading.Go(func() (err error) {
		quotas, err = admin.DescribeQuotas(together, managed...)
		return err
	})
	reading.Go(func() (err error) {
		bindings, err = admin.Describe(together, managed...)
		return err
	})
	if err := reading.Wait(); err != nil {
		return nil, err
	}
	// Whoever gets access is bounded by then.
	if err := r.synchronizeQuotas(ctx, admin, cluster, byPrincipal, managed, quotas); err != nil {
		return nil, err
	}
	existing := make(map[string]int, len(managed))
	for _, b := range bindings {
		existing[b.Principal]++
	}
	// What each principal holds is looked up of few: at most of those whose bindings change.
	holding := ofPrincipals(bindings, func(principal string) bool {
		return byPrincipal[principal] != nil && byPrincipal[principal].decision.Hold
	})
	desired := make(map[string]Bindings, len(managed))
	for _, principal := range managed {
		desired[principal] = nil
		if s := byPrincipal[principal]; s != nil {
			desired[principal] = s.decision.grantsWithin(holding[principal])
		}
	}
	change := Diff(desired, bindings, r.backlog.uncertain(cluster, bindings, r.Now()))
	err := admin.Apply(ctx, change)
	var partial *PartialError
	if errors.As(err, &partial) {
		for _, refusal := range partial.Refused {
			if s := byPrincipal[refusal.Binding.Principal]; s != nil {
				s.refused = append(s.refused, refusal)
			}
		}
		r.backlog.wrote(cluster, change, partial.Refused, false, r.Now())
	} else {
		r.backlog.wrote(cluster, change, nil, err != nil, r.Now())
	}
	changed := change.principals()
	before := ofPrincipals(bindings, func(principal string) bool { return changed[principal] })
	for principal := range changed {
		if s := byPrincipal[principal]; s != nil {
			s.tally(before[principal], desired[principal])
		}
	}
	return existing, err
}

// synchronizeQuotas makes Kafka, which holds the existing quotas, hold those of the managed principals, and none for those
// that are no user's.
func (r *UserController) synchronizeQuotas(ctx context.Context, admin *Admin, cluster types.NamespacedName, byPrincipal map[string]*subject, managed []string, existing map[string]Quotas) error {
	desired := make(map[string]Quotas, len(managed))
	for _, principal := range managed {
		desired[principal] = nil
		if s := byPrincipal[principal]; s != nil {
			desired[principal] = s.decision.Quotas
		}
	}
	changes := DiffQuotas(desired, existing, r.backlog.uncertainQuotas(cluster, existing, r.Now()))
	if len(changes) == 0 {
		return nil
	}
	refused, err := admin.AlterQuotas(ctx, changes)
	r.backlog.wroteQuotas(cluster, changes, desired, refused, err != nil, r.Now())
	for _, change := range changes {
		if s := byPrincipal[change.Principal]; s != nil {
			s.quotasRefused = refused[change.Principal]
			s.quotasChanged = err == nil && s.quotasRefused == nil && !maps.Equal(existing[change.Principal], desired[change.Principal])
		}
	}
	return err
}

// ofPrincipals returns the bindings of the principals that are wanted, by principal.
func ofPrincipals(bindings []Binding, wanted func(principal string) bool) map[string][]Binding {
	out := map[string][]Binding{}
	for _, b := range bindings {
		if wanted(b.Principal) {
			out[b.Principal] = append(out[b.Principal], b)
		}
	}
	return out
}

// tally counts what became of the bindings that the user held and of those that it should hold.
func (s *subject) tally(before []Binding, desired Bindings) {
	refused := make(Bindings, len(s.refused))
	for _, refusal := range s.refused {
		refused[refusal.Binding] = struct{}{}
	}
	held := make(Bindings, len(before))
	for _, b := range before {
		held[b] = struct{}{}
		_, after := desired[b]
		if _, no := refused[b]; !after && !no {
			s.deleted++
		}
	}
	for b := range desired {
		_, had := held[b]
		if _, no := refused[b]; !had && !no {
			s.created++
		}
	}
}

// settle writes what finished passes came to, and takes it from unsettled. It leaves off as soon as there is something else
// to look at: what Kafka allows does not wait for what is said of it, of thousands of KafkaUsers perhaps. But so many are
// settled in any case that it comes to an end.
func (r *UserController) settle(ctx context.Context, cluster types.NamespacedName, unsettled map[types.NamespacedName]settlement) error {
	for keys := range slices.Chunk(slices.Collect(maps.Keys(unsettled)), settledAtLeast) {
		group, together := errgroup.WithContext(ctx)
		group.SetLimit(writesAtOnce)
		for _, key := range keys {
			one := unsettled[key]
			group.Go(func() error { return r.settleOne(together, one) })
		}
		if err := group.Wait(); err != nil {
			return err
		}
		for _, key := range keys {
			delete(unsettled, key)
		}
		if r.backlog.waiting(cluster) {
			return nil
		}
	}
	return nil
}

// settleOne writes what a pass came to for a user, or lets go of it if the pass completed its deletion.
func (r *UserController) settleOne(ctx context.Context, s settlement) error {
	if s.created+s.deleted > 0 {
		r.Events.Eventf(s.user, nil, corev1.EventTypeNormal, "AccessChanged", "Synchronize",
			"%d ACLs created, %d removed, %d refused for %s", s.created, s.deleted, len(s.refused), s.principal)
	}
	if s.quotasChanged {
		r.Events.Eventf(s.user, nil, corev1.EventTypeNormal, "QuotasChanged", "Synchronize",
			"quotas of %s: %s", s.principal, cmp.Or(s.decision.Quotas.String(), "none"))
	}
	r.announceAdoption(s.subject)
	if s.user.DeletionTimestamp != nil && len(s.refused) == 0 && s.quotasRefused == nil {
		if !controllerutil.ContainsFinalizer(s.user, Finalizer) {
			return nil
		}
		err := r.setFinalizer(ctx, s.subject, controllerutil.RemoveFinalizer)
		if apierrors.IsConflict(err) {
			r.backlog.add(clusterOf(s.user), client.ObjectKeyFromObject(s.user))
			return nil
		}
		return client.IgnoreNotFound(err)
	}
	want := metav1.Condition{Status: metav1.ConditionFalse, Reason: s.decision.Reason, Message: s.decision.Message}
	if want.Reason == v1alpha1.ReasonReady {
		want.Status = metav1.ConditionTrue
	}
	if len(s.refused) > 0 {
		want = metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRefusedByBroker,
			Message: (&PartialError{s.refused}).Error()}
	} else if s.quotasRefused != nil {
		want = metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonRefusedByBroker, Message: fmt.Sprintf("quotas of %s: %v", s.principal, s.quotasRefused)}
	}
	acls := s.user.Status.ACLs
	if s.decision.Managed {
		count := int32(s.held + s.created - s.deleted)
		acls = &count
	} else if synced := meta.FindStatusCondition(s.user.Status.Conditions, v1alpha1.ConditionAccessSynced); s.decision.Undecided &&
		(synced == nil || synced.Reason == v1alpha1.ReasonReady || synced.Reason == v1alpha1.ReasonPending) {
		// The decision about the principal is a moment away and brings another status.
		return nil
	}
	return r.writeStatus(ctx, s.user, want, acls)
}

// report writes why a pass failed to the users whose declaration may not be in force because of it.
func (r *UserController) report(ctx context.Context, subjects []*subject, failure error) error {
	return eachOf(ctx, subjects, func(ctx context.Context, s *subject) error {
		if s.decision.inForce(s.user) {
			return nil
		}
		want := metav1.Condition{Status: metav1.ConditionFalse, Reason: reasonOf(failure), Message: failure.Error()}
		if s.user.DeletionTimestamp != nil {
			want.Message = "deletion waits until the ACLs are gone: " + want.Message
		}
		return r.writeStatus(ctx, s.user, want, s.user.Status.ACLs)
	})
}

// withoutCluster says so to the users of a KafkaCluster that does not exist, and lets those go that are being deleted.
func (r *UserController) withoutCluster(ctx context.Context, cluster types.NamespacedName) error {
	r.Connections.Close(cluster)
	users, err := r.usersOf(ctx, cluster)
	if err != nil {
		return err
	}
	if err := eachOf(ctx, undecided(users), func(ctx context.Context, s *subject) error {
		if s.user.DeletionTimestamp == nil {
			return r.writeStatus(ctx, s.user, metav1.Condition{Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonClusterNotFound,
				Message: fmt.Sprintf("KafkaCluster %s does not exist", cluster)}, nil)
		}
		if !controllerutil.ContainsFinalizer(s.user, Finalizer) {
			return nil
		}
		if err := r.setFinalizer(ctx, s, controllerutil.RemoveFinalizer); err != nil {
			return client.IgnoreNotFound(err)
		}
		r.Events.Eventf(s.user, nil, corev1.EventTypeWarning, "AccessAbandoned", "Delete",
			"KafkaCluster %s does not exist: ACLs of %s, if its Kafka still runs, have to be removed by hand", cluster, s.principal)
		return nil
	}); err != nil {
		return err
	}
	r.backlog.forget(cluster)
	return nil
}

func (r *UserController) writeStatus(ctx context.Context, user *v1alpha1.KafkaUser, want metav1.Condition, acls *int32) error {
	want.Type, want.ObservedGeneration, want.LastTransitionTime = v1alpha1.ConditionAccessSynced, user.Generation, metav1.NewTime(r.Now())
	next, changed := condition.Next(user.Status.Conditions, want)
	sameCount := (acls == nil) == (user.Status.ACLs == nil) && (acls == nil || *acls == *user.Status.ACLs)
	if !changed && sameCount {
		return nil
	}
	status := apply.KafkaUserStatus().WithConditions(next)
	if acls != nil {
		status.WithACLs(*acls)
	}
	// The UID keeps a late write from making the object anew, or from landing on its successor.
	patch := apply.KafkaUser(user.Name, user.Namespace).WithUID(user.UID).WithStatus(status)
	if err := r.Client.Status().Apply(ctx, patch, fieldOwner, client.ForceOwnership); ignoreGone(err) != nil {
		return fmt.Errorf("write status of kafkauser %s/%s: %w", user.Namespace, user.Name, err)
	}
	return nil
}

// ignoreGone takes from an error what says that the object does not exist, or that it is another one by now.
func ignoreGone(err error) error {
	if apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
		return nil
	}
	return err
}

// eachOf calls f for each subject, a few at a time, until one fails.
func eachOf(ctx context.Context, subjects []*subject, f func(context.Context, *subject) error) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(writesAtOnce)
	for _, s := range subjects {
		group.Go(func() error { return f(ctx, s) })
	}
	return group.Wait()
}

// clusterOf returns the KafkaCluster that a KafkaUser refers to.
func clusterOf(user *v1alpha1.KafkaUser) types.NamespacedName {
	ref := user.Spec.ClusterRef.In(user.Namespace)
	return types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
}

// admits tells whether a cluster admits a namespace.
func admits(ctx context.Context, reader client.Reader, cluster *v1alpha1.KafkaCluster, name string) (bool, error) {
	var namespace corev1.Namespace
	if err := reader.Get(ctx, types.NamespacedName{Name: name}, &namespace); apierrors.IsNotFound(err) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return cluster.Admits(namespace.Labels)
}

// clusterChanged tells whether a change of a KafkaCluster is one to act on: of what it declares, of an annotation (which
// is how to ask for a pass), or that it became reachable.
func clusterChanged(before, after *v1alpha1.KafkaCluster) bool {
	return before.UID != after.UID ||
		before.Generation != after.Generation ||
		!maps.Equal(before.Annotations, after.Annotations) ||
		!meta.IsStatusConditionTrue(before.Status.Conditions, v1alpha1.ConditionReachable) &&
			meta.IsStatusConditionTrue(after.Status.Conditions, v1alpha1.ConditionReachable)
}
