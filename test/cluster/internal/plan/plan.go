package plan

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Fixed places inside a node's own mount namespace.
const (
	ContainerdSocket = "/run/containerd/containerd.sock"
	PauseImage       = "docker.io/signet-test/pause:1"
	CoreDNSImage     = "docker.io/signet-test/coredns:1"
)

// Params are the facts that differ between clusters.
type Params struct {
	// Dir is the cluster's directory; Binary the multi-call binary of etcd and
	// Kubernetes.
	Dir, Binary string
	// ControlPlane leaves everything out that needs a node (and root).
	ControlPlane bool
	// Ports of the API server and of etcd for clients and peers.
	APIPort, EtcdPort, EtcdPeerPort int
	// ServiceCIDR is the prefix of ClusterIPs.
	ServiceCIDR string
	// The node's; empty with ControlPlane.
	NodeName, NodeIP, PodCIDR, DNS string
	// CNIDir holds the network plug-ins.
	CNIDir string
}

// Component is one process of the cluster.
type Component struct {
	// Name is also the name of its log, log/<Name>.log.
	Name string `json:"name"`
	// Path is the executable, Args its arguments without the name.
	Path string   `json:"path"`
	Args []string `json:"args"`
	// Late components start once all others are ready.
	Late bool `json:"late,omitempty"`
	// Ready is what shows that it serves: "socket:PATH", "https:URL" (the
	// administrator's kubeconfig is used), or empty for nothing to wait for.
	Ready string `json:"ready,omitempty"`
}

// Components returns the processes, in their order of start.
func Components(p Params) []Component {
	list := []Component{etcd(p), apiServer(p)}
	if !p.ControlPlane {
		list = append(list, Component{Name: "containerd", Path: "containerd", Args: []string{"--config", filepath.Join(p.Dir, "conf", "containerd.toml")}, Ready: "socket:" + ContainerdSocket})
	}
	list = append(list, controllerManager(p))
	if !p.ControlPlane {
		list = append(list, scheduler(p), kubeProxy(p), kubelet(p))
	}
	return list
}

func (p Params) pki(name string) string { return filepath.Join(p.Dir, "pki", name) }

func etcd(p Params) Component {
	client := fmt.Sprintf("https://127.0.0.1:%d", p.EtcdPort)
	peer := fmt.Sprintf("https://127.0.0.1:%d", p.EtcdPeerPort)
	return Component{Name: "etcd", Path: p.Binary, Args: []string{
		"--name=default",
		"--data-dir=" + filepath.Join(p.Dir, "etcd"),
		// The data never outlives the machine, so nothing is won by waiting
		// for the disk.
		"--unsafe-no-fsync",
		"--log-level=warn",
		"--listen-client-urls=" + client, "--advertise-client-urls=" + client,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=default=" + peer,
		"--client-cert-auth", "--trusted-ca-file=" + p.pki("ca.crt"), "--cert-file=" + p.pki("etcd.crt"), "--key-file=" + p.pki("etcd.key"),
		"--peer-client-cert-auth", "--peer-trusted-ca-file=" + p.pki("ca.crt"), "--peer-cert-file=" + p.pki("etcd.crt"), "--peer-key-file=" + p.pki("etcd.key"),
	}}
}

func apiServer(p Params) Component {
	args := []string{
		fmt.Sprintf("--etcd-servers=https://127.0.0.1:%d", p.EtcdPort),
		"--etcd-cafile=" + p.pki("ca.crt"), "--etcd-certfile=" + p.pki("etcd.crt"), "--etcd-keyfile=" + p.pki("etcd.key"),
		fmt.Sprintf("--secure-port=%d", p.APIPort),
		"--tls-cert-file=" + p.pki("apiserver.crt"), "--tls-private-key-file=" + p.pki("apiserver.key"),
		"--client-ca-file=" + p.pki("ca.crt"),
		"--kubelet-certificate-authority=" + p.pki("ca.crt"),
		"--kubelet-client-certificate=" + p.pki("apiserver-kubelet-client.crt"), "--kubelet-client-key=" + p.pki("apiserver-kubelet-client.key"),
		"--kubelet-preferred-address-types=InternalIP",
		"--requestheader-client-ca-file=" + p.pki("front-proxy-ca.crt"),
		"--requestheader-allowed-names=front-proxy-client",
		"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group", "--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + p.pki("front-proxy-client.crt"), "--proxy-client-key-file=" + p.pki("front-proxy-client.key"),
		"--service-account-issuer=https://kubernetes.default.svc.cluster.local",
		"--service-account-key-file=" + p.pki("sa.pub"), "--service-account-signing-key-file=" + p.pki("sa.key"),
		"--service-cluster-ip-range=" + p.ServiceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--profiling=false",
	}
	if p.ControlPlane {
		// The API server refuses to advertise a loopback address, the only one
		// it listens on here; nothing reads what it advertises (RFC 5737).
		args = append(args, "--bind-address=127.0.0.1", "--advertise-address=192.0.2.1", "--endpoint-reconciler-type=none")
		return Component{Name: "kube-apiserver", Path: p.Binary, Args: args, Ready: fmt.Sprintf("https://127.0.0.1:%d/readyz", p.APIPort)}
	}
	args = append(args, "--bind-address=0.0.0.0", "--advertise-address="+p.NodeIP)
	return Component{Name: "kube-apiserver", Path: p.Binary, Args: args, Ready: fmt.Sprintf("https://%s:%d/readyz", p.NodeIP, p.APIPort)}
}

