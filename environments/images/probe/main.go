// Command probe is the health check of images that have no shell: exit 0 if the service answers, else 1 and a line.
//
//	probe http 127.0.0.1:8181 /health   the answer is 200
//	probe tcp 127.0.0.1:2322            a connection is accepted
//	probe ldap 127.0.0.1:389            an anonymous bind is answered
//	probe bolt 127.0.0.1:7687           a version of the protocol is agreed on
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
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

func main() {
	if len(os.Args) < 3 || checks[os.Args[1]] == nil {
		fail("usage: probe http|tcp|ldap|bolt HOST:PORT [PATH]")
	}
	connection, err := net.DialTimeout("tcp", os.Args[2], deadline)
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
