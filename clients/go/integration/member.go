package integration

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
	"go.etcd.io/etcd/pkg/transport"
	"go.etcd.io/etcd/pkg/types"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// ServerConfig has the settings that tests read or change on one member.
type ServerConfig struct {
	Name              string
	DataDir           string
	PeerURLs          types.URLs
	ClientURLs        types.URLs
	QuotaBackendBytes int64
	CorruptCheckTime  time.Duration
	ElectionTicks     int
}

// ReqTimeout is how long the server lets a request take by itself.
func (cfg *ServerConfig) ReqTimeout() time.Duration { return 7 * time.Second }

// member is one node: its process while it runs, and what stays when it does not.
type member struct {
	ServerConfig
	PeerTLSInfo   *transport.TLSInfo
	ClientTLSInfo *transport.TLSInfo
	DialOptions   []grpc.DialOption

	cluster   *cluster
	isLearner bool
	// founders are the members that the cluster is born with; join, those of a running cluster. One of them is empty.
	founders, join []*member

	listenPeer, listenClient, advertised string
	clientBridge, peerBridge             *bridge

	s       *server
	process *exec.Cmd
	exited  chan struct{}
	serving chan struct{}
	log     bytes.Buffer
	// connection and api go to the process and not through a bridge.
	connection *grpc.ClientConn
	api        directAPI
	id         types.ID
}

// directAPI is what the shim itself asks of a member.
type directAPI struct {
	pb.KVClient
	pb.ClusterClient
	pb.MaintenanceClient
}

