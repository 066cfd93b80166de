// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular_test

import (
	"fmt"

	"github.com/signet-kafka/signet/principal/regular"
)

// Two subjects of different owners get one principal if namespace and name are joined by a character of both.
func ExampleInjective() {
	const label = `[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?`
	f, err := regular.NewFunction(`\ACN=(`+label+`),OU=(`+label+`),O=signet\z`,
		[]regular.Part{{Group: 2}, {Literal: "-"}, {Group: 1}})
	if err != nil {
		fmt.Println(err)
		return
	}
	one, two, principal, ok, err := regular.Injective(f)
	fmt.Println(one, two, principal, ok, err)
	// Output: CN=a,OU=a-a,O=signet CN=a-a,OU=a,O=signet a-a-a false <nil>
}
