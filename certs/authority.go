// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// Authority is a CA below which certificates were, are or will be signed.
type Authority struct {
	// CA is the authority. It has a Key only where that is Signet's own (the intermediate): the key of the mesh CA stays
	// where it is, and a step-ca's is elsewhere.
	CA *CA
	// Mode says who has the key: with ModeIntermediate it is in CA, with ModeDirect in the MeshIssuer's Secret, with
	// ModeStepCA elsewhere.
	Mode v1alpha1.CAMode
	// Source identifies what the authority was made from; what another Source asks for is another Authority.
	Source string
	// LeavesUntil is a time after which no certificate that it signed is valid. It is recorded before a certificate is
	// signed, so that it holds whenever the process dies.
	LeavesUntil time.Time
}

// Record is what Signet remembers of a MeshIssuer's CAs: who signs, who will, and who is still trusted. The verifiers'
// trust follows from it alone.
type Record struct {
	// Phase is the step of the rotation.
	Phase v1alpha1.RotationPhase
	// Since is when the phase began.
	Since time.Time
	// Signing signs. It is nil before the first CA was found.
	Signing *Authority
	// Next will sign as soon as it is trusted everywhere; set while Distributing.
	Next *Authority
	// TrustedSince is when Next was first seen trusted everywhere, and zero as long as it is not.
	TrustedSince time.Time
	// Retired signed before, and may have signed certificates that are still valid. None has a key.
	Retired []Authority
}

// Trusted returns the root certificates that verifiers have to trust, each once: those of who signs first.
func (r *Record) Trusted() []*x509.Certificate {
	var roots []*x509.Certificate
	if r.Signing != nil {
		roots = append(roots, r.Signing.CA.Roots...)
	}
	if r.Next != nil {
		roots = append(roots, r.Next.CA.Roots...)
	}
	for _, a := range r.Retired {
		roots = append(roots, a.CA.Roots...)
	}
	return unique(roots)
}

// maxRecordBytes bounds a stored record; one of Signet's own has about 10 KiB.
const maxRecordBytes = 256 << 10

// storedRecord and storedAuthority are the JSON form.
type storedRecord struct {
	Phase        v1alpha1.RotationPhase `json:"phase"`
	Since        time.Time              `json:"since"`
	Signing      *storedAuthority       `json:"signing,omitempty"`
	Next         *storedAuthority       `json:"next,omitempty"`
	TrustedSince time.Time              `json:"trustedSince,omitzero"`
	Retired      []storedAuthority      `json:"retired,omitempty"`
}

type storedAuthority struct {
	Mode          v1alpha1.CAMode `json:"mode"`
	Source        string          `json:"source"`
	LeavesUntil   time.Time       `json:"leavesUntil,omitzero"`
	Certificate   string          `json:"certificate"`
	Intermediates string          `json:"intermediates,omitempty"`
	Roots         string          `json:"roots"`
	Key           string          `json:"key,omitempty"`
}

// Encode returns the record as it is stored: JSON, with certificates and keys in PEM. It is a secret.
func (r *Record) Encode() ([]byte, error) {
	s := storedRecord{Phase: r.Phase, Since: r.Since.UTC(), TrustedSince: r.TrustedSince.UTC()}
	var err error
	if s.Signing, err = storeAuthority(r.Signing); err != nil {
		return nil, err
	}
	if s.Next, err = storeAuthority(r.Next); err != nil {
		return nil, err
	}
	for i := range r.Retired {
		a, err := storeAuthority(&r.Retired[i])
		if err != nil {
			return nil, err
		}
		s.Retired = append(s.Retired, *a)
	}
	return json.Marshal(s)
}

