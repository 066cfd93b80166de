// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"errors"
	"fmt"
	"time"

	"github.com/signet-kafka/signet/principal/mapping"
)

// MaxHeld bounds what waits for a login, in bytes. Envoy stops reading at its own limit, per_connection_buffer_limit_bytes
// (default 1 MiB), long before.
const MaxHeld = 4 << 20

// minRenewal is the shortest time between two logins: Kafka takes a second one within a second for an ordinary request
// (KafkaChannel.MIN_REAUTH_INTERVAL_ONE_SECOND_NANOS).
const minRenewal = 2 * time.Second

// Action says what becomes of the buffer of an event.
type Action int

// The actions. The zero value is Pass.
const (
	// Pass lets the buffer through as it is.
	Pass Action = iota
	// Replace lets Data through in the buffer's place; Data may be empty.
	Replace
	// Prepend lets Data through, and the buffer behind it.
	Prepend
	// Send lets Data through in the buffer's place, and nothing more until an Effect with Resume.
	Send
	// Hold leaves the buffer where it is. The next event's buffer begins with it.
	Hold
	// Close closes the connection. Nothing of the buffer goes anywhere.
	Close
)

// Effect is what Envoy has to do after an event.
type Effect struct {
	// Action is for the event's buffer.
	Action Action
	// Data of Replace, Prepend and Send.
	Data []byte
	// Resume lets the client's bytes through again: first Held, then what has arrived since.
	Resume bool
	// Held is what Send took from the buffer.
	Held []byte
	// Log is a line for the log, "" for none. It holds no secret. Of Close, it is why.
	Log string
}

// state of a connection.
type state int

const (
	// fresh: the client has sent nothing.
	fresh state = iota
	// loggingIn: the broker has not answered yet.
	loggingIn
	// open: what the client sends goes through.
	open
	closed
)

// Connection is one connection of a client.
//
// The broker ends a session when its token expires, by closing the connection at the next request. So once half of a
// session is over, the login is renewed between two requests of the client: a connection lasts as long as no request
// takes more than the other half to reach the broker.
type Connection struct {
	filter      *Filter
	state       state
	deadline    time.Time
	certificate func() string
	entry       mapping.Entry

	requests  requests
	responses responses
	// held is what the client sent before the login was over, and Envoy does not hold any more.
	held []byte
	// seen counts the bytes in Envoy's buffer that requests has scanned, while they are held.
	seen int
	// login is under way; nil if none is.
	login *login
	// renew is when to log in again; zero if never.
	renew time.Time
}

// NewConnection begins a connection. certificate returns Envoy's attribute connection.peer_certificate, "" if there is
// none; it is asked at the first bytes of the client, when the TLS handshake is over.
func (f *Filter) NewConnection(certificate func() string, now time.Time) *Connection {
	return &Connection{filter: f, certificate: certificate, deadline: now.Add(f.loginTimeout), requests: requests{max: f.maxRequest}}
}

// Downstream takes bytes of the client. end says that no more will come.
func (c *Connection) Downstream(b Buffer, end bool, now time.Time) Effect {
	switch c.state {
	case fresh:
		return c.first(b, end, now)
	case loggingIn:
		return c.wait(b, end, now)
	case open:
		return c.request(b, now)
	}
	return Effect{Action: Close}
}

// first logs in when the client begins to speak.
func (c *Connection) first(b Buffer, end bool, now time.Time) Effect {
	if b.Len() == 0 && !end {
		return Effect{Action: Hold}
	}
	if effect, bad := c.unready(b, end, now); bad {
		return effect
	}
	entry, err := identify(c.filter.set, c.certificate())
	if err != nil {
		return c.close(err)
	}
	c.entry = entry
	token, err := c.filter.signer.Token(entry.Name, now)
	if err != nil {
		return c.close(err)
	}
	c.state, c.login, c.held, c.seen = loggingIn, &login{}, b.Bytes(0, b.Len()), 0
	return Effect{Action: Send, Data: loginRequests(token)}
}

