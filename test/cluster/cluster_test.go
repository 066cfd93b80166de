package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/images"
	"github.com/signet-kafka/signet/test/cluster/cache"
)

// requireRoot fails, rather than skips: a run that proves nothing about nodes
// must not look like one that does.
func requireRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test needs root, because " + errNeedsRoot.Error())
	}
}

// program is the cluster command, built once, where every user may run it.
var program = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "cluster-test-")
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "cluster")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build of cluster: %w\n%s", err, out)
	}
	return file, os.Chmod(dir, 0o755)
})

func TestMain(m *testing.M) {
	code := m.Run()
	if file, err := program(); err == nil {
		_ = os.RemoveAll(filepath.Dir(file))
	}
	os.Exit(code)
}

// testCluster runs the command for one cluster, as a user would.
type testCluster struct {
	Info
	t         *testing.T
	name, dir string
	// as is the user who runs the command; nil for this test's own.
	as  *syscall.Credential
	env []string
}

func newCluster(t *testing.T, suffix string) *testCluster {
	t.Helper()
	if _, err := program(); err != nil {
		t.Fatal(err)
	}
	c := &testCluster{t: t, name: fmt.Sprintf("t%d-%s", os.Getpid(), suffix), dir: filepath.Join(t.TempDir(), "cluster"), env: os.Environ()}
	t.Cleanup(func() {
		if out, err := c.run("down", "--dir", c.dir); err != nil {
			t.Errorf("cluster down: %v\n%s", err, out)
		}
	})
	return c
}

// sub runs a part of a test; what the clusters' methods find belongs to it.
func sub(t *testing.T, name string, part func(*testing.T), clusters ...*testCluster) {
	t.Run(name, func(inner *testing.T) {
		for _, c := range clusters {
			c.t = inner
		}
		part(inner)
	})
	for _, c := range clusters {
		c.t = t
	}
}

func (c *testCluster) command(args ...string) *exec.Cmd {
	file, err := program()
	if err != nil {
		c.t.Fatal(err)
	}
	cmd := exec.Command(file, args...)
	cmd.Env = c.env
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	return cmd
}

func (c *testCluster) run(args ...string) (string, error) {
	out, err := c.command(args...).CombinedOutput()
	return string(out), err
}

// up starts the cluster; without an --owner among args it is this test.
func (c *testCluster) up(args ...string) {
	c.t.Helper()
	if !slices.Contains(args, "--owner") {
		args = append(args, "--owner", strconv.Itoa(os.Getpid()))
	}
	out, err := c.run(append([]string{"up", "--name", c.name, "--dir", c.dir}, args...)...)
	if err != nil {
		c.t.Fatalf("cluster up: %v\n%s", err, out)
	}
	c.t.Log(out)
	if c.Info, err = readInfo(c.dir); err != nil {
		c.t.Fatal(err)
	}
	if !c.ControlPlane {
		if found := c.remains(); len(found) < 4 {
			c.t.Fatalf("of a running cluster only this was found: %q", found)
		}
	}
}

func (c *testCluster) down() {
	c.t.Helper()
	if out, err := c.run("down", "--name", c.name); err != nil || !strings.Contains(out, c.name+" is down") {
		c.t.Fatalf("cluster down: %v\n%s", err, out)
	}
}

func (c *testCluster) kubectl(stdin string, args ...string) (string, error) {
	cmd := exec.Command(c.Info.Kubectl, args...)
	cmd.Env = append(c.env, "KUBECONFIG="+c.Kubeconfig)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: c.as}
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return strings.TrimSpace(stdout.String()), fmt.Errorf("kubectl %q: %w: %s", args, err, stderr.String())
	}
	return strings.TrimSpace(stdout.String()), nil
}

