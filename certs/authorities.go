// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Authorities keeps the Record of each MeshIssuer, under its name in the one Secret v1alpha1.AuthoritiesSecret. It is
// safe for concurrent use; of two processes that write at once one fails with a conflict and reads anew.
type Authorities struct {
	named     *Named
	live      client.Reader
	writer    client.Client
	namespace string

	// reserving is held while Reserve writes.
	reserving sync.Mutex

	mu      sync.Mutex
	decoded map[string]decodedRecord
	marks   map[string]mark
}

type decodedRecord struct {
	text   []byte
	record Record
	err    error
}

// mark is how far ahead LeavesUntil is recorded for the authority with this certificate.
type mark struct {
	certificate string
	until       time.Time
}

// markAhead is how much further than needed LeavesUntil is recorded: one write of the Secret then lasts for an hour of
// signing. The former root stays trusted that much longer at most.
const markAhead = time.Hour

// NewAuthorities returns the Authorities in the namespace. named watches the Secret, live reads it from the API server
// for whoever is about to write it.
func NewAuthorities(named *Named, live client.Reader, writer client.Client, namespace string) *Authorities {
	return &Authorities{
		named: named, live: live, writer: writer, namespace: namespace,
		decoded: map[string]decodedRecord{}, marks: map[string]mark{},
	}
}

// Reference names the Secret, which the caller has to have watched (Named.Keep).
func (a *Authorities) Reference() Reference {
	return Reference{Kind: KindSecret, Namespace: a.namespace, Name: v1alpha1.AuthoritiesSecret}
}

// Record returns what is recorded of a MeshIssuer, as the watch last saw it. The error wraps ErrNotSetUp where nothing
// is, ErrCAInvalid where it is no record of Signet's; every other is worth a retry. The Record must not be changed.
func (a *Authorities) Record(ctx context.Context, issuer string) (Record, error) {
	// It is asked for each certificate, and reads only.
	return a.read(ctx, a.named, issuer, &corev1.Secret{}, &client.GetOptions{UnsafeDisableDeepCopy: new(true)})
}

func (a *Authorities) read(ctx context.Context, reader client.Reader, issuer string, secret *corev1.Secret, opts ...client.GetOption) (Record, error) {
	found, err := lookup(ctx, reader, client.ObjectKey{Namespace: a.namespace, Name: v1alpha1.AuthoritiesSecret}, secret, opts...)
	if err != nil {
		return Record{}, err
	}
	text := secret.Data[issuer]
	if !found || len(text) == 0 {
		return Record{}, fmt.Errorf("%w: meshissuer %s", ErrNotSetUp, issuer)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	d, ok := a.decoded[issuer]
	if !ok || !bytes.Equal(d.text, text) {
		d = decodedRecord{text: bytes.Clone(text)}
		if d.record, d.err = DecodeRecord(text); d.err != nil {
			d.err = fmt.Errorf("%s, key %s: %w; restore it, or delete the key to begin anew", a.Reference(), issuer, d.err)
		}
		a.decoded[issuer] = d
	}
	return d.record, d.err
}

// Change reads the record from the API server, and writes what change makes of it under the version that was read.
// change gets a zero Record where none is there yet, and returns false to leave it. Nothing is written over a record that
// cannot be read.
func (a *Authorities) Change(ctx context.Context, issuer string, change func(Record) (Record, bool, error)) (Record, error) {
	var secret corev1.Secret
	record, err := a.read(ctx, a.live, issuer, &secret)
	if err != nil && !errors.Is(err, ErrNotSetUp) {
		return Record{}, err
	}
	next, changed, err := change(record)
	if err != nil || !changed {
		return record, err
	}
	text, err := next.Encode()
	if err != nil {
		return Record{}, fmt.Errorf("%s, key %s: %w", a.Reference(), issuer, err)
	}
	return next, a.write(ctx, &secret, func(data map[string][]byte) { data[issuer] = text })
}

// Forget removes the record of a MeshIssuer that is gone, and with it the key of its intermediate.
func (a *Authorities) Forget(ctx context.Context, issuer string) error {
	a.mu.Lock()
	delete(a.decoded, issuer)
	delete(a.marks, issuer)
	a.mu.Unlock()
	var secret corev1.Secret
	found, err := lookup(ctx, a.live, client.ObjectKey{Namespace: a.namespace, Name: v1alpha1.AuthoritiesSecret}, &secret)
	if err != nil || !found || secret.Data[issuer] == nil {
		return err
	}
	return a.write(ctx, &secret, func(data map[string][]byte) { delete(data, issuer) })
}

func (a *Authorities) write(ctx context.Context, secret *corev1.Secret, change func(map[string][]byte)) error {
	data := maps.Clone(secret.Data)
	if data == nil {
		data = map[string][]byte{}
	}
	change(data)
	secret.Data = data
	if secret.ResourceVersion != "" {
		if err := a.writer.Update(ctx, secret, fieldOwner); err != nil {
			return fmt.Errorf("update %s: %w", a.Reference(), err)
		}
		return nil
	}
	secret.ObjectMeta = metav1.ObjectMeta{Namespace: a.namespace, Name: v1alpha1.AuthoritiesSecret, Labels: map[string]string{LabelManagedBy: ManagedBy}}
	secret.Type = corev1.SecretTypeOpaque
	if err := a.writer.Create(ctx, secret, fieldOwner); err != nil {
		return fmt.Errorf("create %s: %w", a.Reference(), err)
	}
	return nil
}

// Names returns the MeshIssuers of which something is recorded.
func (a *Authorities) Names(ctx context.Context) ([]string, error) {
	var secret corev1.Secret
	if _, err := lookup(ctx, a.named, client.ObjectKey{Namespace: a.namespace, Name: v1alpha1.AuthoritiesSecret}, &secret); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(secret.Data)), nil
}

