package plan

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// A component's command line decides what the tests of the whole product run
// against, so every change of one is meant to be seen in review.
func TestPlan(t *testing.T) {
	tests := map[string]Params{
		"node": {
			Dir: "/cluster", Binary: "/cache/kubernetes", APIPort: 6443, EtcdPort: 2379, EtcdPeerPort: 2380, ServiceCIDR: "10.128.64.0/18",
			NodeName: "node1", NodeIP: "10.128.0.2", PodCIDR: "10.128.128.0/17", DNS: "10.128.64.10", CNIDir: "/usr/lib/cni",
		},
		"control-plane": {
			Dir: "/cluster", Binary: "/cache/kubernetes", ControlPlane: true, APIPort: 40001, EtcdPort: 40002, EtcdPeerPort: 40003, ServiceCIDR: "10.96.0.0/16",
		},
	}
	for name, p := range tests {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			for _, c := range Components(p) {
				b.WriteString("== " + c.Name)
				if c.Late {
					b.WriteString(" (late)")
				}
				b.WriteString("\n" + c.Path + "\n  " + strings.Join(c.Args, "\n  ") + "\nready: " + c.Ready + "\n\n")
			}
			files := Files(p)
			for _, f := range slices.Sorted(maps.Keys(files)) {
				b.WriteString("== " + f + "\n" + files[f] + "\n")
			}
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.MkdirAll("testdata", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("the plan is no longer %s (go test -update rewrites it):\n%s", golden, b.String())
			}
		})
	}
}

func TestControlPlaneNeedsNoNode(t *testing.T) {
	for _, c := range Components(Params{Dir: "/d", Binary: "/k", ControlPlane: true}) {
		if c.Name == "kubelet" || c.Name == "kube-proxy" || c.Name == "containerd" || c.Name == "kube-scheduler" {
			t.Errorf("%s is part of a control plane without a node", c.Name)
		}
	}
}
