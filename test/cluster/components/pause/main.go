// Command pause is the process that holds a pod's namespaces: it waits for
// SIGTERM and reaps nothing, since the kubelet shares no PID namespace with it.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	done := make(chan os.Signal, 1)
	signal.Notify(done, syscall.SIGTERM, syscall.SIGINT)
	<-done
}
