// Command probe is the health check of images that have no shell: exit 0 if the service answers, else 1 and a line.
//
//	probe http 127.0.0.1:8181 /health   the answer is 200
//	probe tcp 127.0.0.1:2322            a connection is accepted
//	probe ldap 127.0.0.1:389            an anonymous bind is answered
//	probe bolt 127.0.0.1:7687           a version of the protocol is agreed on
//	probe alive                         process 1 neither has ended nor is stopped
//
// The address @ is the first one on loopback that process 1 was started with, in its arguments or in a file that they
// name: the deployment chooses ports.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strings"
	"time"
)

const deadline = 4 * time.Second

var checks = map[string]func(net.Conn, []string) error{
	"http": http,
	"tcp":  func(net.Conn, []string) error { return nil },
	"ldap": func(c net.Conn, _ []string) error { return exchange(c, ldapBind, []byte{0x30}) },
	"bolt": func(c net.Conn, _ []string) error { return exchange(c, boltHello, []byte{0, 0}) },
}

var (
	ldapBind  = []byte{0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00}
	boltHello = []byte{0x60, 0x60, 0xb0, 0x17, 0, 4, 4, 5, 0, 0, 0, 4, 0, 0, 0, 3, 0, 0, 0, 0}
)

const mostBytes = 1 << 20 // of a file that may hold the address

var loopback = regexp.MustCompile(`(?:127\.0\.0\.1|localhost|\[::1\]):[0-9]+`)

func main() {
	if len(os.Args) == 2 && os.Args[1] == "alive" {
		if err := alive(); err != nil {
			fail(err.Error())
		}
		return
	}
	if len(os.Args) < 3 || checks[os.Args[1]] == nil {
		fail("usage: probe http|tcp|ldap|bolt HOST:PORT|@ [PATH], or probe alive")
	}
	address, err := resolve(os.Args[2])
	if err != nil {
		fail(err.Error())
	}
	connection, err := net.DialTimeout("tcp", address, deadline)
	if err != nil {
		fail(err.Error())
	}
	defer connection.Close()
	if err := connection.SetDeadline(time.Now().Add(deadline)); err != nil {
		fail(err.Error())
	}
	if err := checks[os.Args[1]](connection, os.Args[3:]); err != nil {
		fail(err.Error())
	}
}

// alive reads the state of process 1: the letter after its name, which is in brackets.
func alive() error {
	stat, err := os.ReadFile("/proc/1/stat")
	if err != nil {
		return err
	}
	state := strings.TrimSpace(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "T") {
		return fmt.Errorf("process 1 is in state %.1s", state)
	}
	return nil
}

func resolve(address string) (string, error) {
	if address != "@" {
		return address, nil
	}
	line, err := os.ReadFile("/proc/1/cmdline")
	if err != nil {
		return "", err
	}
	if found := loopback.Find(line); found != nil {
		return string(found), nil
	}
	for _, argument := range strings.Split(string(line), "\x00")[1:] {
		file, err := os.Open(argument)
		if err != nil {
			continue
		}
		text, _ := io.ReadAll(io.LimitReader(file, mostBytes))
		file.Close()
		if found := loopback.Find(text); found != nil {
			return string(found), nil
		}
	}
	return "", fmt.Errorf("process 1 was started with no address on loopback")
}

func http(connection net.Conn, arguments []string) error {
	path := "/"
	if len(arguments) > 0 {
		path = arguments[0]
	}
	request := "GET " + path + " HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(connection, request); err != nil {
		return err
	}
	status, err := bufio.NewReader(connection).ReadString('\n')
	if err != nil {
		return err
	}
	if fields := strings.Fields(status); len(fields) < 2 || fields[1] != "200" {
		return fmt.Errorf("%s: %s", path, strings.TrimSpace(status))
	}
	return nil
}

// exchange sends, and expects four bytes that begin so. LDAP answers a sequence; Bolt, a version whose first two
// bytes are zero, and the version itself is not.
func exchange(connection net.Conn, say, begin []byte) error {
	if _, err := connection.Write(say); err != nil {
		return err
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(connection, answer); err != nil {
		return err
	}
	if !bytes.HasPrefix(answer, begin) || bytes.Equal(answer, []byte{0, 0, 0, 0}) {
		return fmt.Errorf("answered % x", answer)
	}
	return nil
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "probe: "+why)
	os.Exit(1)
}
