// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"context"
	"fmt"
	"strings"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	apply "github.com/signet-kafka/signet/api/applyconfiguration/api/v1alpha1"
	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/clientconfig"
	"github.com/signet-kafka/signet/internal/condition"
	"github.com/signet-kafka/signet/principal"
)

const fieldOwner = client.FieldOwner("signet-certs")

// UserController keeps, for each KafkaUser, its cert-manager Certificate, its client ConfigMap and its trust bundle, and
// the condition CertificateReady.
type UserController struct {
	// Client reads from the cache and writes to the API server.
	Client client.Client
	// Live reads from the API server, to tell an object that is not there from one that the cache leaves out.
	Live client.Reader
	// Named reads what ServerTrust needs.
	Named *Named
	// Recorder takes an event for each change of the condition.
	Recorder events.EventRecorder
	// Now is the clock.
	Now func() time.Time
}

// SetupWithManager registers the controller.
func (r *UserController) SetupWithManager(mgr ctrl.Manager) error {
	changed := builder.WithPredicates(predicate.GenerationChangedPredicate{})
	return ctrl.NewControllerManagedBy(mgr).Named("kafkauser-certificate").
		For(&v1alpha1.KafkaUser{}, changed).
		Owns(&cmv1.Certificate{}).
		Owns(&corev1.ConfigMap{}).
		Watches(&cmv1.CertificateRequest{}, handler.EnqueueRequestsFromMapFunc(userOfRequest)).
		Watches(&v1alpha1.KafkaCluster{}, handler.EnqueueRequestsFromMapFunc(r.usersOfCluster), changed).
		Watches(&v1alpha1.MeshIssuer{}, handler.EnqueueRequestsFromMapFunc(r.usersOfIssuer)).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.usersOfNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(r.Named.Source(r.usersOfSource)).
		Complete(r)
}

// Reconcile brings one KafkaUser's objects and condition up to date.
func (r *UserController) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var user v1alpha1.KafkaUser
	if err := r.Client.Get(ctx, req.NamespacedName, &user); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !user.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // the garbage collector takes what it owns
	}
	facts, err := r.facts(ctx, &user)
	if err != nil {
		return ctrl.Result{}, err
	}
	var transient error
	switch {
	case facts.Cluster == nil || !facts.Admitted:
		transient = r.remove(ctx, &user)
		facts.Certificate, facts.Current, facts.Next = nil, nil, nil
	case facts.Issuer != nil:
		facts.Err = r.write(ctx, &facts)
		if facts.Err != nil && blockedReason(facts.Err) == v1alpha1.ReasonPending {
			transient = facts.Err
			facts.Err = nil
		}
	}
	if transient != nil {
		return ctrl.Result{}, fmt.Errorf("kafkauser %s: %w", req, transient)
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.report(ctx, &user, facts))
}

// facts reads what the user's certificate depends on. Its error is worth a retry.
func (r *UserController) facts(ctx context.Context, user *v1alpha1.KafkaUser) (UserFacts, error) {
	f := UserFacts{User: user}
	var cluster v1alpha1.KafkaCluster
	ref := user.Spec.ClusterRef.In(user.Namespace)
	found, err := lookup(ctx, r.Client, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &cluster)
	if err != nil || !found {
		return f, err
	}
	var namespace corev1.Namespace
	if err := r.Client.Get(ctx, client.ObjectKey{Name: user.Namespace}, &namespace); err != nil {
		return f, fmt.Errorf("read the namespace of kafkauser %s/%s: %w", user.Namespace, user.Name, err)
	}
	f.Cluster = &cluster
	// A malformed selector admits nobody.
	f.Admitted, _ = cluster.Admits(namespace.Labels)
	var issuer v1alpha1.MeshIssuer
	if found, err = lookup(ctx, r.Client, client.ObjectKey{Name: user.Issuer(&cluster).Name}, &issuer); err != nil {
		return f, err
	} else if found {
		f.Issuer = &issuer
	}
	f.Rendered = true
	for _, name := range []string{v1alpha1.ClientConfigName(user.Name), v1alpha1.TrustBundleName(user.Name)} {
		var configMap corev1.ConfigMap
		if found, err = lookup(ctx, r.Client, client.ObjectKey{Namespace: user.Namespace, Name: name}, &configMap); err != nil {
			return f, err
		}
		f.Rendered = f.Rendered && found && metav1.IsControlledBy(&configMap, user)
	}
	var certificate cmv1.Certificate
	key := client.ObjectKey{Namespace: user.Namespace, Name: v1alpha1.CertificateName(user.Name)}
	if found, err = lookup(ctx, r.Client, key, &certificate); err != nil || !found || !metav1.IsControlledBy(&certificate, user) {
		return f, err
	}
	f.Certificate = &certificate
	revision := 0
	if certificate.Status.Revision != nil {
		revision = *certificate.Status.Revision
	}
	f.Current, err = r.request(ctx, &certificate, revision)
	if err != nil {
		return f, err
	}
	f.Next, err = r.request(ctx, &certificate, revision+1)
	return f, err
}

