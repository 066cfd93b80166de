// Copyright The Signet Authors
// SPDX-License-Identifier: Apache-2.0

// Package subject reads and prints the subjects of certificates (X.501 distinguished names) exactly as a Kafka broker
// sees them: byte for byte what javax.security.auth.x500.X500Principal.getName() prints, which is RFC 2253 with the
// last RDN first, nine keywords, and every other attribute as OID=#hex.
//
// It is fed with the DER of a certificate (Parse) or with what somebody typed (ParseText). It never looks at Go's
// pkix.Name, whose text differs, and never decides which principal a subject is: that is package mapping's.
package subject
