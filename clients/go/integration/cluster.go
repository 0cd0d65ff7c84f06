// Package integration stands in for etcd's package of the same name, so that etcd's own test suites run against Althing: it
// offers what those tests call, and where etcd's package builds servers inside the test's process, this one starts
// `althing server` processes. The environment variable ALTHING names the binary.
//
// scripts/go-suites.sh lays this folder over etcd's sources. Nothing of etcd's text is in it; the names of types, methods
// and fields are those that the tests use.
package integration

import (
	"context"
	"fmt"
	"math/rand"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/etcdserver/api/v3election/v3electionpb"
	"go.etcd.io/etcd/etcdserver/api/v3lock/v3lockpb"
	"go.etcd.io/etcd/etcdserver/api/v3rpc"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
	"go.etcd.io/etcd/pkg/transport"
	"go.etcd.io/etcd/pkg/types"
)

const (
	// RequestWaitTimeout is how long tests wait for a request that must go through.
	RequestWaitTimeout = 4 * time.Second
	// ThroughProxy is false: no grpc-proxy stands between client and cluster.
	ThroughProxy = false

	// Tests multiply the two: an election is due within electionTicks ticks. Althing's nodes wait up to twice
	// their election timeout.
	electionTicks   = 2 * electionTimeout / 10
	tickDuration    = 10 * time.Millisecond
	electionTimeout = 150

	// patience is how long anything may take that the cluster owes without a fault.
	patience = 30 * time.Second
	pause    = 10 * time.Millisecond
)

// ClusterConfig has the fields that etcd's tests set. Those that no flag of Althing answers to stop the test (see
// unsupported), unless they only tune what is not promised.
type ClusterConfig struct {
	Size      int
	PeerTLS   *transport.TLSInfo
	ClientTLS *transport.TLSInfo

	AuthToken    string
	AuthTokenTTL uint

	UseGRPC bool
	UseIP   bool

	QuotaBackendBytes int64
	MaxTxnOps         uint
	MaxRequestBytes   uint

	// How often snapshots are taken and which log entries they leave: not promised.
	SnapshotCount          uint64
	SnapshotCatchUpEntries uint64

	// What etcd enforces on pings: Althing allows any number.
	GRPCKeepAliveMinTime  time.Duration
	GRPCKeepAliveInterval time.Duration
	GRPCKeepAliveTimeout  time.Duration

	SkipCreatingClient       bool
	ClientMaxCallSendMsgSize int
	ClientMaxCallRecvMsgSize int

	EnableLeaseCheckpoint   bool
	LeaseCheckpointInterval time.Duration
	LeaseCheckpointPersist  bool

	WatchProgressNotifyInterval time.Duration
	CorruptCheckTime            time.Duration
}

// unsupported names a setting that a test asks for and Althing does not have.
func (cfg *ClusterConfig) unsupported() string {
	switch {
	case cfg.AuthToken != "" || cfg.AuthTokenTTL != 0:
		return "AuthToken"
	case cfg.MaxTxnOps != 0 && cfg.MaxTxnOps != 128:
		return "MaxTxnOps"
	case cfg.MaxRequestBytes != 0 && cfg.MaxRequestBytes != 1536*1024:
		return "MaxRequestBytes"
	case cfg.CorruptCheckTime != 0:
		return "CorruptCheckTime"
	}
	return ""
}

// progressInterval is how often a watch hears of progress; zero for the default. Some tests set it for all etcd servers
// of their process.
func (cfg *ClusterConfig) progressInterval() time.Duration {
	if cfg.WatchProgressNotifyInterval != 0 {
		return cfg.WatchProgressNotifyInterval
	}
	// Etcd adds up to a tenth by chance.
	if forAll := v3rpc.GetProgressReportInterval(); forAll < 9*time.Minute {
		return forAll
	}
	return 0
}

type cluster struct {
	cfg     *ClusterConfig
	name    string
	Members []*member
	// everyone ever made, by which a bridge finds out whose connection it has.
	everyone []*member
	mu       sync.Mutex
}

// NewClusterByConfig makes the members of a cluster and starts none.
func NewClusterByConfig(t testing.TB, cfg *ClusterConfig) *cluster {
	if setting := cfg.unsupported(); setting != "" {
		fatal(t, "Althing has no setting for %s: name this test in clients/go/tests.txt", setting)
	}
	c := &cluster{cfg: cfg, name: fmt.Sprintf("go-%d", rand.Int63())}
	for i := 0; i < cfg.Size; i++ {
		c.Members = append(c.Members, c.newMember(t, freePort()))
	}
	for _, m := range c.Members {
		m.founders = c.Members
	}
	return c
}

// NewCluster makes a cluster with no settings.
func NewCluster(t testing.TB, size int) *cluster {
	return NewClusterByConfig(t, &ClusterConfig{Size: size})
}

