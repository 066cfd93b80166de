// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package issuer

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	cmv1 "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	"github.com/go-logr/logr"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/flowcontrol"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/signet-kafka/signet/api/v1alpha1"
	"github.com/signet-kafka/signet/certs"
)

const (
	fieldOwner = client.FieldOwner("signet-issuer")
	// recheck is when a request that waits is looked at again should the event that ends its wait be missed.
	recheck = 5 * time.Minute
	// workers is how many CertificateRequests are decided at once. What takes the time is the API server's answer.
	workers = 8
	// podWorkers is the same for PodCertificateRequests: 32 writes under way fill an API server on two cores, 8 do not.
	podWorkers = 32
	// issuedEvents and its burst bound the events for issued certificates, for each second: an event costs the API server
	// as much as the certificate does. The audit log has them all.
	issuedEvents, issuedEventsBurst = 10, 50
)

// RegistrationAuthority is what the controllers of all kinds of request share (RFC 4210 section 3.1.1.3: who decides
// what the CA signs): the CAs, the memory of keys, and the record of decisions.
type RegistrationAuthority struct {
	// cached reads from the cache, at no cost.
	cached  client.Reader
	signers *Signers
	keys    *Keys
	metrics *Metrics
	log     logr.Logger
	now     func() time.Time
	// podCertificates tells whether the API server serves PodCertificateRequests.
	podCertificates bool
	events          flowcontrol.PassiveRateLimiter

	mu      sync.Mutex
	learned bool
}

// NewRegistrationAuthority returns the RegistrationAuthority of a process. cached is the manager's client, log takes the
// audit, podCertificates is what Served says, now is the clock.
func NewRegistrationAuthority(cached client.Reader, signers *Signers, metrics *Metrics, log logr.Logger, podCertificates bool, now func() time.Time) *RegistrationAuthority {
	return &RegistrationAuthority{
		cached: cached, signers: signers, keys: NewKeys(maxKnownKeys), metrics: metrics, log: log, now: now, podCertificates: podCertificates,
		events: flowcontrol.NewTokenBucketPassiveRateLimiter(issuedEvents, issuedEventsBurst),
	}
}

// learn brings in the keys of all certificates that are found in requests, once. The caches are complete when the first
// request is decided, because the controllers wait for theirs and List waits for the others.
func (ra *RegistrationAuthority) learn(ctx context.Context) error {
	ra.mu.Lock()
	defer ra.mu.Unlock()
	if ra.learned {
		return nil
	}
	now := ra.now()
	var requests cmv1.CertificateRequestList
	var signing certificatesv1.CertificateSigningRequestList
	var pods certificatesv1.PodCertificateRequestList
	lists := []client.ObjectList{&requests, &signing}
	if ra.podCertificates {
		lists = append(lists, &pods)
	}
	for _, list := range lists {
		if err := ra.cached.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			return fmt.Errorf("list what was issued (%T): %w", list, err)
		}
	}
	for i := range requests.Items {
		if r := &requests.Items[i]; isForMeshIssuer(r) {
			ra.keys.Learn(r.Status.Certificate, now)
		}
	}
	for i := range signing.Items {
		if _, ours := IssuerOfSigner(signing.Items[i].Spec.SignerName); ours {
			ra.keys.Learn(signing.Items[i].Status.Certificate, now)
		}
	}
	for i := range pods.Items {
		if _, ours := IssuerOfSigner(pods.Items[i].Spec.SignerName); ours {
			ra.keys.Learn([]byte(pods.Items[i].Status.CertificateChain), now)
		}
	}
	ra.learned = true
	return nil
}

// examine returns what is known of a certificate request and of the key in it. issuer may be nil.
func (ra *RegistrationAuthority) examine(ctx context.Context, csr *x509.CertificateRequest, problem error, issuer *v1alpha1.MeshIssuer) (Asked, error) {
	if csr == nil {
		return Asked{Problem: problem}, nil
	}
	if err := ra.learn(ctx); err != nil {
		return Asked{}, err
	}
	a := Asked{CSR: csr, KeySHA256: KeyFingerprint(csr.PublicKey)}
	a.KeyHolder = ra.keys.Holder(a.KeySHA256, ra.now())
	if issuer != nil {
		if signer, err := ra.signers.SignerFor(ctx, issuer); err == nil {
			a.KeyOfCA = isKeyOf(signer.CA(), csr.PublicKey)
		}
	}
	return a, nil
}

func isKeyOf(ca *certs.CA, key crypto.PublicKey) bool {
	k, ok := key.(interface{ Equal(crypto.PublicKey) bool })
	if !ok || ca == nil {
		return false
	}
	for _, list := range [][]*x509.Certificate{{ca.Certificate}, ca.Intermediates, ca.Roots} {
		for _, c := range list {
			if c != nil && k.Equal(c.PublicKey) {
				return true
			}
		}
	}
	return false
}

// sign has the issuer's CA sign what was granted.
func (ra *RegistrationAuthority) sign(ctx context.Context, issuer *v1alpha1.MeshIssuer, grant *Grant) (*Signed, *Refusal) {
	signer, err := ra.signers.SignerFor(ctx, issuer)
	if err != nil {
		if reason := certs.ReasonOf(err); reason != "" {
			return nil, wait(reason, "%s", err)
		}
		return nil, retry(err)
	}
	if isKeyOf(signer.CA(), grant.PublicKey) { // the CA may have come since the key was examined
		return nil, keyOfCA()
	}
	now := ra.now()
	identity := grant.Identity.URI.String()
	if holder := ra.keys.Claim(grant.KeySHA256, identity, now.Add(grant.Duration), now); holder != "" {
		return nil, keyReused(holder)
	}
	begin := time.Now()
	signed, refusal, err := signer.Sign(ctx, *grant, now)
	if err != nil {
		return nil, retry(err)
	}
	if refusal == nil {
		ra.metrics.signed(issuer.Name, time.Since(begin))
	}
	return signed, refusal
}

