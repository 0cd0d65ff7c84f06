//! The fields of all kinds.

use super::{Default, Field, Shape, Writer};
use crate::kind::API_VERSION;
use crate::{cluster, node, table};

const fn owner(path: &'static str, shape: Shape, default: &'static str, text: &'static str) -> Field {
    Field { path, shape, default: Default::Value(default), writer: Writer::Owner, text }
}

const fn once(path: &'static str, shape: Shape, default: Default, text: &'static str) -> Field {
    Field { path, shape, default, writer: Writer::OwnerOnce, text }
}

const fn system(path: &'static str, shape: Shape, text: &'static str) -> Field {
    Field { path, shape, default: Default::Absent, writer: Writer::System, text }
}

const ANY: Shape = Shape::Number(0, u64::MAX);

/// Fields of every kind. `metadata.name` differs and stands with each.
pub const COMMON: &[Field] = &[
    once("apiVersion", Shape::Exactly(API_VERSION), Default::Required, "The version of this description."),
    once(
        "kind",
        Shape::Choice(&["Cluster", "Node", "Table", "Shard"]),
        Default::Required,
        "What kind of object this is.",
    ),
    once("metadata", Shape::Object, Default::Required, "What every object says about itself."),
    Field {
        path: "metadata.resourceVersion",
        shape: Shape::Version,
        default: Default::Absent,
        writer: Writer::Owner,
        text: "Which write of the object this is. Given in a change, the change is done only if the object is still the same; \
               left out, it is done in any case.",
    },
    system("metadata.generation", ANY, "How often the spec has changed."),
    system(
        "metadata.deleting",
        Shape::Truth,
        "Whether the object is being deleted; it goes when all that belongs to it has gone.",
    ),
    Field {
        path: "metadata.labels",
        shape: Shape::Labels,
        default: Default::Absent,
        writer: Writer::Owner,
        text: "Words of your own, for people and scripts.",
    },
    Field {
        path: "spec",
        shape: Shape::Object,
        default: Default::Absent,
        writer: Writer::Owner,
        text: "What is wanted.",
    },
    system("status", Shape::Object, "What is the case. It can be read; what is written there is not taken."),
    system("status.conditions", Shape::Objects, "What is the case, in words."),
    system("status.conditions.type", Shape::Text, "What the condition is about, for example Ready."),
    system("status.conditions.status", Shape::Choice(&["True", "False", "Unknown"]), "Whether it holds."),
    system("status.conditions.reason", Shape::Text, "Why, in one word for programs."),
    system("status.conditions.message", Shape::Text, "Why, in a sentence for people."),
];

pub const CLUSTER: &[Field] = &[
    once("metadata.name", Shape::ClusterName, Default::Required, "The cluster's object is named `cluster`."),
    owner(
        "spec.metaReplicas",
        Shape::OneOf(&[1, 3, 5]),
        "3",
        "Replicas of the table `meta`, in which all objects are kept. With 3 the control plane bears the loss of one node, \
         with 5 of two. Tables go on serving without it.",
    ),
    owner(
        "spec.nodeGraceSeconds",
        Shape::Number(5, 7 * 24 * 3600),
        "300",
        "Seconds that a silent node keeps its replicas. Then they are rebuilt on other nodes. Choose more than a restart takes.",
    ),
    system(
        "status.nextGroup",
        Shape::Number(cluster::FIRST_FREE_GROUP, u64::MAX),
        "The next group id that is handed out.",
    ),
    system("status.claim", Shape::Object, "Group ids that are handed out to a table whose shards are being made."),
    system("status.claim.table", Shape::TableName, "The table."),
    system("status.claim.first", ANY, "The first group id."),
    system("status.claim.count", ANY, "How many."),
    system("status.claim.split", Shape::Object, "The shard that is split into the shards that are made, if it is one."),
    system("status.claim.split.parent", Shape::Number(1, u64::MAX), "Its group."),
    system("status.claim.split.at", Shape::Key, "The first key of the second half."),
];

pub const NODE: &[Field] = &[
    once("metadata.name", Shape::NodeName, Default::Required, "The node's name."),
    once(
        "spec.id",
        Shape::NodeId,
        Default::Required,
        "The node's id. A node whose data directory was lost comes back under another id.",
    ),
    once("spec.peerUrls", Shape::Urls, Default::Value("[]"), "Where other nodes reach it. The node says so itself."),
    once("spec.clientUrls", Shape::Urls, Default::Value("[]"), "Where clients reach it. The node says so itself."),
    once(
        "spec.zone",
        Shape::Text,
        Default::Value("\"\""),
        "What fails together with it: a rack, a datacenter. Replicas of a shard are spread over zones. The node says so itself.",
    ),
    owner(
        "spec.capacity",
        Shape::Number(0, node::MAX_CAPACITY as u64),
        "100",
        "How much it holds beside others, in hundredths of a usual node: 200 gets twice the share, 0 is emptied.",
    ),
    owner(
        "spec.schedule",
        Shape::Choice(&["active", "cordoned", "drain"]),
        "active",
        "active: it gets its share of replicas. cordoned: it keeps what it has and gets nothing new; until it is active again, \
         replicas are repaired but not balanced, in the whole cluster. drain: it is emptied, so that it can be taken away.",
    ),
    system("status.liveness", Shape::Choice(&["up", "silent", "unknown"]), "Whether the control plane hears of it."),
    system("status.replicas", ANY, "Shards that have a replica on it or want one there."),
    system("status.leaders", ANY, "Shards that it leads."),
    system("status.version", Shape::Text, "The version of the program that it runs."),
];

/// The named levels of reads and writes.
const LEVELS: &[&str] = &["one", "quorum", "all", "localQuorum", "eachQuorum", "any"];