// Launch starts all members and waits until each knows the leader and every client address.
func (c *cluster) Launch(t testing.TB) {
	failures := make(chan error, len(c.Members))
	for _, m := range c.Members {
		go func(m *member) { failures <- m.Launch() }(m)
	}
	for range c.Members {
		if err := <-failures; err != nil {
			fatal(t, "a member did not start: %v", err)
		}
	}
	c.waitPublished(t)
}

// waitPublished waits until every member that runs lists every member with a client address, and has a leader.
func (c *cluster) waitPublished(t testing.TB) {
	for _, m := range c.Members {
		eventually(t, fmt.Sprintf("%s knows all members", m.Name), func(ctx context.Context) bool {
			list, err := m.api.MemberList(ctx, &pb.MemberListRequest{})
			if err != nil || len(list.Members) != len(c.Members) {
				return false
			}
			for _, listed := range list.Members {
				if len(listed.ClientURLs) == 0 {
					return false
				}
			}
			return m.s.Lead() != 0
		})
	}
}

// Terminate kills all members and removes their data.
func (c *cluster) Terminate(t testing.TB) {
	for _, m := range c.Members {
		m.Terminate(t)
	}
}

// AddMember adds a voter to a running cluster and starts it.
func (c *cluster) AddMember(t testing.TB) { c.add(t, false) }

func (c *cluster) add(t testing.TB, isLearner bool) {
	m := c.newMember(t, freePort())
	m.isLearner = isLearner
	request := &pb.MemberAddRequest{PeerURLs: m.PeerURLs.StringSlice(), IsLearner: isLearner}
	eventually(t, "a member is added", func(ctx context.Context) bool {
		_, err := c.running(t).api.MemberAdd(ctx, request)
		return err == nil
	})
	m.join = c.Members
	if err := m.Launch(); err != nil {
		fatal(t, "the added member did not start: %v", err)
	}
	c.Members = append(c.Members, m)
	c.waitPublished(t)
}

// RemoveMember removes a member from the cluster; its process must end by itself.
func (c *cluster) RemoveMember(t testing.TB, id uint64) {
	var removed *member
	var rest []*member
	for _, m := range c.Members {
		if uint64(m.ID()) == id {
			removed = m
		} else {
			rest = append(rest, m)
		}
	}
	if removed == nil {
		fatal(t, "no member has the id %x", id)
	}
	eventually(t, "the member is removed", func(ctx context.Context) bool {
		_, err := c.running(t).api.MemberRemove(ctx, &pb.MemberRemoveRequest{ID: id})
		return err == nil
	})
	select {
	case <-removed.StopNotify():
	case <-time.After(patience):
		fatal(t, "%s was removed and still runs", removed.Name)
	}
	removed.Terminate(t)
	c.Members = rest
	c.waitPublished(t)
}

// running returns a member whose process runs.
func (c *cluster) running(t testing.TB) *member {
	for _, m := range c.Members {
		if m.isRunning() {
			return m
		}
	}
	fatal(t, "no member runs")
	return nil
}

// WaitLeader waits until all members that run name the same leader, and returns its place.
func (c *cluster) WaitLeader(t testing.TB) int { return c.waitLeader(t, c.Members) }

// waitLeader waits until the given members name one of themselves as the leader and it serves linearizable reads.
func (c *cluster) waitLeader(t testing.TB, members []*member) int {
	place := -1
	eventually(t, "the members agree on a leader", func(ctx context.Context) bool {
		lead := uint64(0)
		for _, m := range members {
			if !m.isRunning() {
				continue
			}
			named := m.s.Lead()
			if named == 0 || (lead != 0 && named != lead) {
				return false
			}
			lead = named
		}
		for i, m := range members {
			if m.isRunning() && uint64(m.ID()) == lead {
				place = i
				_, err := m.api.Range(ctx, &pb.RangeRequest{Key: []byte("0")})
				return err == nil
			}
		}
		return false
	})
	return place
}

// waitNoLeader waits until none of the given members knows a leader.
func (c *cluster) waitNoLeader(members []*member) {
	eventually(nil, "the members lose their leader", func(context.Context) bool {
		for _, m := range members {
			if m.isRunning() && m.s.Lead() != 0 {
				return false
			}
		}
		return true
	})
}

// WaitNoLeader waits until no member knows a leader.
func (c *cluster) WaitNoLeader() { c.waitNoLeader(c.Members) }

// clusterMustProgress writes at the first member and reads the same at all of them.
func clusterMustProgress(t testing.TB, members []*member) {
	value := []byte(fmt.Sprint(rand.Int63()))
	eventually(t, "a write goes through", func(ctx context.Context) bool {
		_, err := members[0].api.Put(ctx, &pb.PutRequest{Key: []byte("progress"), Value: value})
		return err == nil
	})
	for _, m := range members {
		eventually(t, m.Name+" reads the write", func(ctx context.Context) bool {
			read, err := m.api.Range(ctx, &pb.RangeRequest{Key: []byte("progress")})
			return err == nil && len(read.Kvs) == 1 && string(read.Kvs[0].Value) == string(value)
		})
	}
}