// handOver returns what a write says that was to hand over what was signed. Where the API server refused it, what was
// signed never leaves the process. Where its answer is lost, or it does not know itself, the certificate may be out there,
// and the audit log gets to have it.
func handOver(err error, record func(Audit), grant *Grant, signed *Signed) error {
	if err != nil && !isRefused(err) {
		record(Audit{Outcome: Unknown, Reason: ReasonTemporary, Detail: err.Error(), Grant: grant, Signed: signed})
	}
	return err
}

// isRefused tells whether an API server says that it did not do what it was asked to.
func isRefused(err error) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	code := int32(0)
	if ok {
		code = status.Status().Code
	}
	return code >= http.StatusBadRequest && code < http.StatusInternalServerError && code != http.StatusRequestTimeout
}

// record writes down a decision. issuer is nil where the request names none that exists: what a requester made up is no
// label of a metric.
func (ra *RegistrationAuthority) record(a Audit, issuer *v1alpha1.MeshIssuer) {
	a.Log(ra.log)
	name := "unknown"
	if issuer != nil {
		name = issuer.Name
	}
	kind, _, _ := strings.Cut(a.Object, " ")
	ra.metrics.decided(name, kind, a.Outcome, a.Reason)
}

// readUser reads a KafkaUser and what its certificate depends on. What does not exist stays nil. The objects belong to
// the cache, where the reader is one, and must not be changed.
func readUser(ctx context.Context, reader client.Reader, user client.ObjectKey, issuer string) (UserFacts, error) {
	var f UserFacts
	var err error
	if f.Issuer, err = read(ctx, reader, client.ObjectKey{Name: issuer}, &v1alpha1.MeshIssuer{}); err != nil {
		return f, err
	}
	if user.Name == "" {
		return f, nil
	}
	if f.User, err = read(ctx, reader, user, &v1alpha1.KafkaUser{}); err != nil || f.User == nil {
		return f, err
	}
	ref := f.User.Spec.ClusterRef.In(user.Namespace)
	f.Cluster, err = read(ctx, reader, client.ObjectKey{Namespace: ref.Namespace, Name: ref.Name}, &v1alpha1.KafkaCluster{})
	if err != nil || f.Cluster == nil {
		return f, err
	}
	namespace, err := read(ctx, reader, client.ObjectKey{Name: user.Namespace}, &corev1.Namespace{})
	if err != nil || namespace == nil {
		return f, err
	}
	// A malformed selector admits nobody.
	f.Admitted, _ = f.Cluster.Admits(namespace.Labels)
	return f, nil
}

// read returns nil where the object does not exist.
func read[T client.Object](ctx context.Context, reader client.Reader, key client.ObjectKey, into T) (T, error) {
	var none T
	err := reader.Get(ctx, key, into, client.UnsafeDisableDeepCopy)
	switch {
	case err == nil:
		return into, nil
	case apierrors.IsNotFound(err):
		return none, nil
	}
	return none, fmt.Errorf("read %T %s: %w", into, key, err)
}

// announced remembers what was last said of each request that waits, where the API has no place to keep it, so that it
// is said once.
type announced struct {
	mu   sync.Mutex
	said map[client.ObjectKey]string
}

// first tells whether the text is news of the request.
func (a *announced) first(key client.ObjectKey, text string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.said[key] == text {
		return false
	}
	if a.said == nil {
		a.said = map[client.ObjectKey]string{}
	}
	a.said[key] = text
	return true
}

// keepOpen answers for a request that is neither signed nor denied: one that waits is announced once and looked at again,
// one on whose way something failed is an error and is decided anew.
func (a *announced) keepOpen(request client.Object, refusal *Refusal, record func(Audit), recorder events.EventRecorder) (ctrl.Result, error) {
	key := client.ObjectKeyFromObject(request)
	if refusal.Kind == Retry {
		record(Audit{Outcome: Retries, Reason: refusal.Reason, Detail: refusal.Detail})
		return ctrl.Result{}, fmt.Errorf("request %s: %w", key, refusal)
	}
	if a.first(key, refusal.Error()) {
		record(Audit{Outcome: Waits, Reason: refusal.Reason, Detail: refusal.Detail})
		recorder.Eventf(request, nil, corev1.EventTypeWarning, "Pending", "Wait", "%s: %s", refusal.Reason, refusal.Answer)
	}
	return ctrl.Result{RequeueAfter: recheck}, nil
}

func (a *announced) forget(key client.ObjectKey) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.said, key)
}

// issuedNote is the text of an Issued event.
func issuedNote(grant *Grant, signed *Signed) string {
	return fmt.Sprintf("signed %s, serial %s, until %s", grant.Identity.Subject, certs.SerialString(signed.Certificate), signed.Certificate.NotAfter.UTC().Format(time.RFC3339))
}

// conditionTime is now as the API stores it.
func (ra *RegistrationAuthority) conditionTime() metav1.Time {
	return metav1.NewTime(ra.now()).Rfc3339Copy()
}