func (c *testCluster) mustKubectl(stdin string, args ...string) string {
	c.t.Helper()
	out, err := c.kubectl(stdin, args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

// remains lists what of the cluster is on the machine: namespaces and processes
// in them, mounts, devices, routes, control groups, files.
func (c *testCluster) remains() []string {
	c.t.Helper()
	var found []string
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	procs, err := os.ReadDir("/proc")
	must(err)
	for _, p := range procs {
		if _, err := strconv.Atoi(p.Name()); err != nil {
			continue
		}
		cmdline, err := os.ReadFile(filepath.Join("/proc", p.Name(), "cmdline"))
		if err == nil && (bytes.Contains(cmdline, []byte(c.dir+"/"))) {
			found = append(found, "process "+p.Name()+" "+string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
		groups, err := os.ReadFile(filepath.Join("/proc", p.Name(), "cgroup"))
		if err == nil && bytes.Contains(groups, []byte("/"+cgroupName(c.name)+"/")) {
			found = append(found, "process "+p.Name()+" in its control groups")
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	must(err)
	for m := range strings.Lines(string(mounts)) {
		if strings.Contains(m, c.dir) {
			found = append(found, "mount "+m)
		}
	}
	groups, err := filepath.Glob("/sys/fs/cgroup/*/" + cgroupName(c.name))
	must(err)
	found = append(found, groups...)
	root, err := filepath.Glob("/sys/fs/cgroup/" + cgroupName(c.name))
	must(err)
	found = append(found, root...)
	if c.Interface != "" {
		if _, err := os.Stat("/sys/class/net/" + c.Interface); err == nil {
			found = append(found, "interface "+c.Interface)
		}
	}
	routes, err := exec.Command("ip", "route", "show").Output()
	must(err)
	for r := range strings.Lines(string(routes)) {
		// Another cluster may have got the network by now, but not the device.
		if c.Interface != "" && slices.Contains(strings.Fields(r), c.Interface) {
			found = append(found, "route "+r)
		}
	}
	files := []string{c.dir}
	if reg, err := openRegistry(); err == nil && c.as == nil {
		for _, suffix := range []string{".json", ".lock", ".up.lock"} {
			files = append(files, filepath.Join(reg.dir, c.name+suffix))
		}
	}
	for _, f := range files {
		if _, err := os.Lstat(f); err == nil {
			found = append(found, "file "+f)
		}
	}
	return found
}

// gone fails if anything of the cluster is left now.
func (c *testCluster) gone() {
	c.t.Helper()
	if found := c.remains(); len(found) > 0 {
		c.t.Errorf("left of cluster %s:\n%s", c.name, strings.Join(found, "\n"))
	}
}

// waitFor waits for what happens by itself; the bound is only there to end a
// run that has failed.
func waitFor(t *testing.T, what string, done func() (bool, any)) {
	t.Helper()
	var last any
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		var ok bool
		if ok, last = done(); ok {
			return
		}
	}
	t.Fatalf("%s: not within a minute: %v", what, last)
}

func (c *testCluster) goneByItself() {
	c.t.Helper()
	waitFor(c.t, "everything gone", func() (bool, any) { found := c.remains(); return len(found) == 0, found })
}

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// firewall is the host's packet filter, which no cluster may touch.
func firewall(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("iptables-save").Output()
	if err != nil {
		t.Fatal(err)
	}
	var rules []string
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ":") {
			rules = append(rules, line)
		}
	}
	return strings.Join(rules, "")
}

const probeImage = "docker.io/signet-test/probe:1"

func probeArchive(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	binary := images.GoBinary{Dir: "components/probe", Package: ".", Output: filepath.Join(dir, "probe")}
	if err := binary.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	base, err := images.Base()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := images.Files(images.File{Path: "/probe", Source: binary.Output})
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(dir, "probe.tar")
	if err := images.WriteArchive(archive, images.Image{Name: probeImage, Layers: []v1.Layer{base, layer}, Entrypoint: []string{"/probe"}}); err != nil {
		t.Fatal(err)
	}
	return archive
}

const workload = `
apiVersion: v1
kind: ConfigMap
metadata: {name: config}
data: {word: before}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers:
  - name: probe
    image: ` + probeImage + `
    args: [serve]
    readinessProbe: {httpGet: {port: 8080}, periodSeconds: 1}
    securityContext: {runAsNonRoot: true, readOnlyRootFilesystem: true, allowPrivilegeEscalation: false}
    resources: {limits: {memory: 64Mi}}
    volumeMounts: [{name: config, mountPath: /config}]
  volumes: [{name: config, configMap: {name: config}}]
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  containers:
  - {name: probe, image: ` + probeImage + `, args: [serve]}
`

func fetch(url string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get(url)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return strings.TrimSpace(string(body)), err
}

func TestNode(t *testing.T) {
	requireRoot(t)
	before := firewall(t)
	a, b := newCluster(t, "a"), newCluster(t, "b")
	a.up()

	sub(t, "up again finds it", func(t *testing.T) {
		out, err := a.run("up", "--name", a.name, "--dir", a.dir)
		if err != nil || !strings.Contains(out, "already up") {
			t.Errorf("%v\n%s", err, out)
		}
		if out, err := a.run("up", "--name", a.name, "--dir", a.dir, "--control-plane"); err == nil || !strings.Contains(out, "already running") {
			t.Errorf("another kind of cluster under the same name: %v\n%s", err, out)
		}
	}, a, b)
	sub(t, "pods run and reach each other", a.testPods, a)
	sub(t, "certificates for pods", a.testPodCertificates, a)
	sub(t, "status, logs and env", func(t *testing.T) {
		if out, err := a.run("status"); err != nil || !strings.Contains(out, a.name+" ") || !strings.Contains(out, "running") {
			t.Errorf("status: %v\n%s", err, out)
		}
		if out, err := a.run("logs", "--name", a.name, "apiserver"); err != nil || !strings.Contains(out, "Serving securely on") {
			t.Errorf("logs apiserver: %v, %d bytes", err, len(out))
		}
		if out, err := a.run("logs", "--name", a.name, "nginx"); err == nil || !strings.Contains(out, "kube-scheduler") {
			t.Errorf("logs of no component: %v\n%s", err, out)
		}
		out, err := a.run("env", "--name", a.name)
		if err != nil {
			t.Fatal(err)
		}
		shell := exec.Command("sh", "-c", out+"kubectl get nodes --output=name")
		if nodes, err := shell.CombinedOutput(); err != nil || strings.TrimSpace(string(nodes)) != "node/node1" {
			t.Errorf("kubectl in the shell of env: %v\n%s", err, nodes)
		}
	}, a, b)

	sub(t, "a second one beside it", func(t *testing.T) {
		b.up()
		if a.Network == b.Network || a.APIServer == b.APIServer || a.Interface == b.Interface {
			t.Errorf("the clusters share something: %+v, %+v", a.Info, b.Info)
		}
		if got := b.mustKubectl("", "get", "pods", "--output=name"); got != "" {
			t.Errorf("the new cluster already has %s", got)
		}
	}, a, b)
	sub(t, "killing the guard ends it, down removes the rest", func(t *testing.T) {
		kill(t, b.Guard)
		waitFor(t, "processes gone", func() (bool, any) {
			err := unix.Kill(b.Init, 0)
			return err != nil, err
		})
		b.down()
		b.gone()
		if out, err := b.run("down", "--name", b.name); err != nil || !strings.Contains(out, "nothing to remove") {
			t.Errorf("second down: %v\n%s", err, out)
		}
	}, a, b)
	sub(t, "it comes up again and goes with its owner", func(t *testing.T) {
		owner := exec.Command("sleep", "1000")
		if err := owner.Start(); err != nil {
			t.Fatal(err)
		}
		b.up("--owner", strconv.Itoa(owner.Process.Pid))
		if err := owner.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = owner.Wait()
		b.goneByItself()
	}, a, b)
	sub(t, "killing up half-way leaves nothing", func(t *testing.T) {
		cmd := b.command("up", "--name", b.name, "--dir", b.dir)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "half-way", func() (bool, any) {
			info, err := readInfo(b.dir)
			b.Info = info
			return err == nil && info.Init != 0, err
		})
		kill(t, cmd.Process.Pid)
		_ = cmd.Wait()
		b.goneByItself()
	}, a, b)
	sub(t, "the first one noticed nothing", func(t *testing.T) {
		if got := a.mustKubectl("", "get", "pod", "web", "--output=jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}"); got != "Running 0" {
			t.Errorf("pod is %q", got)
		}
	}, a, b)
	sub(t, "a component that ends, ends the cluster", func(t *testing.T) {
		for _, pid := range componentsOf(a.dir) {
			cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
			if err == nil && bytes.HasPrefix(cmdline, []byte("kubelet\x00")) {
				kill(t, pid)
			}
		}
		failed := filepath.Join(a.dir, "failed")
		waitFor(t, "failure noticed", func() (bool, any) { _, err := os.Stat(failed); return err == nil, err })
		if why, err := os.ReadFile(failed); err != nil || !strings.Contains(string(why), "kubelet: ended by signal killed") {
			t.Errorf("reason %q, %v", why, err)
		}
		if out, err := a.run("status"); err != nil || !strings.Contains(out, "failed") {
			t.Errorf("status: %v\n%s", err, out)
		}
		if out, err := a.run("logs", "--dir", a.dir, "kubelet"); err != nil || len(out) == 0 {
			t.Errorf("the log is gone: %v", err)
		}
		a.down()
		a.gone()
	}, a, b)
	if after := firewall(t); after != before {
		t.Errorf("the host's packet filter was\n%s\nand is\n%s", before, after)
	}
}

func (c *testCluster) testPods(t *testing.T) {
	if out, err := c.run("load", "--name", c.name, probeArchive(t)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	waitFor(t, "default service account", func() (bool, any) {
		_, err := c.kubectl("", "get", "serviceaccount", "default")
		return err == nil, err
	})
	c.mustKubectl(workload, "apply", "-f", "-")
	if _, err := c.kubectl("", "wait", "--for=condition=Ready", "pods", "--all", "--timeout=60s"); err != nil {
		t.Fatalf("%v\n%s", err, c.mustKubectl("", "describe", "pods"))
	}
	waitFor(t, "Service by name from a pod", func() (bool, any) {
		out, err := c.kubectl("", "exec", "client", "--", "/probe", "get", "http://web.default.svc.cluster.local")
		return out == "web", fmt.Sprint(out, err)
	})
	if got := c.mustKubectl("", "exec", "client", "--", "/probe", "get", "http://web"); got != "web" {
		t.Errorf("short Service name answered %q", got)
	}
	if got := c.mustKubectl("", "exec", "web", "--", "/probe", "get", "http://web.default"); got != "web" {
		t.Errorf("a pod reaching itself through its Service got %q", got)
	}
	if got := c.mustKubectl("", "exec", "client", "--", "/probe", "api", "/version"); !strings.Contains(got, c.Version) {
		t.Errorf("the API server answered a pod's token with %s", got)
	}
	if got := c.mustKubectl("", "logs", "web"); got != "serving web" {
		t.Errorf("log %q", got)
	}
	for _, path := range []string{"service/web --output=jsonpath=http://{.spec.clusterIP}", "pod/web --output=jsonpath=http://{.status.podIP}:8080"} {
		url := c.mustKubectl("", append([]string{"get"}, strings.Fields(path)...)...)
		if got, err := fetch(url); err != nil || got != "web" {
			t.Errorf("%s from the host: %q, %v", url, got, err)
		}
	}
	if got := c.mustKubectl("", "exec", "web", "--", "/probe", "cat", "/config/word"); got != "before" {
		t.Errorf("ConfigMap volume holds %q", got)
	}
	c.mustKubectl("", "patch", "configmap", "config", "--patch", `{"data":{"word":"after"}}`)
	start := time.Now()
	waitFor(t, "changed ConfigMap in the pod", func() (bool, any) {
		out, err := c.kubectl("", "exec", "web", "--", "/probe", "cat", "/config/word")
		return out == "after", fmt.Sprint(out, err)
	})
	t.Logf("a changed ConfigMap reached the pod after %s", time.Since(start).Round(100*time.Millisecond))
}

// testPodCertificates shows that the node asks for certificates: what a signer
// of PodCertificateRequests is tested against.
func (c *testCluster) testPodCertificates(t *testing.T) {
	c.mustKubectl(`
apiVersion: v1
kind: Pod
metadata: {name: certified}
spec:
  containers:
  - name: probe
    image: `+probeImage+`
    args: [serve]
    volumeMounts: [{name: identity, mountPath: /identity}]
  volumes:
  - name: identity
    projected:
      sources:
      - podCertificate: {signerName: example.org/test, keyType: ECDSAP256, credentialBundlePath: bundle.pem}
`, "apply", "-f", "-")
	waitFor(t, "request of the kubelet", func() (bool, any) {
		out, err := c.kubectl("", "get", "podcertificaterequests", "--output=jsonpath={.items[0].apiVersion} {.items[0].spec.signerName} {.items[0].spec.podName}")
		return out == "certificates.k8s.io/v1 example.org/test certified", fmt.Sprint(out, err)
	})
}

func TestControlPlaneWithoutRoot(t *testing.T) {
	home, err := os.MkdirTemp("", "cluster-test-") //nolint:usetesting // nobody may not enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(home); err != nil {
			t.Error(err)
		}
	})
	c := newCluster(t, "cp")
	source, err := sourceDir()
	if err != nil {
		t.Fatal(err)
	}
	cacheDir, err := cache.DefaultDir()
	if err != nil {
		t.Fatal(err)
	}
	binary, _, err := buildKubernetes(t.Context(), cache.New(cacheDir, t.Logf), source)
	if err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		// As nobody, who cannot read root's cache and sources.
		c.as = &syscall.Credential{Uid: 65534, Gid: 65534}
		c.dir = filepath.Join(home, "cluster")
		c.env = append(c.env, "HOME="+home, "SIGNET_CACHE="+filepath.Join(home, "cache"))
		for _, dir := range []string{"cache", "src/components"} {
			if err := os.MkdirAll(filepath.Join(home, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		for from, to := range map[string]string{
			filepath.Dir(binary):                              "cache",
			filepath.Join(source, "components", "kubernetes"): "src/components",
			filepath.Join(source, "go.mod"):                   "src",
		} {
			if out, err := exec.Command("cp", "-r", from, filepath.Join(home, to)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		if out, err := exec.Command("chown", "-R", "65534:65534", home).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}

	sub(t, "a node needs root, and the message says what does not", func(t *testing.T) {
		out, err := c.run("up", "--name", c.name, "--dir", c.dir)
		if err == nil || !strings.Contains(out, "needs root") || !strings.Contains(out, "--control-plane") || strings.Count(strings.TrimSpace(out), "\n") != 0 {
			t.Errorf("%v\n%s", err, out)
		}
	}, c)
	sub(t, "add-ons need a node", func(t *testing.T) {
		if out, err := c.run("up", "--name", c.name, "--dir", c.dir, "--control-plane", "--kafka"); err == nil || !strings.Contains(out, "no node") {
			t.Errorf("%v\n%s", err, out)
		}
	}, c)
	sub(t, "API server and controllers work", func(t *testing.T) {
		c.upIn(filepath.Join(home, "src"))
		c.mustKubectl("", "create", "namespace", "team")
		waitFor(t, "service account made by a controller", func() (bool, any) {
			_, err := c.kubectl("", "--namespace=team", "get", "serviceaccount", "default")
			return err == nil, err
		})
		if token := c.mustKubectl("", "--namespace=team", "create", "token", "default"); strings.Count(token, ".") != 2 {
			t.Errorf("token %q is no JWT", token)
		}
		if got, err := c.kubectl("", "auth", "can-i", "create", "secrets", "--as=system:serviceaccount:team:default"); got != "no" {
			t.Errorf("may a service account without a role create Secrets? %q, %v", got, err)
		}
		c.mustKubectl("", "delete", "namespace", "team", "--timeout=60s")
	}, c)
	sub(t, "down", func(t *testing.T) {
		c.down()
		c.gone()
	}, c)
	sub(t, "killing the guard ends it, down removes the rest", func(t *testing.T) {
		c.upIn(filepath.Join(home, "src"))
		kill(t, c.Guard)
		c.down()
		c.gone()
	}, c)
}

// upIn starts a control plane from another copy of the sources.
func (c *testCluster) upIn(source string) {
	c.t.Helper()
	cmd := c.command("up", "--name", c.name, "--dir", c.dir, "--control-plane", "--owner", strconv.Itoa(os.Getpid()))
	cmd.Dir = source
	out, err := cmd.CombinedOutput()
	if err != nil {
		c.t.Fatalf("cluster up: %v\n%s", err, out)
	}
	c.t.Logf("%s", out)
	if strings.Contains(string(out), "building") {
		c.t.Errorf("the build in the cache was not found:\n%s", out)
	}
	if c.Info, err = readInfo(c.dir); err != nil {
		c.t.Fatal(err)
	}
}

func TestFailureShowsTheEndOfTheLog(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "log"), 0o755); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	for i := range 100 {
		fmt.Fprintf(&log, "line %d\n", i)
	}
	if err := os.WriteFile(filepath.Join(dir, "log", "etcd.log"), []byte(log.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	err := new(Cluster).explain(upOptions{dir: dir}, fmt.Errorf("up: %w", &startError{"etcd", "etcd: ended with exit code 1"}))
	if !strings.Contains(err.Error(), "etcd: ended with exit code 1") || !strings.HasSuffix(err.Error(), "line 99") || strings.Contains(err.Error(), "line 79\n") {
		t.Errorf("error %v, want the reason and the last 20 lines", err)
	}
}

func TestDirectoryOfSomebodyElse(t *testing.T) {
	c := newCluster(t, "d")
	if err := os.MkdirAll(c.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	precious := filepath.Join(c.dir, "thesis.tex")
	if err := os.WriteFile(precious, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := c.run("up", "--name", c.name, "--dir", c.dir, "--control-plane")
	if err == nil || !strings.Contains(out, "is not empty and holds no cluster") {
		t.Errorf("%v\n%s", err, out)
	}
	if out, err := c.run("down", "--dir", c.dir); err != nil || !strings.Contains(out, "nothing to remove") {
		t.Errorf("down: %v\n%s", err, out)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{"signet": true, "a": true, "a-1": true, "": false, "-a": false, "a-": false, "A": false, "a/b": false, "..": false, strings.Repeat("x", 41): false} {
		if err := checkName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
	seen := map[string]bool{}
	for _, name := range []string{"signet", "twelve-bytes", "thirteen-byte", "thirteen-bytf", strings.Repeat("x", 40)} {
		device := interfaceName(name)
		if len(device) > 15 || seen[device] {
			t.Errorf("%s has device %q: too long or taken", name, device)
		}
		seen[device] = true
	}
}

func TestRegistry(t *testing.T) {
	r := &registry{dir: filepath.Join(t.TempDir(), "run")}
	lock, err := r.tryLock("one")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.tryLock("one"); !errors.Is(err, errLocked) {
		t.Errorf("second lock: %v", err)
	}
	if !r.alive("one") || r.alive("two") {
		t.Errorf("alive: one %t, two %t", r.alive("one"), r.alive("two"))
	}
	info := Info{Name: "one", Dir: "/x", APIServer: "https://127.0.0.1:1"}
	if err := info.write(r.file("one")); err != nil {
		t.Fatal(err)
	}
	if names, err := r.names(); err != nil || !slices.Equal(names, []string{"one"}) {
		t.Errorf("names %v, %v", names, err)
	}
	if got, err := r.get("one"); err != nil || got != info {
		t.Errorf("got %+v, %v", got, err)
	}
	waited := make(chan error, 1)
	waiting := make(chan struct{})
	go func() {
		f, err := r.lock(t.Context(), "one", func() { close(waiting) })
		if err == nil {
			r.unlock(f)
		}
		waited <- err
	}()
	<-waiting
	if err := r.remove("one"); err != nil {
		t.Fatal(err)
	}
	r.unlock(lock)
	if err := <-waited; err != nil {
		t.Errorf("waiting for the lock: %v", err)
	}
	if _, err := os.Stat(r.dir); !os.IsNotExist(err) {
		t.Errorf("the empty list was not removed: %v", err)
	}
	if names, err := r.names(); err != nil || len(names) != 0 {
		t.Errorf("names of an empty list: %v, %v", names, err)
	}
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.file("two"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.get("two"); err == nil || !strings.Contains(err.Error(), "two.json") {
		t.Errorf("broken description: %v", err)
	}
}