func (r *UserController) request(ctx context.Context, certificate *cmv1.Certificate, revision int) (*cmv1.CertificateRequest, error) {
	var request cmv1.CertificateRequest
	key := client.ObjectKey{Namespace: certificate.Namespace, Name: RequestName(certificate.Name, revision)}
	found, err := lookup(ctx, r.Client, key, &request)
	if err != nil || !found || !metav1.IsControlledBy(&request, certificate) {
		return nil, err
	}
	return &request, nil
}

// write makes the three objects, or none where one of them cannot be made. An error without a reason of its own (see
// blockedReason) is worth a retry.
func (r *UserController) write(ctx context.Context, f *UserFacts) error {
	spec, err := DesiredCertificate(f.User, f.Cluster, f.Issuer)
	if err != nil {
		return fmt.Errorf("%w: %w", errInvalid, err)
	}
	listener, err := clientListener(f.Cluster)
	if err != nil {
		return fmt.Errorf("%w: %w", errInvalid, err)
	}
	trust, err := ServerTrust(ctx, r.Named, f.Cluster, listener)
	if err != nil {
		return err
	}
	name, err := principal.ForUser(f.Cluster, f.User)
	if err != nil {
		return fmt.Errorf("%w: %w", errInvalid, err)
	}
	files, err := clientconfig.Render(clientconfig.Client{
		User: f.User.Name, Namespace: f.User.Namespace,
		Principal:        name,
		Cluster:          f.Cluster.Namespace + "/" + f.Cluster.Name,
		BootstrapServers: listener.BootstrapServers,
		Authentication:   listener.Authentication,
		Dir:              v1alpha1.MountRoot + "/" + f.User.Name,
	})
	if err != nil {
		return fmt.Errorf("%w: %w", errInvalid, err)
	}
	config := &corev1.ConfigMap{ObjectMeta: owned(f.User, v1alpha1.ClientConfigName(f.User.Name)), Data: files}
	bundle := &corev1.ConfigMap{ObjectMeta: owned(f.User, v1alpha1.TrustBundleName(f.User.Name)), Data: map[string]string{v1alpha1.FileCA: string(trust)}}
	var writes []*corev1.ConfigMap
	for _, want := range []*corev1.ConfigMap{config, bundle} {
		var have corev1.ConfigMap
		exists, err := r.find(ctx, f.User, client.ObjectKeyFromObject(want), &have)
		if err != nil {
			return err
		}
		if !exists || !isSubset(want.Data, have.Data) || !isSubset(want.Labels, have.Labels) {
			writes = append(writes, want)
		}
	}
	certificate := &cmv1.Certificate{ObjectMeta: owned(f.User, v1alpha1.CertificateName(f.User.Name)), Spec: spec}
	var have cmv1.Certificate
	exists, err := r.find(ctx, f.User, client.ObjectKeyFromObject(certificate), &have)
	if err != nil {
		return err
	}
	for _, want := range writes {
		want.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"}
		if _, err := r.apply(ctx, want); err != nil {
			return err
		}
	}
	if exists && DifferingField(have.Spec, spec) == "" && isSubset(certificate.Labels, have.Labels) {
		return nil
	}
	certificate.TypeMeta = metav1.TypeMeta{APIVersion: cmv1.SchemeGroupVersion.String(), Kind: "Certificate"}
	return r.applyCertificate(ctx, certificate)
}

