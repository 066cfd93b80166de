// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// The parts of Kafka's protocol that a login needs: request header version 1 (KIP-36), SaslHandshake version 1 (KIP-152)
// and SaslAuthenticate version 1 (KIP-368), which every broker since 2.2 knows.
const (
	apiSaslHandshake    = 17
	apiSaslAuthenticate = 36
	apiVersion          = 1
	clientID            = "signet-filter"
	mechanism           = "OAUTHBEARER"

	// Kafka's Java client keeps these last correlation IDs for SASL (SaslClientAuthenticator.MIN_RESERVED_CORRELATION_ID),
	// so that an answer tells by its ID alone whose it is. Of clients they are refused.
	minReservedCorrelation    = 0x7fffffff - 7
	correlationHandshake      = minReservedCorrelation
	correlationAuthenticate   = minReservedCorrelation + 1
	maxAnswer                 = 64 << 10
	errorUnsupportedMechanism = 33
)

// errTruncated says that an answer ends too early.
var errTruncated = errors.New("the broker's answer is malformed")

// loginRequests are the two requests by which a token is presented (RFC 7628 section 3.1).
func loginRequests(token string) []byte {
	message := "n,,\x01auth=Bearer " + token + "\x01\x01"
	b := request(nil, apiSaslHandshake, correlationHandshake, func(b []byte) []byte { return appendString(b, mechanism) })
	return request(b, apiSaslAuthenticate, correlationAuthenticate, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(b, uint32(len(message))), message...)
	})
}

func request(b []byte, key uint16, correlation uint32, body func([]byte) []byte) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint32(b, 0)
	b = binary.BigEndian.AppendUint16(b, key)
	b = binary.BigEndian.AppendUint16(b, apiVersion)
	b = binary.BigEndian.AppendUint32(b, correlation)
	b = body(appendString(b, clientID))
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}

func appendString(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint16(b, uint16(len(s))), s...)
}

// login follows the broker's two answers to loginRequests.
type login struct {
	answered int
	// lifetime of the session; 0 if the broker sets no end to it.
	lifetime time.Duration
}

// next is the correlation ID of the answer that has to come next.
func (l *login) next() uint32 {
	if l.answered == 0 {
		return correlationHandshake
	}
	return correlationAuthenticate
}

func (l *login) done() bool { return l.answered == 2 }

// answer takes the body of an answer, behind its correlation ID. The error says why the login failed.
func (l *login) answer(body []byte) error {
	b := reader{rest: body}
	code := int16(b.uint16())
	if l.answered == 0 {
		// What follows are the mechanisms that the broker offers.
		switch {
		case b.failed:
			return errTruncated
		case code == errorUnsupportedMechanism:
			return fmt.Errorf("the broker's listener does not offer %s: set sasl.enabled.mechanisms", mechanism)
		case code != 0:
			return fmt.Errorf("the broker refuses the handshake with error %d", code)
		}
		l.answered = 1
		return nil
	}
	message := b.string()
	challenge := b.take(int(int32(b.uint32())))
	lifetime := int64(b.uint32())<<32 | int64(b.uint32())
	switch {
	case b.failed:
		return errTruncated
	case code != 0:
		return fmt.Errorf("the broker refuses the token with error %d: %.256q", code, message)
	case len(challenge) > 0:
		// A refused OAUTHBEARER token is answered without an error code, with why in JSON (RFC 7628 section 3.2.2).
		return fmt.Errorf("the broker refuses the token: %.256q", challenge)
	case len(b.rest) > 0 || lifetime < 0:
		return errTruncated
	}
	l.answered, l.lifetime = 2, time.Duration(min(lifetime, int64(maxSession/time.Millisecond)))*time.Millisecond
	return nil
}

// maxSession keeps arithmetic with times from overflowing.
const maxSession = 365 * 24 * time.Hour

// reader reads Kafka's primitive types; after a failure everything is zero.
type reader struct {
	rest   []byte
	failed bool
}

func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.rest) {
		r.failed, r.rest = true, nil
		return nil
	}
	taken := r.rest[:n]
	r.rest = r.rest[n:]
	return taken
}

func (r *reader) uint16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) uint32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

// string reads a NULLABLE_STRING; null is "".
func (r *reader) string() string {
	n := int16(r.uint16())
	if n == -1 {
		return ""
	}
	return string(r.take(int(n)))
}
