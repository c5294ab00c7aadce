// Command pause does nothing, until it is asked to end: it holds the network namespace that the containers of a site
// share. As process 1 it also buries whatever is left to it. `pause alive` is its health check.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	if len(os.Args) > 1 {
		if os.Args[1] == "alive" {
			return
		}
		os.Stderr.WriteString("pause: the only argument is alive\n")
		os.Exit(2)
	}
	ends := make(chan os.Signal, 1)
	signal.Notify(ends, syscall.SIGTERM, syscall.SIGINT)
	children := make(chan os.Signal, 8)
	signal.Notify(children, syscall.SIGCHLD)
	for {
		select {
		case <-ends:
			return
		case <-children:
			bury()
		}
	}
}

func bury() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if pid <= 0 && err != syscall.EINTR {
			return
		}
	}
}