// applyCertificate applies the Certificate, and replaces its spec where others added fields to it: an apply alone leaves
// those, and the issuer signs only for a Certificate that is exactly what Signet makes.
func (r *UserController) applyCertificate(ctx context.Context, want *cmv1.Certificate) error {
	applied, err := r.apply(ctx, want)
	if err != nil {
		return err
	}
	var have cmv1.Certificate
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, &have); err != nil {
		return fmt.Errorf("read back certificate %s: %w", want.Name, err)
	}
	field := DifferingField(have.Spec, want.Spec)
	if field == "" {
		return nil
	}
	ctrl.LoggerFrom(ctx).Info("certificate was changed by somebody else; restoring it", "certificate", client.ObjectKeyFromObject(want).String(), "field", field)
	have.Spec = want.Spec
	if err := r.Client.Update(ctx, &have, fieldOwner); err != nil {
		return fmt.Errorf("restore certificate %s: %w", want.Name, err)
	}
	return nil
}

// apply writes the object by server-side apply and returns it as it is then.
func (r *UserController) apply(ctx context.Context, object client.Object) (*unstructured.Unstructured, error) {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", object.GetName(), err)
	}
	u := &unstructured.Unstructured{Object: content}
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	kind := strings.ToLower(u.GetKind())
	if err := r.Client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), fieldOwner, client.ForceOwnership); err != nil {
		return nil, fmt.Errorf("apply %s %s/%s: %w", kind, object.GetNamespace(), object.GetName(), err)
	}
	return u, nil
}

// find reads an object that is the user's or does not exist; anything else of that name is a conflict, which is left
// alone. The cache may hold only objects with Signet's labels, so an absent one is looked up at the API server.
func (r *UserController) find(ctx context.Context, user *v1alpha1.KafkaUser, key client.ObjectKey, into client.Object) (bool, error) {
	found, err := lookup(ctx, r.Client, key, into)
	if err == nil && !found {
		found, err = lookup(ctx, r.Live, key, into)
	}
	if err != nil || !found {
		return false, err
	}
	if metav1.IsControlledBy(into, user) {
		return true, nil
	}
	gone := metav1.GetControllerOf(into)
	if gone != nil && gone.Kind == "KafkaUser" && gone.Name == user.Name {
		return false, fmt.Errorf("%T %s still belongs to a deleted kafkauser of the same name; waiting for the garbage collector", into, key)
	}
	return false, fmt.Errorf("%w: an object named %s exists in namespace %s and is not Signet's; delete or rename it", errConflict, key.Name, key.Namespace)
}

// remove deletes what was made for the user while it was entitled. The Secret with the last certificate stays, unless
// cert-manager runs with --enable-certificate-owner-ref: Signet has no permission on the Secrets of users. It expires,
// and without ACLs it opens nothing.
func (r *UserController) remove(ctx context.Context, user *v1alpha1.KafkaUser) error {
	for name, object := range map[string]client.Object{
		v1alpha1.CertificateName(user.Name):  &cmv1.Certificate{},
		v1alpha1.ClientConfigName(user.Name): &corev1.ConfigMap{},
		v1alpha1.TrustBundleName(user.Name):  &corev1.ConfigMap{},
	} {
		found, err := lookup(ctx, r.Client, client.ObjectKey{Namespace: user.Namespace, Name: name}, object)
		if err != nil {
			return err
		}
		if !found || !metav1.IsControlledBy(object, user) {
			continue
		}
		uid := object.GetUID()
		if err := r.Client.Delete(ctx, object, client.Preconditions{UID: &uid}); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete %s: %w", name, err)
		}
	}
	return nil
}

// report writes the condition and status.certificate where they changed.
func (r *UserController) report(ctx context.Context, user *v1alpha1.KafkaUser, facts UserFacts) error {
	want, shown := Assess(facts, r.Now())
	next, changed := condition.Next(user.Status.Conditions, want)
	if !changed && equality.Semantic.DeepEqual(user.Status.Certificate, shown) {
		return nil
	}
	status := apply.KafkaUserStatus().WithConditions(next)
	if shown != nil {
		c := apply.CertificateStatus().WithSecret(shown.Secret).WithSerial(shown.Serial)
		if shown.NotAfter != nil {
			c.WithNotAfter(*shown.NotAfter)
		}
		if shown.RenewalTime != nil {
			c.WithRenewalTime(*shown.RenewalTime)
		}
		status.WithCertificate(c)
	}
	if err := r.Client.Status().Apply(ctx, apply.KafkaUser(user.Name, user.Namespace).WithStatus(status), fieldOwner, client.ForceOwnership); err != nil {
		return fmt.Errorf("write %s of kafkauser %s/%s: %w", want.Type, user.Namespace, user.Name, err)
	}
	if changed && want.Reason != v1alpha1.ReasonPending {
		kind := corev1.EventTypeNormal
		if want.Status != metav1.ConditionTrue {
			kind = corev1.EventTypeWarning
		}
		r.Recorder.Eventf(user, nil, kind, want.Reason, "Certificate", "%s", want.Message)
	}
	return nil
}

