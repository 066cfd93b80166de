// Package debian makes sure that Debian (or Ubuntu) packages are on the
// machine.
//
// It asks dpkg what is installed and runs apt-get for the rest. It never
// removes, upgrades or configures anything, and never starts a package's
// service: what a cluster needs, it starts itself and privately.
package debian
