// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

package regular

// Outputs returns the set of all outputs of the function.
func (f *Function) Outputs() *Language { return &Language{f.image} }
