// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package authorizer holds what SignetAuthorizer does in a real broker and controller, as clients see it: its tests have
// the build tag kafka. What it decides is in broker/, with tests of its own.
package authorizer
