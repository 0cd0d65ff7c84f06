package integration

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/clientv3"
	"go.etcd.io/etcd/clientv3/concurrency"
)

// What etcd's suites leave out: the client's locks, elections and transactions while leaders are killed under them.

const kills = 3

// everywhere is a client that knows all members.
func everywhere(t *testing.T, c *ClusterV3) *clientv3.Client {
	var endpoints []string
	for _, m := range c.Members {
		endpoints = append(endpoints, m.GRPCAddr())
	}
	client, err := clientv3.New(clientv3.Config{Endpoints: endpoints, DialTimeout: patience})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// whileLeadersDie runs workers until some leaders have been killed and started again.
func whileLeadersDie(t *testing.T, c *ClusterV3, workers ...func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, worker := range workers {
		running.Add(1)
		go func(worker func(context.Context)) {
			defer running.Done()
			worker(ctx)
		}(worker)
	}
	for i := 0; i < kills; i++ {
		time.Sleep(500 * time.Millisecond)
		leader := c.Members[c.WaitLeader(t)]
		leader.Stop(t)
		time.Sleep(500 * time.Millisecond)
		if err := leader.Restart(t); err != nil {
			t.Fatal(err)
		}
	}
	c.WaitLeader(t)
	time.Sleep(500 * time.Millisecond)
	cancel()
	running.Wait()
}

// TestLocksHoldWhileLeadersAreKilled: nobody holds the lock beside another, and what its owners have counted stays.
func TestLocksHoldWhileLeadersAreKilled(t *testing.T) {
	c := NewClusterV3(t, &ClusterConfig{Size: 3, SkipCreatingClient: true})
	defer c.Terminate(t)
	var holders, counted, unsure int64
	worker := func(ctx context.Context) {
		client := everywhere(t, c)
		defer client.Close()
		session, err := concurrency.NewSession(client, concurrency.WithTTL(60))
		if err != nil {
			t.Error(err)
			return
		}
		mutex := concurrency.NewMutex(session, "/lock")
		for ctx.Err() == nil {
			if mutex.Lock(ctx) != nil {
				continue
			}
			if atomic.AddInt64(&holders, 1) != 1 {
				t.Error("two hold the lock")
			}
			switch done, err := addOne(ctx, client, mutex); {
			case err != nil:
				atomic.AddInt64(&unsure, 1)
			case done:
				atomic.AddInt64(&counted, 1)
			default:
				t.Error("the owner of the lock is not its owner")
			}
			atomic.AddInt64(&holders, -1)
			for mutex.Unlock(context.Background()) != nil {
				time.Sleep(pause)
			}
		}
	}
	whileLeadersDie(t, c, worker, worker, worker)
	client := everywhere(t, c)
	defer client.Close()
	total := number(t, client, "/count")
	if counted == 0 || total < counted || total > counted+unsure {
		t.Fatalf("%d were counted for certain and %d perhaps, and there are %d", counted, unsure, total)
	}
}

// addOne counts as the owner of a lock: what it read and what it writes are two requests, which the lock makes one.
func addOne(ctx context.Context, client *clientv3.Client, mutex *concurrency.Mutex) (bool, error) {
	read, err := client.Get(ctx, "/count")
	if err != nil {
		return false, err
	}
	count := int64(0)
	if len(read.Kvs) == 1 {
		if count, err = strconv.ParseInt(string(read.Kvs[0].Value), 10, 64); err != nil {
			return false, err
		}
	}
	put := clientv3.OpPut("/count", fmt.Sprint(count+1))
	written, err := client.Txn(ctx).If(mutex.IsOwner()).Then(put).Commit()
	if err != nil {
		return false, err
	}
	return written.Succeeded, nil
}

func number(t *testing.T, client *clientv3.Client, key string) int64 {
	read, err := client.Get(context.Background(), key)
	if err != nil || len(read.Kvs) != 1 {
		t.Fatalf("%s: %v, %v", key, read, err)
	}
	value, err := strconv.ParseInt(string(read.Kvs[0].Value), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// numbers reads two keys at one moment.
func numbers(t *testing.T, client *clientv3.Client, one, other string) (int64, int64) {
	read, err := client.Txn(context.Background()).Then(clientv3.OpGet(one), clientv3.OpGet(other)).Commit()
	if err != nil || len(read.Responses) != 2 {
		t.Fatalf("%s and %s: %v, %v", one, other, read, err)
	}
	var found [2]int64
	for place, response := range read.Responses {
		kvs := response.GetResponseRange().Kvs
		if len(kvs) != 1 {
			t.Fatalf("%s and %s: %v", one, other, read)
		}
		if found[place], err = strconv.ParseInt(string(kvs[0].Value), 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	return found[0], found[1]
}

// TestTransfersKeepTheSumWhileLeadersAreKilled: software transactional memory moves money, and none comes or goes.
func TestTransfersKeepTheSumWhileLeadersAreKilled(t *testing.T) {
	c := NewClusterV3(t, &ClusterConfig{Size: 3})
	defer c.Terminate(t)
	for _, account := range []string{"/a", "/b"} {
		if _, err := c.Client(0).Put(context.Background(), account, "1000"); err != nil {
			t.Fatal(err)
		}
	}
	var moved int64
	worker := func(ctx context.Context) {
		client := everywhere(t, c)
		defer client.Close()
		for ctx.Err() == nil {
			_, err := concurrency.NewSTM(client, func(stm concurrency.STM) error {
				from, err := strconv.Atoi(stm.Get("/a"))
				if err != nil {
					return err
				}
				to, err := strconv.Atoi(stm.Get("/b"))
				if err != nil {
					return err
				}
				stm.Put("/a", strconv.Itoa(from-1))
				stm.Put("/b", strconv.Itoa(to+1))
				return nil
			}, concurrency.WithAbortContext(ctx))
			if err == nil {
				atomic.AddInt64(&moved, 1)
			}
		}
	}
	whileLeadersDie(t, c, worker, worker)
	// At one moment: what was given up may still be done.
	a, b := numbers(t, c.Client(0), "/a", "/b")
	if a+b != 2000 || b-1000 < moved || moved == 0 {
		t.Fatalf("after %d transfers there are %d and %d", moved, a, b)
	}
}

// TestAnElectedLeaderStaysWhileLeadersAreKilled: who leads by an election goes on, and an observer hears of all that it
// proclaims for certain, in order.
func TestAnElectedLeaderStaysWhileLeadersAreKilled(t *testing.T) {
	c := NewClusterV3(t, &ClusterConfig{Size: 3, SkipCreatingClient: true})
	defer c.Terminate(t)
	client := everywhere(t, c)
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	election := concurrency.NewElection(session, "/election")
	if err := election.Campaign(context.Background(), "0"); err != nil {
		t.Fatal(err)
	}
	var proclaimed, observed int64
	leader := func(ctx context.Context) {
		for i := int64(1); ctx.Err() == nil; i++ {
			for election.Proclaim(context.Background(), fmt.Sprint(i)) != nil {
				time.Sleep(pause)
			}
			atomic.StoreInt64(&proclaimed, i)
			time.Sleep(pause)
		}
	}
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	observer := everywhere(t, c)
	defer observer.Close()
	theirs, err := concurrency.NewSession(observer, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	observe := func() {
		for seen := range concurrency.NewElection(theirs, "/election").Observe(watching) {
			value, err := strconv.ParseInt(string(seen.Kvs[0].Value), 10, 64)
			if err != nil || value < atomic.LoadInt64(&observed) {
				t.Errorf("observed %q after %d", seen.Kvs[0].Value, atomic.LoadInt64(&observed))
			}
			atomic.StoreInt64(&observed, value)
		}
	}
	go func() {
		// An observation ends with the connection that it began on, if it had heard of nobody yet.
		for watching.Err() == nil {
			observe()
		}
	}()
	whileLeadersDie(t, c, leader)
	eventually(t, "the observer hears of the last", func(context.Context) bool {
		return atomic.LoadInt64(&observed) == atomic.LoadInt64(&proclaimed) && observed > 0
	})
}