// ClusterV3 is a cluster with a client for each member.
type ClusterV3 struct {
	*cluster

	mu      sync.Mutex
	clients []*clientv3.Client
}

// NewClusterV3 starts a cluster and, unless told not to, a client for each member.
func NewClusterV3(t testing.TB, cfg *ClusterConfig) *ClusterV3 {
	c := &ClusterV3{cluster: NewClusterByConfig(t, cfg)}
	c.Launch(t)
	if !cfg.SkipCreatingClient {
		for _, m := range c.Members {
			client, err := NewClientV3(m)
			if err != nil {
				fatal(t, "no client for %s: %v", m.Name, err)
			}
			c.clients = append(c.clients, client)
		}
	}
	return c
}

// Client returns the client of a member.
func (c *ClusterV3) Client(i int) *clientv3.Client { return c.clients[i] }

// RandClient returns the client of a random member.
func (c *ClusterV3) RandClient() *clientv3.Client { return c.clients[rand.Intn(len(c.clients))] }

// TakeClient hands a client to the test, which then closes it.
func (c *ClusterV3) TakeClient(i int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.clients[i] = nil
}

// Terminate closes the clients that the test did not take, and ends the cluster.
func (c *ClusterV3) Terminate(t testing.TB) {
	c.mu.Lock()
	for _, client := range c.clients {
		if client == nil {
			continue
		}
		if err := client.Close(); err != nil && t != nil {
			t.Error(err)
		}
	}
	c.mu.Unlock()
	c.cluster.Terminate(t)
}

// AddAndLaunchLearnerMember adds a learner to a running cluster and starts it.
func (c *ClusterV3) AddAndLaunchLearnerMember(t testing.TB) { c.add(t, true) }

// GetLearnerMembers asks the cluster for its learners.
func (c *ClusterV3) GetLearnerMembers() ([]*pb.Member, error) {
	list, err := c.Client(0).MemberList(context.Background())
	if err != nil {
		return nil, err
	}
	var learners []*pb.Member
	for _, m := range list.Members {
		if m.IsLearner {
			learners = append(learners, m)
		}
	}
	return learners, nil
}

// MustNewMember makes a member that has been added already, at the peer address that it was added with.
func (c *ClusterV3) MustNewMember(t testing.TB, added *clientv3.MemberAddResponse) *member {
	urls := types.MustNewURLs(added.Member.PeerURLs)
	var port int
	if _, err := fmt.Sscanf(urls[0].Port(), "%d", &port); err != nil {
		fatal(t, "%v has no port", urls)
	}
	m := c.newMember(t, port)
	m.isLearner = added.Member.IsLearner
	m.join = append([]*member{}, c.Members...)
	return m
}

// WaitClientV3 waits until a client reads.
func WaitClientV3(t testing.TB, kv clientv3.KV) {
	eventually(t, "the client reads", func(ctx context.Context) bool {
		_, err := kv.Get(ctx, "/")
		return err == nil
	})
}

// grpcAPI is the API of one connection, without the client's own logic.
type grpcAPI struct {
	Cluster     pb.ClusterClient
	KV          pb.KVClient
	Lease       pb.LeaseClient
	Watch       pb.WatchClient
	Maintenance pb.MaintenanceClient
	Auth        pb.AuthClient
	Lock        v3lockpb.LockClient
	Election    v3electionpb.ElectionClient
}

func toGRPC(c *clientv3.Client) grpcAPI {
	connection := c.ActiveConnection()
	return grpcAPI{
		Cluster:     pb.NewClusterClient(connection),
		KV:          pb.NewKVClient(connection),
		Lease:       pb.NewLeaseClient(connection),
		Watch:       pb.NewWatchClient(connection),
		Maintenance: pb.NewMaintenanceClient(connection),
		Auth:        pb.NewAuthClient(connection),
		Lock:        v3lockpb.NewLockClient(connection),
		Election:    v3electionpb.NewElectionClient(connection),
	}
}

// eventually tries again until holds, and ends the test when patience ends first.
func eventually(t testing.TB, what string, holds func(context.Context) bool) {
	deadline := time.Now().Add(patience)
	for time.Now().Before(deadline) {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		held := holds(ctx)
		cancel()
		if held {
			return
		}
		time.Sleep(pause)
	}
	fatal(t, "waited in vain: %s", what)
}

// fatal ends the test; where there is none (a package's TestMain), the process.
func fatal(t testing.TB, format string, args ...interface{}) {
	if t == nil {
		panic(fmt.Sprintf(format, args...))
	}
	t.Helper()
	t.Fatalf(format, args...)
}
