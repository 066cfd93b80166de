// Package cache keeps the results of long builds outside the source tree,
// addressed by what went into them.
//
// It decides where a build's result lives (a directory named after a hash of
// its key), that it appears there complete or not at all, and that two
// processes never build the same thing at once. It never decides what the key
// must hold: callers pass versions, flags and [Sources] of the files they
// build from. It never removes entries; the whole directory may be deleted at
// any time.
package cache
