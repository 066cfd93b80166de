// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"encoding/binary"
	"fmt"
)

// maxFrame is the largest length that Kafka's framing can say.
const maxFrame = 1<<31 - 1

// Buffer is what waits in one direction of a connection.
type Buffer interface {
	// Len is the number of bytes.
	Len() int
	// Bytes copies a part of them, offset+length at most Len, as many as asked for. The connection may keep it.
	Bytes(offset, length int) []byte
}

// requests follows the client's stream from request to request: of each it reads the length, the API key and the
// correlation ID, and skips the rest unread.
type requests struct {
	max    int64
	header [12]byte
	have   int
	skip   int64
}

// scan takes the bytes of a buffer from an offset on, which come next in the stream. It returns the offset of the first
// boundary between two requests there, -1 if there is none. The error says what a client may not send.
func (r *requests) scan(b Buffer, offset int) (boundary int, err error) {
	boundary = -1
	for n := b.Len(); ; {
		if step := min(r.skip, int64(n-offset)); step > 0 {
			r.skip -= step
			offset += int(step)
		}
		if boundary < 0 && r.skip == 0 && r.have == 0 {
			boundary = offset
		}
		if offset == n {
			return boundary, nil
		}
		part := b.Bytes(offset, min(len(r.header)-r.have, n-offset))
		offset += len(part)
		r.have += copy(r.header[r.have:], part)
		if err := r.check(); err != nil {
			return -1, err
		}
		if r.have == len(r.header) {
			r.skip, r.have = int64(binary.BigEndian.Uint32(r.header[:]))+4-int64(len(r.header)), 0
		}
	}
}

// check looks at as much of a header as there is.
func (r *requests) check() error {
	if r.have >= 4 {
		// The shortest request is a header of version 0 with nothing behind it: API key, version, correlation ID.
		if length := int64(int32(binary.BigEndian.Uint32(r.header[:]))); length < 8 || length > r.max {
			return fmt.Errorf("the client sends a request of %d bytes, not between 8 and %d: it speaks another protocol than kafka's, or maxRequestBytes is too low", length, r.max)
		}
	}
	if r.have >= 6 {
		if key := binary.BigEndian.Uint16(r.header[4:]); key == apiSaslHandshake || key == apiSaslAuthenticate {
			return fmt.Errorf("the client tries to log in by itself (api key %d): its certificate says who it is; let it use security.protocol=SSL", key)
		}
	}
	if r.have == len(r.header) {
		if correlation := binary.BigEndian.Uint32(r.header[8:]); correlation-minReservedCorrelation <= 7 {
			return fmt.Errorf("the client uses correlation ID %d, which kafka reserves for SASL", correlation)
		}
	}
	return nil
}

// responses follows the broker's stream from response to response, and takes the answers to a login out of it.
type responses struct {
	header [8]byte
	have   int
	// passed counts the bytes of header that the client has got already.
	passed int
	skip   int64
	// answer collects the body of an answer to a login while ours is true.
	ours   bool
	answer []byte
}

// scan takes a buffer. login is nil while no answer is awaited. It returns what the client gets: with changed false the
// buffer as it is, else the bytes of rest.
func (r *responses) scan(b Buffer, l *login) (rest []byte, changed bool, err error) {
	awaiting := l != nil
	kept, n := 0, b.Len() // rest has everything before kept that the client gets
	cut := func(from, to int) {
		if from > kept {
			rest = append(rest, b.Bytes(kept, from-kept)...)
		}
		kept, changed = to, true
	}
	for offset := 0; ; {
		if step := min(r.skip, int64(n-offset)); step > 0 {
			if r.ours {
				r.answer = append(r.answer, b.Bytes(offset, int(step))...)
				cut(offset, offset+int(step))
			}
			r.skip -= step
			offset += int(step)
		}
		if r.ours && r.skip == 0 {
			if err := l.answer(r.answer); err != nil {
				return nil, true, err
			}
			r.ours, r.answer = false, nil
		}
		if offset == n {
			break
		}
		start := offset
		part := b.Bytes(offset, min(len(r.header)-r.have, n-offset))
		offset += len(part)
		r.have += copy(r.header[r.have:], part)
		if r.have < len(r.header) {
			if awaiting && !l.done() {
				// Whose it is shows with its last byte.
				cut(start, offset)
			} else {
				r.passed = r.have
			}
			break
		}
		length, correlation := int64(int32(binary.BigEndian.Uint32(r.header[:]))), binary.BigEndian.Uint32(r.header[4:])
		if length < 4 {
			return nil, true, fmt.Errorf("the broker sends a response of %d bytes, less than 4", length)
		}
		r.skip = length - 4
		switch held := r.header[r.passed : len(r.header)-len(part)]; {
		case correlation-minReservedCorrelation > 7:
			// The client's. What was held of its header goes first.
			if len(held) > 0 {
				cut(start, start)
				rest = append(rest, held...)
			}
		case !awaiting || l.done() || correlation != l.next() || r.passed > 0:
			return nil, true, fmt.Errorf("the broker answers a login out of turn (correlation ID %d)", correlation)
		case length > maxAnswer:
			return nil, true, fmt.Errorf("the broker's answer to a login has %d bytes, more than %d", length, maxAnswer)
		default:
			cut(start, offset)
			r.ours = true
		}
		r.have, r.passed = 0, 0
	}
	if changed {
		cut(n, n)
	}
	return rest, changed, nil
}