// Reserve records, before a certificate is signed below the authority, that one may be valid until notAfter. It answers
// from memory for an hour of signing after each write. An error means that nothing may be signed: ErrSuperseded where
// another CA signs by now, else worth a retry.
func (a *Authorities) Reserve(ctx context.Context, issuer string, authority *Authority, notAfter time.Time) error {
	certificate := Fingerprint(authority.CA.Certificate.Raw)
	if a.isReserved(issuer, certificate, notAfter) {
		return nil
	}
	// One writes for all who are signing at the moment; they would only get into each other's way.
	a.reserving.Lock()
	defer a.reserving.Unlock()
	if a.isReserved(issuer, certificate, notAfter) {
		return nil
	}
	var until time.Time
	_, err := a.Change(ctx, issuer, func(r Record) (Record, bool, error) {
		if r.Signing == nil || !r.Signing.CA.Certificate.Equal(authority.CA.Certificate) {
			return r, false, fmt.Errorf("%w: meshissuer %s", ErrSuperseded, issuer)
		}
		if until = r.Signing.LeavesUntil; !notAfter.After(until) {
			return r, false, nil
		}
		signing := *r.Signing
		signing.LeavesUntil = notAfter.Add(markAhead).UTC().Truncate(time.Second)
		until = signing.LeavesUntil
		r.Signing = &signing
		return r, true, nil
	})
	if err != nil {
		return err
	}
	a.mu.Lock()
	a.marks[issuer] = mark{certificate: certificate, until: until}
	a.mu.Unlock()
	return nil
}

func (a *Authorities) isReserved(issuer, certificate string, notAfter time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.marks[issuer]
	return m.certificate == certificate && !notAfter.After(m.until)
}

// TrustSource returns an event source that asks for requests when the roots that MeshIssuers' verifiers have to trust
// changed, with the names of these MeshIssuers.
func (a *Authorities) TrustSource(requests func(ctx context.Context, issuers map[string]bool) []reconcile.Request) source.Source {
	var mu sync.Mutex
	seen := map[string]string{}
	return a.named.Source(func(ctx context.Context, ref Reference) []reconcile.Request {
		if ref != a.Reference() {
			return nil
		}
		names, err := a.Names(ctx)
		if err != nil {
			return nil // the watch is in step when it notifies
		}
		mu.Lock()
		changed := map[string]bool{}
		for _, name := range names {
			record, err := a.Record(ctx, name)
			trusted := ""
			if err == nil {
				trusted = Fingerprint(EncodeCertificates(record.Trusted()))
			}
			if was, ok := seen[name]; !ok || was != trusted {
				seen[name] = trusted
				changed[name] = true
			}
		}
		for name := range seen {
			if !slices.Contains(names, name) {
				delete(seen, name)
				changed[name] = true
			}
		}
		mu.Unlock()
		if len(changed) == 0 {
			return nil
		}
		return requests(ctx, changed)
	})
}
