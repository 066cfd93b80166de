// Command istio is Istio's control plane (pilot-discovery) and its sidecar agent (pilot-agent) in one binary, built from
// the published module, for clusters that have no registry to pull images from. The name it is started by selects the
// part; it decides nothing of its own.
package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	meshconfig "istio.io/api/mesh/v1alpha1"
	agent "istio.io/istio/pilot/cmd/pilot-agent/app"
	"istio.io/istio/pilot/cmd/pilot-discovery/app"
	istioagent "istio.io/istio/pkg/istio-agent"
	"istio.io/istio/pkg/log"
	"istio.io/istio/pkg/security"
	"istio.io/istio/security/pkg/nodeagent/sds"
)

func main() {
	log.EnableKlogWithCobra()
	var root *cobra.Command
	if filepath.Base(os.Args[0]) == "pilot-agent" {
		root = agent.NewRootCommand(func(o *security.Options, c security.SecretManager, p *meshconfig.PrivateKeyProvider) istioagent.SDSService {
			return sds.NewServer(o, c, p)
		})
	} else {
		root = app.NewRootCommand()
	}
	if err := root.Execute(); err != nil {
		log.Error(err)
		os.Exit(1)
	}
}
