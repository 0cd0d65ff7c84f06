package integration

import (
	"io"
	"net"
	"sync"
)

// bridge forwards TCP connections from its own address to another one, so that a test can break them without touching the
// process behind it. What etcd's tests do to clients' connections is done to a bridge before the client port of a node; what
// they do to the nodes' own connections, to one before the peer port.
type bridge struct {
	listener net.Listener
	target   string
	// dialer says which member opened a connection; nil where all are treated alike.
	dialer func(net.Conn) *member

	mu    sync.Mutex
	links map[*link]struct{}
	// refused are the members whose connections are closed at once.
	refused map[*member]bool
	// paused is closed unless new connections have to wait.
	paused chan struct{}
	// swallowed is closed while all bytes are read and thrown away.
	swallowed chan struct{}
	stopped   chan struct{}
	tasks     sync.WaitGroup
}

// link is one connection through a bridge.
type link struct {
	client, server net.Conn
	from           *member
}

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

// newBridge starts to forward from address to target.
func newBridge(address, target string, dialer func(net.Conn) *member) (*bridge, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	b := &bridge{
		listener:  listener,
		target:    target,
		dialer:    dialer,
		links:     map[*link]struct{}{},
		refused:   map[*member]bool{},
		paused:    make(chan struct{}),
		swallowed: make(chan struct{}),
		stopped:   make(chan struct{}),
	}
	close(b.paused)
	b.tasks.Add(1)
	go b.accept()
	return b, nil
}

// close ends the bridge and every connection through it.
func (b *bridge) close() {
	close(b.stopped)
	b.listener.Close()
	b.drop(func(*link) bool { return true })
	b.tasks.Wait()
}

// drop closes the connections that which names.
func (b *bridge) drop(which func(*link) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for l := range b.links {
		if which(l) {
			l.close()
		}
	}
}

func (b *bridge) reset() { b.drop(func(*link) bool { return true }) }

// refuse closes the connections of one member, now and until admit.
func (b *bridge) refuse(m *member) {
	b.mu.Lock()
	b.refused[m] = true
	b.mu.Unlock()
	b.drop(func(l *link) bool { return l.from == m })
}

func (b *bridge) admit(m *member) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.refused, m)
}

func (b *bridge) pause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.paused = make(chan struct{})
}

func (b *bridge) unpause() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !isClosed(b.paused) {
		close(b.paused)
	}
}

func (b *bridge) blackhole() {
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.swallowed)
}

// unblackhole also ends the connections that have lost bytes.
func (b *bridge) unblackhole() {
	b.mu.Lock()
	b.swallowed = make(chan struct{})
	b.mu.Unlock()
	b.reset()
}

func (b *bridge) accept() {
	defer b.tasks.Done()
	for {
		client, err := b.listener.Accept()
		if err != nil {
			return
		}
		b.mu.Lock()
		paused := b.paused
		b.mu.Unlock()
		select {
		case <-paused:
			b.connect(client)
		case <-b.stopped:
			client.Close()
			return
		}
	}
}

// connect opens the second half of a connection and forwards both ways until one side ends.
func (b *bridge) connect(client net.Conn) {
	l := &link{client: client}
	if b.dialer != nil {
		l.from = b.dialer(client)
	}
	server, err := net.Dial("tcp", b.target)
	if err != nil {
		client.Close()
		return
	}
	l.server = server
	b.mu.Lock()
	defer b.mu.Unlock()
	if isClosed(b.stopped) || b.refused[l.from] {
		l.close()
		return
	}
	b.links[l] = struct{}{}
	b.tasks.Add(2)
	go b.forward(l, l.server, l.client)
	go b.forward(l, l.client, l.server)
}

func (b *bridge) forward(l *link, to io.Writer, from io.Reader) {
	defer b.tasks.Done()
	defer func() {
		l.close()
		b.mu.Lock()
		delete(b.links, l)
		b.mu.Unlock()
	}()
	buffer := make([]byte, 32*1024)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		b.mu.Lock()
		swallowed := isClosed(b.swallowed)
		b.mu.Unlock()
		if swallowed {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
