// Command cluster runs real one-node Kubernetes clusters, made from the Go
// modules of etcd and Kubernetes, for tests and for trying things out. README.md
// beside it shows how to use it.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/signet-kafka/signet/test/cluster/internal/node"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := command(os.Stdout, os.Stderr).ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// command is the whole command line. Results go to out, progress to progressOut.
func command(out, progressOut io.Writer) *cobra.Command {
	p := &progress{out: progressOut, start: time.Now()}
	root := &cobra.Command{
		Use:               "cluster",
		Short:             "Run real one-node Kubernetes clusters on this machine",
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(upCommand(out, p), downCommand(p), statusCommand(out), loadCommand(p), logsCommand(out), envCommand(out), guardCommand(), enterCommand(), insideCommand())
	root.AddCommand(builtCommands(out, p)...)
	return root
}

// target adds the flags that choose a cluster.
func target(c *cobra.Command) (name, dir *string) {
	name = c.Flags().String("name", "signet", "name of the cluster")
	dir = c.Flags().String("dir", "", "directory of the cluster, instead of its name")
	c.MarkFlagsMutuallyExclusive("name", "dir")
	return name, dir
}

func upCommand(out io.Writer, p *progress) *cobra.Command {
	var o upOptions
	c := &cobra.Command{
		Use:   "up",
		Short: "Start a cluster, or add to the one that runs",
		Long:  "Start a cluster, or add to the one that runs. Building everything for the first time takes several minutes; later starts take seconds.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := up(cmd.Context(), o, p)
			if err != nil {
				return err
			}
			p.Printf("%s is up: %s", c.Name, c.APIServer)
			_, err = fmt.Fprintf(out, "export KUBECONFIG=%s\n", c.Kubeconfig)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&o.name, "name", "signet", "name of the cluster")
	f.StringVar(&o.dir, "dir", "", "directory of the cluster, removed by down (default: clusters/NAME in the cache directory)")
	f.IntVar(&o.owner, "owner", 0, "take the cluster down when this process is gone")
	f.BoolVar(&o.controlPlane, "control-plane", false, "only etcd, API server and controller manager; needs no root")
	f.BoolVar(&o.certManager, "cert-manager", false, "install cert-manager")
	f.BoolVar(&o.istio, "istio", false, "install istiod, whose CA is the mesh CA")
	f.BoolVar(&o.mesh, "mesh", false, "install istiod with sidecar injection (implies --istio)")
	f.BoolVar(&o.kafka, "kafka", false, "install Kafka (implies --cert-manager)")
	f.BoolVar(&o.clients, "clients", false, "load the images of the Kafka test clients")
	return c
}

func downCommand(p *progress) *cobra.Command {
	c := &cobra.Command{Use: "down", Short: "Remove a cluster and everything it made on this machine", Args: cobra.NoArgs}
	name, dir := target(c)
	all := c.Flags().Bool("all", false, "remove all clusters of this user")
	c.MarkFlagsMutuallyExclusive("all", "name")
	c.MarkFlagsMutuallyExclusive("all", "dir")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		reg, err := openRegistry()
		if err != nil {
			return err
		}
		if *all {
			return downAll(cmd.Context(), reg, p)
		}
		info, err := find(reg, *name, *dir)
		if errors.Is(err, fs.ErrNotExist) {
			p.Printf("no such cluster: nothing to remove")
			return nil
		}
		if err != nil {
			return err
		}
		if err := down(cmd.Context(), reg, info); err != nil {
			return err
		}
		p.Printf("%s is down", info.Name)
		return nil
	}
	return c
}

func statusCommand(out io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List this user's clusters",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			reg, err := openRegistry()
			if err != nil {
				return err
			}
			names, err := reg.names()
			if err != nil {
				return err
			}
			w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
			fmt.Fprintln(w, "NAME\tSTATE\tAPI SERVER\tNODE\tNETWORK\tAGE\tDIRECTORY")
			for _, name := range names {
				info, err := reg.get(name)
				if err != nil {
					return err
				}
				fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", name, state(reg, info), orDash(info.APIServer), orDash(info.NodeIP), orDash(info.Network),
					time.Since(info.Started).Round(time.Second), info.Dir)
			}
			return w.Flush()
		},
	}
}

// state is what status shows: dead clusters were killed and wait for down.
func state(reg *registry, info Info) string {
	if _, err := os.Stat(filepath.Join(info.Dir, "failed")); err == nil {
		return "failed"
	}
	if !reg.alive(info.Name) {
		return "dead"
	}
	return "running"
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// running returns a cluster that is expected to exist.
func running(name, dir string) (*Cluster, error) {
	reg, err := openRegistry()
	if err != nil {
		return nil, err
	}
	info, err := find(reg, name, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("no cluster %s: cluster status lists those there are", strings.TrimSpace(orDash(dir)+" "+name))
	}
	if err != nil {
		return nil, err
	}
	return &Cluster{Info: info}, nil
}

func loadCommand(p *progress) *cobra.Command {
	c := &cobra.Command{Use: "load ARCHIVE...", Short: "Import OCI archives into the node", Args: cobra.MinimumNArgs(1)}
	name, dir := target(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := running(*name, *dir)
		if err != nil {
			return err
		}
		if err := c.Load(cmd.Context(), args...); err != nil {
			return err
		}
		p.Printf("loaded %s", strings.Join(args, ", "))
		return nil
	}
	return c
}

func logsCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{Use: "logs [COMPONENT]", Short: "Print the log of a component, or list the components that have one", Args: cobra.MaximumNArgs(1)}
	name, dir := target(c)
	c.RunE = func(_ *cobra.Command, args []string) error {
		c, err := running(*name, *dir)
		if err != nil {
			return err
		}
		files, err := filepath.Glob(filepath.Join(c.Dir, "log", "*.log"))
		if err != nil {
			return err
		}
		var names []string
		for _, f := range files {
			names = append(names, strings.TrimSuffix(filepath.Base(f), ".log"))
		}
		if len(args) == 0 {
			_, err := fmt.Fprintln(out, strings.Join(names, "\n"))
			return err
		}
		for _, candidate := range []string{args[0], "kube-" + args[0]} {
			if !slices.Contains(names, candidate) {
				continue
			}
			f, err := os.Open(filepath.Join(c.Dir, "log", candidate+".log"))
			if err != nil {
				return err
			}
			defer closeQuietly(f)
			_, err = io.Copy(out, f)
			return err
		}
		return fmt.Errorf("no component %q: there are %s", args[0], strings.Join(names, ", "))
	}
	return c
}

func envCommand(out io.Writer) *cobra.Command {
	c := &cobra.Command{Use: "env", Short: "Print shell commands that make kubectl use the cluster", Args: cobra.NoArgs}
	name, dir := target(c)
	c.RunE = func(*cobra.Command, []string) error {
		c, err := running(*name, *dir)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(out, "export KUBECONFIG=%s\nexport PATH=%s:$PATH\n", quote(c.Kubeconfig), quote(filepath.Dir(c.Info.Kubectl)))
		return err
	}
	return c
}

// quote makes one word of a shell's command line.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

func guardCommand() *cobra.Command {
	return &cobra.Command{
		Use: "guard", Hidden: true, Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error { return runGuard() },
	}
}

func enterCommand() *cobra.Command {
	return &cobra.Command{
		Use: "enter FILE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return node.Enter([]string{"cluster", "inside", args[0]}) },
	}
}

func insideCommand() *cobra.Command {
	return &cobra.Command{
		Use: "inside FILE", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return node.Run(args[0]) },
	}
}
