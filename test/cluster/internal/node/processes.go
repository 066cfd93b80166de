package node

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/signet-kafka/signet/test/cluster/internal/plan"
)

const (
	// readyPoll is how often a starting component is asked.
	readyPoll = 25 * time.Millisecond
	// readyPatience is how long a component may take to serve; a cold disk on
	// two slow cores needs about a quarter of it.
	readyPatience = 2 * time.Minute
)

// processes starts components and is the only one that waits for children, so
// that as PID 1 it can also reap what containers leave behind.
type processes struct {
	logs   string
	ended  chan *componentError
	mu     sync.Mutex
	byPid  map[int]string
	closed bool
	// reaped closes when closed is set and no component is left.
	reaped chan struct{}
}

func newProcesses(logs string) *processes {
	return &processes{logs: logs, ended: make(chan *componentError, 16), byPid: map[int]string{}, reaped: make(chan struct{})}
}

// run starts everything and blocks.
func (p *processes) run(ctx context.Context, c Config, report func(string, ...any), running func()) error {
	// Parent death signals are sent when the starting thread ends, so one
	// thread starts all components and stays.
	runtime.LockOSThread()
	go p.reap()
	for _, late := range []bool{false, true} {
		var started []plan.Component
		for _, component := range c.Components {
			if component.Late != late {
				continue
			}
			if err := p.start(component); err != nil {
				return err
			}
			started = append(started, component)
		}
		if err := p.waitAll(ctx, c.Dir, started, report); err != nil {
			return err
		}
	}
	running()
	select {
	case <-ctx.Done():
		return nil
	case e := <-p.ended:
		return e
	}
}

// waitAll waits until every component that can be asked serves.
func (p *processes) waitAll(ctx context.Context, dir string, list []plan.Component, report func(string, ...any)) error {
	ctx, cancel := context.WithTimeout(ctx, readyPatience)
	defer cancel()
	ready := make(chan *componentError)
	waiting := 0
	for _, c := range list {
		if c.Ready == "" {
			report("%s started", c.Name)
			continue
		}
		waiting++
		go func() {
			var failed *componentError
			if err := waitReady(ctx, dir, c.Ready); err != nil {
				failed = &componentError{c.Name, fmt.Errorf("not ready: %w", err)}
			} else {
				report("%s ready", c.Name)
			}
			ready <- failed
		}()
	}
	var first *componentError
	for waiting > 0 {
		select {
		case e := <-p.ended:
			if first == nil {
				first = e
			}
			cancel()
		case e := <-ready:
			waiting--
			if e != nil && first == nil {
				first = e
			}
		}
	}
	if first != nil {
		return first
	}
	return nil
}

func (p *processes) start(c plan.Component) error {
	path, err := exec.LookPath(c.Path)
	if err != nil {
		return &componentError{c.Name, err}
	}
	log, err := os.OpenFile(filepath.Join(p.logs, c.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return &componentError{c.Name, err}
	}
	defer func() { _ = log.Close() }()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return &componentError{c.Name, err}
	}
	defer func() { _ = null.Close() }()
	p.mu.Lock()
	defer p.mu.Unlock()
	process, err := os.StartProcess(path, append([]string{c.Name}, c.Args...), &os.ProcAttr{
		Dir:   "/",
		Env:   environment(),
		Files: []*os.File{null, log, log},
		Sys:   &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return &componentError{c.Name, err}
	}
	p.byPid[process.Pid] = c.Name
	return process.Release()
}

// environment keeps what a component may need and nothing that would make it
// behave differently from one machine to the next (proxies, credentials).
func environment() []string {
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	for _, name := range []string{"HOME", "LANG", "TZ"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// reap waits for children, components and (as PID 1) orphans, until killAll has
// ended the last component.
func (p *processes) reap() {
	defer close(p.reaped)
	for {
		p.mu.Lock()
		done := p.closed && len(p.byPid) == 0
		p.mu.Unlock()
		if done {
			return
		}
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			// No children yet, or none any more.
			time.Sleep(5 * time.Millisecond)
			continue
		}
		p.mu.Lock()
		name, ours := p.byPid[pid]
		delete(p.byPid, pid)
		closed := p.closed
		p.mu.Unlock()
		if ours && !closed {
			p.ended <- &componentError{name, fmt.Errorf("ended %s", describe(status))}
		}
	}
}

func describe(s unix.WaitStatus) string {
	if s.Signaled() {
		return "by signal " + s.Signal().String()
	}
	return fmt.Sprintf("with exit code %d", s.ExitStatus())
}

// killAll ends the components and waits for them; in a PID namespace the kernel
// does that to everything else as well.
func (p *processes) killAll() {
	p.mu.Lock()
	p.closed = true
	for pid := range p.byPid {
		_ = unix.Kill(pid, unix.SIGKILL)
	}
	p.mu.Unlock()
	<-p.reaped
}

// waitReady polls until the component serves or the context ends, and then
// says what the last attempt said.
func waitReady(ctx context.Context, dir, ready string) error {
	kind, target, _ := strings.Cut(ready, ":")
	var try func() error
	switch kind {
	case "socket":
		try = func() error {
			conn, err := new(net.Dialer).DialContext(ctx, "unix", target)
			if err != nil {
				return err
			}
			return conn.Close()
		}
	case "https":
		client, err := adminClient(dir)
		if err != nil {
			return err
		}
		defer client.CloseIdleConnections()
		try = func() error { return get(ctx, client, ready) }
	default:
		return fmt.Errorf("unknown kind of readiness %q", ready)
	}
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(readyPoll):
		}
	}
}

func get(ctx context.Context, client *http.Client, url string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(http.MaxBytesReader(nil, resp.Body, 16<<10)); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s: %s", url, resp.Status, bytes.TrimSpace(body.Bytes()))
	}
	return nil
}

// adminClient authenticates as the API server's own kubelet client, which may
// read /readyz as any authenticated user may.
func adminClient(dir string) (*http.Client, error) {
	ca, err := os.ReadFile(filepath.Join(dir, "pki", "ca.crt"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "pki", "apiserver-kubelet-client.crt"), filepath.Join(dir, "pki", "apiserver-kubelet-client.key"))
	if err != nil {
		return nil, err
	}
	return &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}},
	}, nil
}