func userOfRequest(_ context.Context, object client.Object) []reconcile.Request {
	owner := metav1.GetControllerOf(object)
	if owner == nil || owner.Kind != "Certificate" {
		return nil
	}
	user, ok := strings.CutSuffix(owner.Name, v1alpha1.CertificateName(""))
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: client.ObjectKey{Namespace: object.GetNamespace(), Name: user}}}
}

func (r *UserController) usersOfCluster(ctx context.Context, object client.Object) []reconcile.Request {
	ref := v1alpha1.ClusterReference{Namespace: object.GetNamespace(), Name: object.GetName()}
	return r.users(ctx, "", func(u *v1alpha1.KafkaUser) bool { return u.Spec.ClusterRef.In(u.Namespace) == ref })
}

func (r *UserController) usersOfNamespace(ctx context.Context, object client.Object) []reconcile.Request {
	return r.users(ctx, object.GetName(), func(*v1alpha1.KafkaUser) bool { return true })
}

func (r *UserController) usersOfIssuer(ctx context.Context, object client.Object) []reconcile.Request {
	return r.usersOfIssuers(ctx, map[string]bool{object.GetName(): true}, nil)
}

// usersOfSource returns the users whose trust bundle or issuer depends on a Secret or ConfigMap.
func (r *UserController) usersOfSource(ctx context.Context, ref Reference) []reconcile.Request {
	issuers, clusters, err := listReferrers(ctx, r.Client)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "find the users that a CA source concerns", "source", ref.String())
		return nil
	}
	names := map[string]bool{}
	for i := range issuers {
		if caReference(&issuers[i]) == ref {
			names[issuers[i].Name] = true
		}
	}
	byReference := map[v1alpha1.ClusterReference]bool{}
	for _, c := range Affected(ref, issuers, clusters) {
		byReference[v1alpha1.ClusterReference{Namespace: c.Namespace, Name: c.Name}] = true
	}
	return r.usersOfIssuers(ctx, names, byReference)
}

// usersOfIssuers returns the users of these issuers, by their own reference or their cluster's, and of these clusters.
func (r *UserController) usersOfIssuers(ctx context.Context, issuers map[string]bool, clusters map[v1alpha1.ClusterReference]bool) []reconcile.Request {
	_, all, err := listReferrers(ctx, r.Client)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "find the users of an issuer")
		return nil
	}
	hit := map[v1alpha1.ClusterReference]bool{}
	for i := range all {
		ref := v1alpha1.ClusterReference{Namespace: all[i].Namespace, Name: all[i].Name}
		hit[ref] = clusters[ref] || issuers[all[i].Spec.Certificates.IssuerRef.Name]
	}
	return r.users(ctx, "", func(u *v1alpha1.KafkaUser) bool {
		if c := u.Spec.Certificate; c != nil && c.IssuerRef != nil && issuers[c.IssuerRef.Name] {
			return true
		}
		return hit[u.Spec.ClusterRef.In(u.Namespace)]
	})
}

func (r *UserController) users(ctx context.Context, namespace string, wanted func(*v1alpha1.KafkaUser) bool) []reconcile.Request {
	var users v1alpha1.KafkaUserList
	if err := r.Client.List(ctx, &users, client.InNamespace(namespace), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "list kafkausers")
		return nil
	}
	var out []reconcile.Request
	for i := range users.Items {
		if wanted(&users.Items[i]) {
			out = append(out, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&users.Items[i])})
		}
	}
	return out
}

func lookup(ctx context.Context, reader client.Reader, key client.ObjectKey, into client.Object) (bool, error) {
	err := reader.Get(ctx, key, into)
	switch {
	case err == nil:
		return true, nil
	case apierrors.IsNotFound(err):
		return false, nil
	}
	return false, fmt.Errorf("read %T %s: %w", into, key, err)
}

func owned(user *v1alpha1.KafkaUser, name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Namespace:       user.Namespace,
		Name:            name,
		Labels:          UserLabels(user.Name),
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(user, v1alpha1.GroupVersion.WithKind("KafkaUser"))},
	}
}

func isSubset(want, have map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