pub const TABLE: &[Field] = &[
    once("metadata.name", Shape::TableName, Default::Required, "The table's name."),
    once(
        "spec.guarantee",
        Shape::Choice(&["strong", "convergent", "stream", "blob"]),
        Default::Value("strong"),
        "What clients may rely on. strong: linearizable reads and writes, ordered watches, leases. convergent: always writable; replicas \
         that have seen the same writes are equal, and no concurrent write is lost. The others are not built yet.",
    ),
    once(
        "spec.shards",
        Shape::Number(1, table::MAX_SHARDS as u64),
        Default::Value("1"),
        "How many parts the table is cut into, each with its own leader. A table with one shard has one order of revisions and \
         serves the etcd API in full; one with many takes more writes per second, and serves requests that stay within a shard. \
         Fixed once the table is made. A table that is split by range begins with 1 and finds its own number.",
    ),
    owner(
        "spec.replicas",
        Shape::OneOf(&[1, 3, 5, 7]),
        "3",
        "Replicas of each shard. With 3 a shard bears the loss of one node, with 5 of two, with 7 of three.",
    ),
    once(
        "spec.split",
        Shape::Choice(&["hash", "range"]),
        Default::Value("hash"),
        "How keys are dealt to shards. hash: evenly, by a hash of the key. range: neighbouring keys stay together, and a shard \
         that has grown too large is cut in two.",
    ),
    Field {
        path: "spec.splitBytes",
        shape: Shape::Number(table::MIN_SPLIT_BYTES, table::MAX_SPLIT_BYTES),
        default: Default::Value("67108864 if split is range"),
        writer: Writer::Owner,
        text: "Bytes at which a shard is cut in two. Only for tables that are split by range.",
    },
    Field {
        path: "spec.readLevel",
        shape: Shape::Choice(LEVELS),
        default: Default::Value("quorum if guarantee is convergent"),
        writer: Writer::Owner,
        text: "How many replicas a read asks, if it says nothing else. Only for convergent tables. Reads at quorum see every write at \
               quorum.",
    },
    Field {
        path: "spec.writeLevel",
        shape: Shape::Choice(LEVELS),
        default: Default::Value("quorum if guarantee is convergent"),
        writer: Writer::Owner,
        text: "How many replicas have a write durably before it is acknowledged, if it says nothing else. Only for convergent tables.",
    },
    once(
        "spec.conditional",
        Shape::Choice(&["refuse", "paxos"]),
        Default::Value("refuse"),
        "What becomes of writes that must not succeed twice, such as SET with NX. Only for convergent tables. refuse: they are \
         refused. paxos: every write, removal and expiry of a string is decided by a round of Paxos, for which most of its replicas \
         must be there; other types converge. Fixed once the table is made.",
    ),
    Field {
        path: "spec.redisDb",
        shape: Shape::Number(0, table::MAX_REDIS_DB as u64),
        default: Default::Absent,
        writer: Writer::Owner,
        text: "The number by which clients of Redis select the table. Of two tables with one number they get the one that comes first by \
               name.",
    },
    system("status.observedGeneration", ANY, "The generation of the spec that the status is about."),
    system(
        "status.shards",
        ANY,
        "Shards to which requests go. Halves that are being filled and shards that retire are not counted.",
    ),
    system("status.readyShards", ANY, "Shards that have a leader now."),
];

pub const SHARD: &[Field] = &[
    once("metadata.name", Shape::ShardName, Default::Required, "The shard's name: `<table>-<group>`."),
    system("spec.table", Shape::TableName, "The table that it is a part of."),
    system("spec.group", Shape::Number(1, u64::MAX), "Its Raft group: a number that is never used again."),
    system("spec.slice", Shape::Object, "Which keys of the table it holds: `hash` or `range`."),
    system("spec.slice.hash", Shape::Object, "One of equal parts, by a hash of the key."),
    system("spec.slice.hash.index", Shape::Number(0, table::MAX_SHARDS as u64 - 1), "Its number, from 0."),
    system("spec.slice.hash.of", Shape::Number(1, table::MAX_SHARDS as u64), "How many there are."),
    system("spec.slice.range", Shape::Object, "The keys from one to another."),
    system("spec.slice.range.start", Shape::Key, "The least key."),
    system("spec.slice.range.end", Shape::Key, "The first key behind them; absent if there is no end."),
    system(
        "spec.replicas",
        Shape::NodeIds,
        "The nodes that should hold it. The shard's leader makes it so, one replica at a time.",
    ),
    system("spec.leader", Shape::NodeId, "The one of them that should lead while it can."),
    system(
        "spec.phase",
        Shape::Choice(&["serving", "filling", "retiring"]),
        "serving: it serves its keys, or will as soon as it is founded. filling: it is one half of the shard spec.parent, which \
         is being split, and gets its data from there; it serves as soon as that one retires. retiring: its table is deleted, \
         or its two halves serve in its place; its replicas are being dropped.",
    ),
    system("spec.parent", Shape::Number(1, u64::MAX), "The group of the shard that it was split from."),
    system("status.epoch", ANY, "Rises whenever replicas, slice or phase change. 0: it has never been seen alive."),
    system("status.voters", Shape::NodeIds, "Replicas that vote."),
    system("status.learners", Shape::NodeIds, "Replicas that are being filled."),
    system("status.leader", Shape::NodeId, "The voter that leads, if one is known to."),
    system("status.term", ANY, "The term in which it leads, or was last heard to."),
    system("status.keys", ANY, "Keys that it holds, rounded."),
    system("status.bytes", ANY, "Bytes that it holds, rounded."),
];