func storeAuthority(a *Authority) (*storedAuthority, error) {
	if a == nil {
		return nil, nil
	}
	s := &storedAuthority{
		Mode: a.Mode, Source: a.Source, LeavesUntil: a.LeavesUntil.UTC(),
		Certificate:   string(EncodeCertificates([]*x509.Certificate{a.CA.Certificate})),
		Intermediates: string(EncodeCertificates(a.CA.Intermediates)),
		Roots:         string(EncodeCertificates(a.CA.Roots)),
	}
	if a.CA.Key != nil {
		key, err := encodeKey(a.CA.Key)
		if err != nil {
			return nil, err
		}
		s.Key = string(key)
	}
	return s, nil
}

// DecodeRecord reads a stored record and checks that it is whole: every phase has the authorities that it needs, every
// key is its certificate's, every chain leads to its roots. Errors wrap ErrCAInvalid and never hold key material.
func DecodeRecord(text []byte) (Record, error) {
	if len(text) > maxRecordBytes {
		return Record{}, fmt.Errorf("%w: %d bytes; at most %d are read", ErrCAInvalid, len(text), maxRecordBytes)
	}
	var s storedRecord
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		// The decoder's own error may quote the text.
		return Record{}, fmt.Errorf("%w: it is not the JSON that Signet writes", ErrCAInvalid)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Record{}, fmt.Errorf("%w: something follows the record", ErrCAInvalid)
	}
	r := Record{Phase: s.Phase, Since: s.Since, TrustedSince: s.TrustedSince}
	var err error
	if r.Signing, err = loadAuthority(s.Signing); err != nil {
		return Record{}, fmt.Errorf("signing: %w", err)
	}
	if r.Next, err = loadAuthority(s.Next); err != nil {
		return Record{}, fmt.Errorf("next: %w", err)
	}
	for i := range s.Retired {
		a, err := loadAuthority(&s.Retired[i])
		if err != nil {
			return Record{}, fmt.Errorf("retired %d: %w", i, err)
		}
		r.Retired = append(r.Retired, *a)
	}
	return r, r.check()
}

// check holds what is true of every record that PlanRotation makes.
func (r *Record) check() error {
	fits := false
	switch r.Phase {
	case v1alpha1.RotationStable, v1alpha1.RotationRetiring:
		fits = r.Next == nil && len(r.Retired) == 0
	case v1alpha1.RotationDistributing:
		fits = r.Next != nil
	case v1alpha1.RotationSigning:
		fits = r.Next == nil && len(r.Retired) > 0
	}
	if !fits || r.Signing == nil || !r.Signing.hasItsKey() || r.Next != nil && !r.Next.hasItsKey() {
		return fmt.Errorf("%w: its parts do not fit its phase", ErrCAInvalid)
	}
	return nil
}

func (a *Authority) hasItsKey() bool {
	return (a.Mode == v1alpha1.ModeIntermediate) == (a.CA.Key != nil)
}

func loadAuthority(s *storedAuthority) (*Authority, error) {
	if s == nil {
		return nil, nil
	}
	certificates, err := ParseCertificates([]byte(s.Certificate))
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	roots, err := ParseCertificates([]byte(s.Roots))
	if err != nil {
		return nil, fmt.Errorf("roots: %w", err)
	}
	ca := &CA{Certificate: certificates[0], Roots: roots}
	if s.Intermediates != "" {
		if ca.Intermediates, err = ParseCertificates([]byte(s.Intermediates)); err != nil {
			return nil, fmt.Errorf("intermediates: %w", err)
		}
	}
	path, err := pathToRoot(ca.Certificate, ca.Intermediates, roots)
	if err != nil {
		return nil, err
	}
	if !slices.EqualFunc(path, ca.Intermediates, (*x509.Certificate).Equal) {
		return nil, fmt.Errorf("%w: its chain is not in order", ErrCAInvalid)
	}
	if s.Key != "" {
		key, err := parseKey([]byte(s.Key))
		if err != nil {
			return nil, fmt.Errorf("key: %w", err)
		}
		if err := checkSigning(ca.Certificate, key); err != nil {
			return nil, err
		}
		ca.Key = key
	}
	return &Authority{CA: ca, Mode: s.Mode, Source: s.Source, LeavesUntil: s.LeavesUntil}, nil
}
