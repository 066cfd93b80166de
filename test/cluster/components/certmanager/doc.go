// Command cert-manager is cert-manager's controller, webhook and cainjector in one binary, built from the
// published module, for clusters that have no registry to pull images from.
//
// It decides nothing of its own: it parses the flags that cert-manager's Helm chart passes and starts
// cert-manager's packages. The first argument names the component: controller, webhook or cainjector.
//
// It never contains the ACME, Vault and Venafi issuers (their cloud SDKs would triple the build), so only
// SelfSigned, CA and external issuers work. It runs without leader election, hence with one replica.
package main
