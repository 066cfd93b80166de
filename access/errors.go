// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package access

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/signet-kafka/signet/api/v1alpha1"
)

// ErrPartial is what a *PartialError is: some bindings of a request were carried out and some were not.
var ErrPartial = errors.New("partial success")

// UnreachableError says that the brokers gave no answer that counts: no connection, no TLS handshake, a timeout, or an
// error that Kafka itself calls retriable. What was asked for may have happened nevertheless; asking again is safe.
type UnreachableError struct {
	Cluster string
	Err     error
}

func (e *UnreachableError) Error() string {
	var closed *kgo.ErrFirstReadEOF
	if errors.As(e.Err, &closed) {
		// The library's text asks whether TLS is missing, which is the least likely cause.
		return fmt.Sprintf("kafkacluster %s closes the connection without a word: its brokers have no ssl.principal.mapping.rules for Signet's certificate, or do not trust it: append the rendered server.properties to theirs and restart them; or the admin listener's authentication is not what spec.listeners says", e.Cluster)
	}
	return fmt.Sprintf("kafkacluster %s does not answer: %v", e.Cluster, e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// RefusedError says that the brokers answered and refused. Err is the *kerr.Error.
type RefusedError struct {
	Cluster string
	// Message is what the broker says beside its error code.
	Message string
	Err     error
}

func (e *RefusedError) Error() string {
	text := fmt.Sprintf("kafkacluster %s refuses: %s", e.Cluster, strings.TrimSuffix(e.Err.Error(), "."))
	if e.Message != "" {
		text += ": " + e.Message
	}
	switch {
	case errors.Is(e.Err, kerr.SecurityDisabled):
		text += "; set authorizer.class.name on every broker and controller"
	case errors.Is(e.Err, kerr.SaslAuthenticationFailed):
		text += "; the brokers do not know the KafkaCluster's spec.admin.sasl: correct the Secret that it names, or make the brokers accept it (kafka-configs.sh --alter --add-config for SCRAM)"
	case errors.Is(e.Err, kerr.UnsupportedSaslMechanism):
		text += "; spec.admin.sasl.mechanism is not among the listener's sasl.enabled.mechanisms"
	case errors.Is(e.Err, kerr.ClusterAuthorizationFailed):
		text += "; make the KafkaCluster's status.adminPrincipal a super user (super.users of every broker and controller)"
	}
	return text
}

func (e *RefusedError) Unwrap() error { return e.Err }

// PartialError lists the bindings of a request that a broker refused; the others are in force. It is an ErrPartial.
type PartialError struct {
	Refused []Refusal
}

// Refusal is one binding that a broker refused to create or to delete.
type Refusal struct {
	Binding Binding
	Err     error
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("%d bindings refused, the first: %s: %v", len(e.Refused), e.Refused[0].Binding, e.Refused[0].Err)
}

// Is makes the error an ErrPartial.
func (e *PartialError) Is(target error) bool { return target == ErrPartial }

// InvalidClusterError says that a KafkaCluster cannot be worked with as it is declared.
type InvalidClusterError struct{ Err error }

func (e *InvalidClusterError) Error() string { return e.Err.Error() }

func (e *InvalidClusterError) Unwrap() error { return e.Err }

// classify gives an error of a request the type that says what to do next.
func classify(cluster string, err error) error {
	var unreachable *UnreachableError
	var refused *RefusedError
	if err == nil || errors.As(err, &unreachable) || errors.As(err, &refused) {
		return err
	}
	var credentials *CredentialsError
	if errors.As(err, &credentials) {
		return credentials
	}
	var answer *kerr.Error
	if errors.As(err, &answer) && !answer.Retriable {
		return &RefusedError{Cluster: cluster, Err: answer}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %s: %w", requestTimeout, err)
	}
	return &UnreachableError{Cluster: cluster, Err: err}
}

// answered turns an error code and message of a response into an error, nil for success.
func answered(cluster string, code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err == nil {
		return nil
	}
	var answer *kerr.Error
	if errors.As(err, &answer) && answer.Retriable {
		return &UnreachableError{Cluster: cluster, Err: err}
	}
	refused := &RefusedError{Cluster: cluster, Err: err}
	// The broker's words on a failed authorization are the request's internals, different each time.
	if message != nil && !errors.Is(err, kerr.ClusterAuthorizationFailed) {
		refused.Message = *message
	}
	return refused
}

// ReasonOf is the condition reason for an error of a request.
func ReasonOf(err error) string { return reasonOf(err) }

func reasonOf(err error) string {
	var refused *RefusedError
	var invalid *InvalidClusterError
	var claimed *ClaimedError
	var credentials *CredentialsError
	switch {
	case errors.As(err, &credentials):
		return v1alpha1.ReasonCredentialsNotFound
	case errors.As(err, &claimed):
		return v1alpha1.ReasonConflict
	case errors.As(err, &refused), errors.Is(err, ErrPartial):
		return v1alpha1.ReasonRefusedByBroker
	case errors.As(err, &invalid):
		return v1alpha1.ReasonInvalid
	}
	return v1alpha1.ReasonUnreachable
}
