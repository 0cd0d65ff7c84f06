package integration

import (
	"encoding/binary"
	"fmt"
	"math/rand"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
)

// Ports below the range that the kernel gives to outgoing connections, so that the port of a node that is down stays free
// until it is started again.
const (
	firstPort = 10000
	lastPort  = 32000
)

var ports = struct {
	sync.Mutex
	next int
}{next: firstPort + rand.New(rand.NewSource(int64(os.Getpid()))).Intn(lastPort-firstPort)}

// freePort returns a port of 127.0.0.1 on which nobody listens and that this process has not given away lately.
func freePort() int {
	ports.Lock()
	defer ports.Unlock()
	for {
		ports.next++
		if ports.next > lastPort {
			ports.next = firstPort
		}
		listener, err := net.Listen("tcp", loopback(ports.next))
		if err == nil {
			listener.Close()
			return ports.next
		}
	}
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

// owns reports whether the process holds the far end of a connection that was accepted here. The kernel's table of
// sockets names the inode of that end, and the process's open files name the inodes that it holds.
func owns(pid int, accepted net.Conn) bool {
	inode := inodeOf(hexAddress(accepted.RemoteAddr()), hexAddress(accepted.LocalAddr()))
	if inode == "" {
		return false
	}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, file := range files {
		if name, err := os.Readlink(file); err == nil && name == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}

// inodeOf returns the inode of the socket with these two addresses, or nothing.
func inodeOf(local, remote string) string {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(table), "\n") {
		fields := strings.Fields(line)
		if len(fields) > 9 && fields[1] == local && fields[2] == remote {
			return fields[9]
		}
	}
	return ""
}

// hexAddress writes an IPv4 address as /proc/net/tcp does: the address as a number in the machine's order (little endian on
// all that these tests run on), and the port.
func hexAddress(address net.Addr) string {
	tcp := address.(*net.TCPAddr)
	return fmt.Sprintf("%08X:%04X", binary.LittleEndian.Uint32(tcp.IP.To4()), tcp.Port)
}