func controllerManager(p Params) Component {
	args := []string{
		"--kubeconfig=" + p.pki("controller-manager.kubeconfig"),
		"--service-account-private-key-file=" + p.pki("sa.key"),
		"--root-ca-file=" + p.pki("ca.crt"),
		"--cluster-signing-cert-file=" + p.pki("ca.crt"), "--cluster-signing-key-file=" + p.pki("ca.key"),
		"--use-service-account-credentials=true",
		"--leader-elect=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
		"--profiling=false",
		// It makes this directory; the default is in the host's /usr.
		"--flex-volume-plugin-dir=" + filepath.Join(p.Dir, "volume-plugins"),
	}
	if p.ControlPlane {
		args = append(args, "--secure-port=0")
	} else {
		args = append(args, "--bind-address=127.0.0.1")
	}
	return Component{Name: "kube-controller-manager", Path: p.Binary, Args: args, Late: true}
}

func scheduler(p Params) Component {
	return Component{Name: "kube-scheduler", Path: p.Binary, Late: true, Args: []string{
		"--kubeconfig=" + p.pki("scheduler.kubeconfig"),
		"--leader-elect=false", "--bind-address=127.0.0.1", "--profiling=false",
		"--kube-api-qps=200", "--kube-api-burst=400",
	}}
}

func kubeProxy(p Params) Component {
	return Component{Name: "kube-proxy", Path: p.Binary, Late: true, Args: []string{
		"--kubeconfig=" + p.pki("kube-proxy.kubeconfig"),
		"--hostname-override=" + p.NodeName,
		"--proxy-mode=iptables",
		"--cluster-cidr=" + p.PodCIDR,
		// The connection tracking table's size belongs to the host.
		"--conntrack-max-per-core=0",
		"--iptables-min-sync-period=100ms",
		"--metrics-bind-address=127.0.0.1:10249", "--healthz-bind-address=127.0.0.1:10256",
	}}
}

func kubelet(p Params) Component {
	return Component{Name: "kubelet", Path: p.Binary, Late: true, Args: []string{
		"--config=" + filepath.Join(p.Dir, "conf", "kubelet.yaml"),
		"--kubeconfig=" + p.pki("kubelet.kubeconfig"),
		"--hostname-override=" + p.NodeName,
		"--node-ip=" + p.NodeIP,
	}}
}

// Files returns the configuration files by their names below Dir.
func Files(p Params) map[string]string {
	if p.ControlPlane {
		return nil
	}
	return map[string]string{
		"conf/containerd.toml":        containerdConfig(p),
		"conf/cni/10-signet.conflist": cniConfig(p),
		"conf/kubelet.yaml":           kubeletConfig(p),
	}
}

// restrict_oom_score_adj: without CAP_SYS_RESOURCE, which many containers and
// virtual machines lack, a lower score cannot be set and no container starts.
func containerdConfig(p Params) string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
  address = %q

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %q
  restrict_oom_score_adj = true

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %q
    conf_dir = %q
`, ContainerdSocket, PauseImage, p.CNIDir, filepath.Join(p.Dir, "conf", "cni"))
}

// Pods hang on routed point-to-point links rather than on a bridge, so that
// packets between two pods pass the node's iptables without br_netfilter.
func cniConfig(p Params) string {
	return fmt.Sprintf(`{
  "cniVersion": "0.4.0",
  "name": "signet",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni/ipam",
        "ranges": [[{"subnet": %q}]],
        "routes": [{"dst": "0.0.0.0/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, p.PodCIDR)
}

// cgroupsPerQOS is off because a node inside a container or virtual machine
// does not always have every controller that the kubelet's tree needs; limits
// of containers still hold. Configuration and Secrets are watched, and pods
// looked at every 5 s, so that a changed ConfigMap is in its volume at once.
func kubeletConfig(p Params) string {
	return strings.Join([]string{
		"apiVersion: kubelet.config.k8s.io/v1beta1",
		"kind: KubeletConfiguration",
		"authentication:",
		"  anonymous: {enabled: false}",
		"  webhook: {enabled: true, cacheTTL: 30s}",
		"  x509: {clientCAFile: " + p.pki("ca.crt") + "}",
		"authorization: {mode: Webhook}",
		"tlsCertFile: " + p.pki("kubelet.crt"),
		"tlsPrivateKeyFile: " + p.pki("kubelet.key"),
		"containerRuntimeEndpoint: unix://" + ContainerdSocket,
		"volumePluginDir: " + filepath.Join(p.Dir, "volume-plugins"),
		"cgroupDriver: cgroupfs",
		"failCgroupV1: false",
		"cgroupsPerQOS: false",
		"enforceNodeAllocatable: []",
		"failSwapOn: false",
		"oomScoreAdj: 0",
		"resolvConf: \"\"",
		"clusterDNS: [" + p.DNS + "]",
		"clusterDomain: cluster.local",
		"maxPods: 250",
		"syncFrequency: 5s",
		"configMapAndSecretChangeDetectionStrategy: Watch",
		"registryPullQPS: 0",
		"kubeAPIQPS: 100",
		"kubeAPIBurst: 200",
		"nodeStatusUpdateFrequency: 5s",
		"serializeImagePulls: false",
		// A test machine's disk is often nearly full.
		"evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi, nodefs.inodesFree: 1Mi}",
		"imageGCHighThresholdPercent: 100",
		"shutdownGracePeriod: 0s",
		"",
	}, "\n")
}
