// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package principal

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/signet-kafka/signet/principal/regular"
)

// DefaultTemplate is injective: a namespace has no dot, so no two KafkaUsers share a principal.
const DefaultTemplate = "{namespace}.{name}"

// The placeholders of a Template.
const (
	placeNamespace      = "{namespace}"
	placeName           = "{name}"
	placeServiceAccount = "{serviceAccount}"
)

var placeholder = regexp.MustCompile(`\{[^}]*\}`)

// Template makes the name of a KafkaUser's principal (KafkaCluster spec.principalTemplate).
type Template struct {
	text string
}

// Identity is what a Template is filled with.
type Identity struct {
	// Namespace and Name of the KafkaUser, both DNS labels.
	Namespace, Name string
	// ServiceAccount of its workload, a DNS subdomain; "" if it names none.
	ServiceAccount string
}

// ParseTemplate reads a template; "" is DefaultTemplate.
func ParseTemplate(text string) (Template, error) {
	if text == "" || text == DefaultTemplate { // nearly always, for thousands of KafkaUsers in a row
		return Template{text: DefaultTemplate}, nil
	}
	for _, place := range placeholder.FindAllString(text, -1) {
		if place != placeNamespace && place != placeName && place != placeServiceAccount {
			return Template{}, fmt.Errorf("principal template %q: %s is none of {namespace}, {name} and {serviceAccount}", text, place)
		}
	}
	if strings.ContainsAny(placeholder.ReplaceAllString(text, ""), `{}$/\:;`) {
		return Template{}, fmt.Errorf("principal template %q has one of { } $ / \\ : ; outside a placeholder", text)
	}
	return Template{text: text}, nil
}

// errNoServiceAccount is what Name says of a KafkaUser without a workload.
var errNoServiceAccount = errors.New("the KafkaCluster's principalTemplate needs spec.workload.serviceAccountName")

// Name fills the template. It errs where the template needs a service account and there is none.
func (t Template) Name(id Identity) (string, error) {
	if id.ServiceAccount == "" && strings.Contains(t.text, placeServiceAccount) {
		return "", errNoServiceAccount
	}
	return t.fill(id.Namespace, id.Name, id.ServiceAccount), nil
}

func (t Template) fill(namespace, name, serviceAccount string) string {
	if t.text == DefaultTemplate {
		return namespace + "." + name
	}
	return strings.NewReplacer(placeNamespace, namespace, placeName, name, placeServiceAccount, serviceAccount).Replace(t.text)
}

// The languages of what fills a template: DNS labels (RFC 1123) of at most 63 characters, and service accounts, which
// are DNS subdomains; their limit of 253 is left out, since two that collide can always be found far below it.
const (
	labelLanguage          = `[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?`
	serviceAccountLanguage = `[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?`
)

// Collision returns two identities to which the template gives one name. ok is false if there are none: the template
// is injective in what it is made of. It decides by automata, in time quadratic in the template's length.
func (t Template) Collision() (a, b Identity, name string, ok bool, err error) {
	var input strings.Builder
	var places []string
	var output []regular.Part
	input.WriteString(`\A`)
	rest := t.text
	for rest != "" {
		at := placeholder.FindStringIndex(rest)
		if at == nil {
			output = append(output, regular.Part{Literal: rest})
			break
		}
		if at[0] > 0 {
			output = append(output, regular.Part{Literal: rest[:at[0]]})
		}
		place := rest[at[0]:at[1]]
		language := labelLanguage
		if place == placeServiceAccount {
			language = serviceAccountLanguage
		}
		// What fills the template, as a word: each part behind a separator that none of them has.
		places = append(places, place)
		input.WriteString("(" + language + ")/")
		output = append(output, regular.Part{Group: len(places)})
		rest = rest[at[1]:]
	}
	input.WriteString(`\z`)
	function, err := regular.NewFunction(input.String(), output)
	if err != nil {
		return a, b, "", false, fmt.Errorf("principal template %q: %w", t.text, err)
	}
	first, second, name, injective, err := regular.Injective(function)
	if err != nil || injective {
		return a, b, "", false, err
	}
	return identity(places, first), identity(places, second), name, true, nil
}

func identity(places []string, word string) Identity {
	var id Identity
	for i, value := range strings.Split(strings.TrimSuffix(word, "/"), "/") {
		switch places[i] {
		case placeNamespace:
			id.Namespace = value
		case placeName:
			id.Name = value
		case placeServiceAccount:
			id.ServiceAccount = value
		}
	}
	return id
}

// generic tells whether one static rule of a stock broker can say what the template says: it is made of what a
// KafkaUser's certificate has, and no two KafkaUsers share a principal.
func (t Template) generic() bool {
	if t.text == DefaultTemplate {
		return true
	}
	if strings.Contains(t.text, placeServiceAccount) || strings.Count(t.text, placeNamespace) != 1 || strings.Count(t.text, placeName) != 1 {
		return false
	}
	_, _, _, collides, err := t.Collision()
	return err == nil && !collides
}

// Collisions returns the names that more than one of the identities have, with all that have them, in one pass.
func (t Template) Collisions(identities []Identity) map[string][]Identity {
	holders := make(map[string][]Identity, len(identities))
	for _, id := range identities {
		if name, err := t.Name(id); err == nil {
			holders[name] = append(holders[name], id)
		}
	}
	for name, ids := range holders {
		if len(ids) < 2 {
			delete(holders, name)
		}
	}
	return holders
}