// wait holds what comes before the login is over.
func (c *Connection) wait(b Buffer, end bool, now time.Time) Effect {
	if effect, bad := c.unready(b, end, now); bad {
		return effect
	}
	c.seen = b.Len()
	return Effect{Action: Hold}
}

// unready ends a connection that may not wait for its login any longer.
func (c *Connection) unready(b Buffer, end bool, now time.Time) (Effect, bool) {
	if effect := c.Tick(now); effect.Action == Close {
		return effect, true
	}
	if end {
		return c.close(errors.New("the client hung up before the login was over")), true
	}
	if len(c.held)+b.Len() > MaxHeld {
		return c.close(fmt.Errorf("the client sent more than %d bytes before the login was over: set per_connection_buffer_limit_bytes of the listener", MaxHeld)), true
	}
	if _, err := c.requests.scan(b, c.seen); err != nil {
		return c.close(err), true
	}
	return Effect{}, false
}

// request lets bytes through, and puts the renewal of the login between two requests when it is time.
func (c *Connection) request(b Buffer, now time.Time) Effect {
	boundary, err := c.requests.scan(b, 0)
	if err != nil {
		return c.close(err)
	}
	if boundary < 0 || b.Len() == 0 || c.login != nil || c.renew.IsZero() || now.Before(c.renew) {
		return Effect{}
	}
	token, err := c.filter.signer.Token(c.entry.Name, now)
	if err != nil {
		return c.close(err)
	}
	c.login = &login{}
	data := loginRequests(token)
	if boundary == 0 {
		return Effect{Action: Prepend, Data: data}
	}
	whole := make([]byte, 0, b.Len()+len(data))
	whole = append(whole, b.Bytes(0, boundary)...)
	whole = append(whole, data...)
	return Effect{Action: Replace, Data: append(whole, b.Bytes(boundary, b.Len()-boundary)...)}
}

// Upstream takes bytes of the broker. end says that no more will come.
func (c *Connection) Upstream(b Buffer, end bool, now time.Time) Effect {
	switch c.state {
	case fresh:
		if b.Len() > 0 {
			return c.close(errors.New("the broker speaks before it was asked: it is no listener of kafka without TLS"))
		}
		return Effect{}
	case closed:
		return Effect{Action: Close}
	}
	rest, changed, err := c.responses.scan(b, c.login)
	if err != nil {
		return c.close(err)
	}
	effect := Effect{}
	if changed {
		effect = Effect{Action: Replace, Data: rest}
	}
	loggedIn := c.login != nil && c.login.done()
	if loggedIn {
		c.renew = time.Time{}
		if life := c.login.lifetime; life > 0 {
			c.renew = now.Add(max(life/2, minRenewal))
		}
		c.login = nil
	}
	if c.state == open {
		return effect
	}
	switch {
	case len(rest) > 0 || !changed && b.Len() > 0:
		return c.close(errors.New("the broker answers what it was not asked"))
	case loggedIn:
		effect.Resume, effect.Held = true, c.held
		effect.Log = fmt.Sprintf("logged in as %q by %s %q", c.entry.Name, c.entry.Kind, c.entry.Key)
		c.state, c.held, c.seen = open, nil, 0
	case end:
		return c.close(errors.New("the broker hung up before the login was over"))
	}
	return effect
}

// Tick ends a connection whose login takes too long. Its Action is Close or Pass.
func (c *Connection) Tick(now time.Time) Effect {
	if (c.state == fresh || c.state == loggingIn) && !now.Before(c.deadline) {
		return c.close(fmt.Errorf("no login within %s of connecting", c.filter.loginTimeout))
	}
	return Effect{}
}

// LoggedIn tells whether the broker has accepted the login, so that Tick has nothing to do any more.
func (c *Connection) LoggedIn() bool { return c.state == open }

func (c *Connection) close(err error) Effect {
	who := "a peer"
	if c.entry.Name != "" {
		who = fmt.Sprintf("%q (%s %q)", c.entry.Name, c.entry.Kind, c.entry.Key)
	}
	c.state, c.held, c.login = closed, nil, nil
	return Effect{Action: Close, Log: fmt.Sprintf("close the connection of %s: %v", who, err)}
}