// newMember makes a member whose peer URL has the given port.
func (c *cluster) newMember(t testing.TB, peerPort int) *member {
	dir, err := os.MkdirTemp("", "althing-go-")
	if err != nil {
		fatal(t, "no place for data: %v", err)
	}
	m := &member{
		cluster:       c,
		PeerTLSInfo:   c.cfg.PeerTLS,
		ClientTLSInfo: c.cfg.ClientTLS,
		listenPeer:    loopback(freePort()),
		listenClient:  loopback(freePort()),
		advertised:    loopback(freePort()),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	m.ServerConfig = ServerConfig{
		Name:              fmt.Sprintf("m%d", len(c.everyone)),
		DataDir:           filepath.Join(dir, "data"),
		PeerURLs:          types.MustNewURLs([]string{scheme(m.PeerTLSInfo) + "://" + loopback(peerPort)}),
		ClientURLs:        types.MustNewURLs([]string{scheme(m.ClientTLSInfo) + "://" + m.listenClient}),
		QuotaBackendBytes: c.cfg.QuotaBackendBytes,
		ElectionTicks:     electionTicks,
	}
	m.s = &server{m}
	c.everyone = append(c.everyone, m)
	return m
}

func scheme(tls *transport.TLSInfo) string {
	if tls == nil {
		return "http"
	}
	return "https"
}

// Launch starts the process and returns when it answers.
func (m *member) Launch() error {
	var err error
	if m.peerBridge, err = newBridge(m.PeerURLs[0].Host, m.listenPeer, m.dialer); err != nil {
		return err
	}
	if m.clientBridge, err = newBridge(m.advertised, m.listenClient, nil); err != nil {
		return err
	}
	process := exec.Command(os.Getenv("ALTHING"), m.arguments()...)
	process.Stdout, process.Stderr = &m.log, &m.log
	process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := process.Start(); err != nil {
		return err
	}
	exited := make(chan struct{})
	go func() {
		process.Wait()
		close(exited)
	}()
	m.setProcess(process)
	m.exited, m.serving = exited, make(chan struct{})
	return m.connect()
}

func (m *member) setProcess(process *exec.Cmd) {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	m.process = process
}

// arguments are those of `althing server`.
func (m *member) arguments() []string {
	args := []string{
		"server",
		"--name", m.Name,
		"--cluster", m.cluster.name,
		"--data-dir", m.DataDir,
		"--listen-client", m.listenClient,
		"--listen-peer", m.listenPeer,
		"--advertise-peer", m.PeerURLs[0].String(),
		"--election-timeout-ms", fmt.Sprint(electionTimeout),
	}
	if m.join == nil {
		var all []string
		for _, founder := range m.founders {
			all = append(all, founder.Name+"="+founder.PeerURLs[0].String())
		}
		args = append(args, "--initial-cluster", strings.Join(all, ","))
	} else {
		var endpoints []string
		for _, other := range m.join {
			endpoints = append(endpoints, other.listenClient)
		}
		args = append(args, "--join", strings.Join(endpoints, ","))
	}
	if interval := m.cluster.cfg.progressInterval(); interval != 0 {
		args = append(args, "--watch-progress-interval-ms", fmt.Sprint(interval.Milliseconds()))
	}
	if m.QuotaBackendBytes > 0 {
		args = append(args, "--quota-bytes", fmt.Sprint(m.QuotaBackendBytes))
	}
	args = append(args, tlsArguments("client", m.cluster.cfg.ClientTLS)...)
	return append(args, tlsArguments("peer", m.PeerTLSInfo)...)
}

func tlsArguments(side string, info *transport.TLSInfo) []string {
	if info == nil {
		return nil
	}
	return []string{
		"--" + side + "-tls-cert", info.CertFile,
		"--" + side + "-tls-key", info.KeyFile,
		"--" + side + "-tls-ca", info.TrustedCAFile,
	}
}

// connect waits until the process answers, and asks it for its id.
func (m *member) connect() error {
	security := grpc.WithInsecure()
	if info := m.cluster.cfg.ClientTLS; info != nil {
		config, err := info.ClientConfig()
		if err != nil {
			return err
		}
		security = grpc.WithTransportCredentials(credentials.NewTLS(config))
	}
	// A first try that fails would make gRPC wait for a second.
	for deadline := time.Now().Add(patience); m.isRunning() && time.Now().Before(deadline); time.Sleep(pause) {
		if probe, err := net.Dial("tcp", m.listenClient); err == nil {
			probe.Close()
			break
		}
	}
	connection, err := grpc.Dial(m.listenClient, security)
	if err != nil {
		return err
	}
	m.connection = connection
	m.api = directAPI{pb.NewKVClient(connection), pb.NewClusterClient(connection), pb.NewMaintenanceClient(connection)}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	go func() {
		select {
		case <-m.exited:
			cancel()
		case <-ctx.Done():
		}
	}()
	status, err := m.api.Status(ctx, &pb.StatusRequest{}, grpc.WaitForReady(true))
	if err != nil {
		return fmt.Errorf("%s does not answer: %v; its log:\n%s", m.Name, err, m.log.String())
	}
	m.id = types.ID(status.Header.MemberId)
	close(m.serving)
	return nil
}

// GRPCAddr is where tests' clients connect: the bridge before the client port.
func (m *member) GRPCAddr() string {
	address := m.advertised
	if m.cluster.cfg.ClientTLS == nil {
		return address
	}
	if !m.cluster.cfg.UseIP {
		address = strings.Replace(address, "127.0.0.1", "localhost", 1)
	}
	return "https://" + address
}

// NewClientV3 makes a client of one member.
func NewClientV3(m *member) (*clientv3.Client, error) {
	cfg := clientv3.Config{
		Endpoints:          []string{m.GRPCAddr()},
		DialTimeout:        5 * time.Second,
		DialOptions:        append([]grpc.DialOption{grpc.WithBlock()}, m.DialOptions...),
		MaxCallSendMsgSize: m.cluster.cfg.ClientMaxCallSendMsgSize,
		MaxCallRecvMsgSize: m.cluster.cfg.ClientMaxCallRecvMsgSize,
	}
	if m.ClientTLSInfo != nil {
		tls, err := m.ClientTLSInfo.ClientConfig()
		if err != nil {
			return nil, err
		}
		cfg.TLS = tls
	}
	return clientv3.New(cfg)
}

// ID is the member's id, also while it is down.
func (m *member) ID() types.ID { return m.id }

// ElectionTimeout is the longest time without a leader before a member stands for election.
func (m *member) ElectionTimeout() time.Duration { return electionTicks * tickDuration }

// URL is where the member serves HTTP.
func (m *member) URL() string { return m.ClientURLs[0].String() }

func (m *member) isRunning() bool { return m.exited != nil && !isClosed(m.exited) }

// StopNotify is closed when the process has ended.
func (m *member) StopNotify() <-chan struct{} { return m.exited }

// ReadyNotify is closed when the member answers.
func (m *member) ReadyNotify() <-chan struct{} { return m.serving }

// Stop kills the process and keeps its data.
func (m *member) Stop(testing.TB) {
	if m.process == nil {
		return
	}
	m.clientBridge.close()
	m.peerBridge.close()
	if m.connection != nil {
		m.connection.Close()
	}
	m.process.Process.Kill()
	<-m.exited
	m.setProcess(nil)
}

// Restart starts a member that was stopped.
func (m *member) Restart(testing.TB) error { return m.Launch() }

// Terminate kills the process and removes its data. With ALTHING_GO_LOGS, the log of a failed test is kept there.
func (m *member) Terminate(t testing.TB) {
	m.Stop(t)
	os.RemoveAll(filepath.Dir(m.DataDir))
	if dir := os.Getenv("ALTHING_GO_LOGS"); dir != "" && t != nil && t.Failed() {
		name := strings.Replace(t.Name(), "/", "-", -1)
		os.WriteFile(filepath.Join(dir, name+"-"+m.Name+".log"), m.log.Bytes(), 0o644)
	}
}

// WaitStarted waits until the member reads what it has.
func (m *member) WaitStarted(t testing.TB) {
	eventually(t, m.Name+" reads", func(ctx context.Context) bool {
		_, err := m.api.Range(ctx, &pb.RangeRequest{Key: []byte("/"), Serializable: true})
		return err == nil
	})
}

// WaitOK waits until the member has a leader.
func (m *member) WaitOK(t testing.TB) {
	m.WaitStarted(t)
	eventually(t, m.Name+" has a leader", func(context.Context) bool { return m.s.Lead() != 0 })
}

// DropConnections ends clients' connections; new ones are taken.
func (m *member) DropConnections() { m.clientBridge.reset() }

// PauseConnections keeps new connections of clients waiting.
func (m *member) PauseConnections() { m.clientBridge.pause() }

// UnpauseConnections ends PauseConnections.
func (m *member) UnpauseConnections() { m.clientBridge.unpause() }

// Blackhole swallows every byte between clients and the member.
func (m *member) Blackhole() { m.clientBridge.blackhole() }

// Unblackhole ends Blackhole.
func (m *member) Unblackhole() { m.clientBridge.unblackhole() }

// InjectPartition breaks the connections between this member and others until RecoverPartition.
func (m *member) InjectPartition(_ testing.TB, others ...*member) {
	for _, other := range others {
		m.peerBridge.refuse(other)
		other.peerBridge.refuse(m)
	}
}

// RecoverPartition ends InjectPartition.
func (m *member) RecoverPartition(_ testing.TB, others ...*member) {
	for _, other := range others {
		m.peerBridge.admit(other)
		other.peerBridge.admit(m)
	}
}

// Pause breaks the connections to all other members until Resume.
func (m *member) Pause() { m.InjectPartition(nil, m.others()...) }

// Resume ends Pause.
func (m *member) Resume() { m.RecoverPartition(nil, m.others()...) }

func (m *member) others() []*member {
	var others []*member
	for _, other := range m.cluster.Members {
		if other != m {
			others = append(others, other)
		}
	}
	return others
}

// dialer finds the member whose process opened a connection.
func (m *member) dialer(accepted net.Conn) *member {
	m.cluster.mu.Lock()
	defer m.cluster.mu.Unlock()
	for _, other := range m.cluster.everyone {
		if process := other.process; process != nil && owns(process.Process.Pid, accepted) {
			return other
		}
	}
	return nil
}

// Metric reads one metric of the member; nothing when it has none of that name.
func (m *member) Metric(name string) (string, error) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	answer, err := client.Get(m.URL() + "/metrics")
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(string(page), "\n") {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(line, name) {
			return fields[1], nil
		}
	}
	return "", nil
}

// server stands for the server object that tests inside the package reach through a member.
type server struct{ m *member }

// ID is the member's id.
func (s *server) ID() types.ID { return s.m.id }

// Lead is the id of the leader that the member knows, zero for none.
func (s *server) Lead() uint64 {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	status, err := s.m.api.Status(ctx, &pb.StatusRequest{})
	if err != nil {
		return 0
	}
	return status.Leader
}

// Alarm asks the member about alarms.
func (s *server) Alarm(ctx context.Context, request *pb.AlarmRequest) (*pb.AlarmResponse, error) {
	return s.m.api.Alarm(ctx, request)
}

// TransferLeadership moves the leadership to another voter, if there is one.
func (s *server) TransferLeadership() error {
	for _, other := range s.m.others() {
		if !other.isLearner && other.isRunning() {
			_, err := s.m.api.MoveLeader(context.Background(), &pb.MoveLeaderRequest{TargetID: uint64(other.id)})
			return err
		}
	}
	return nil
}

// checkLeaderTransition waits until the member names another leader than the old one, and returns it.
func checkLeaderTransition(m *member, old uint64) uint64 {
	for {
		if lead := m.s.Lead(); lead != 0 && lead != old {
			return lead
		}
		time.Sleep(pause)
	}
}
