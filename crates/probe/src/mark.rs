//! The rare paths that have names.

use crate::names::named;

named! {
    /// A rare path. The first word of its group says where it lies.
    pub enum Mark {
        /// Consensus: a vote before the vote was refused.
        PreVoteRefused = "pre-vote-refused",
        /// Consensus: a vote was refused.
        VoteRefused = "vote-refused",
        /// Consensus: a leader that had not heard of a quorum stepped down.
        QuorumLost = "quorum-lost",
        /// Consensus: a leader stepped down because it had lost its vote.
        LeaderWithoutVote = "leader-without-vote",
        /// Consensus: a learner was given a vote.
        LearnerPromoted = "learner-promoted",
        /// Consensus: a member was removed.
        MemberRemoved = "member-removed",
        /// Consensus: a leadership was handed over on demand.
        HandoverReceived = "handover-received",
        /// Consensus: no election could be held, because of a snapshot that was being installed or a vote that was not durable.
        ElectionPutOff = "election-put-off",
        /// Consensus: an append was put in the place before its first entry.
        AppendPlaced = "append-placed",
        /// Consensus: entries took the place of others in a log.
        ConflictTruncated = "conflict-truncated",
        /// Consensus: a message waited for the disk.
        MessageHeld = "message-held",
        /// Consensus: a change of the configuration waited until the log knew that it is committed.
        ChangeHeld = "change-held",
        /// Consensus: a follower's word that promises nothing overtook the disk.
        PromptWord = "prompt-word",
        /// Consensus: a read waited for the first commit of its leader's term.
        ReadWaitedForCommit = "read-waited-for-commit",
        /// Consensus: a read that waited for a commit lost its leader.
        ReadLostLeader = "read-lost-leader",
        /// Consensus: Raft wanted to send a snapshot.
        SnapshotWanted = "snapshot-wanted",
        /// Consensus: a snapshot took the log's place.
        SnapshotInstalled = "snapshot-installed",
        /// Consensus: a replica went to sleep.
        Hibernated = "hibernated",
        /// Consensus: a replica that slept woke up.
        Woken = "woken",
        /// Node: a proposal was forwarded to who does not lead its term.
        ForwardRefused = "forward-refused",
        /// Node: a refusal came too late to count.
        RefusalTooLate = "refusal-too-late",
        /// Node: a proposal was sent once more, because a later term was applied without it.
        ProposalOutlived = "proposal-outlived",
        /// Node: a proposal found its answer after a change of the leader.
        AnswerAfterElection = "answer-after-election",
        /// Node: a proposal was given up.
        ProposalExpired = "proposal-expired",
        /// Node: a round for a read index was begun again.
        ReadRetried = "read-retried",
        /// Node: a read waited until its index was applied.
        ReadWaitedForApply = "read-waited-for-apply",
        /// Node: a question was put to the leader again.
        QuestionRepeated = "question-repeated",
        /// Node: a hard state of which only the commit index had moved waited for the next entries.
        CommitUnwritten = "commit-unwritten",
        /// Node: such a hard state went to the log with the next entries.
        CommitWritten = "commit-written",
        /// Node: the entries of a turn took several records.
        SeveralRecords = "several-records",
        /// Node: a pinned log was written again.
        LogRewritten = "log-rewritten",
        /// Node: a log was truncated behind a checkpoint.
        LogTruncated = "log-truncated",
        /// Node: the transfer of a snapshot failed or stood still.
        TransferFailed = "transfer-failed",
        /// Node: a new snapshot came while another one was coming in.
        TransferReplaced = "transfer-replaced",
        /// Node: a page came that does not follow the last one.
        PageOutOfOrder = "page-out-of-order",
        /// Node: a snapshot took the place of a proposal's result.
        ResultInSnapshot = "result-in-snapshot",
        /// Node: a frame was older than one that had come.
        StaleFrame = "stale-frame",
        /// Node: a stopping node handed its leadership over.
        HandoverAtStop = "handover-at-stop",
        /// Node: a log was read back in which entries had been replaced.
        ReplacedInLog = "replaced-in-log",
        /// Node: a log was read back in which entries had been written again.
        RepeatedInLog = "repeated-in-log",
        /// Node: streams that need a leader were told that there is none.
        NoLeaderTold = "no-leader-told",
        /// Control: a shard's first voters were founded.
        ShardFounded = "shard-founded",
        /// Control: a replica left its node.
        ReplicaLeft = "replica-left",
        /// Control: a replica came to a node that had had one of the same group.
        ReplicaCameBack = "replica-came-back",
        /// Control: a replica that came back refused a vote that only the first one's promise forbids.
        PromiseKept = "promise-kept",
        /// Control: a group was asked whether it still counts on a replica that the map does not know.
        ReplicaDoubted = "replica-doubted",
        /// Control: a replica left because its group had said that it is no member.
        ReplicaLeftBehind = "replica-left-behind",
        /// Control: a learner that the map had wanted was given a vote.
        LearnerPromotedByMap = "learner-promoted-by-map",
        /// Control: a replica on a silent node was replaced.
        SilentReplicaReplaced = "silent-replica-replaced",
        /// Control: what changed in the map was sent to a node without meta.
        MapPushed = "map-pushed",
        /// Control: an update of the map did not fit to the map that was there.
        MapGap = "map-gap",
        /// Control: a newer entry of a shard came with a refusal.
        EntryAdopted = "entry-adopted",
        /// Control: a routed call was refused, because the shard is not there or the sender's map is behind.
        WrongShardAnswered = "wrong-shard-answered",
        /// Control: a routed write was given up because the connection to who had it broke.
        RoutedWriteLost = "routed-write-lost",
        /// Control: a leader of meta that had reconciled was deposed.
        ReconcilerDeposed = "reconciler-deposed",
        /// Leases: the remainder of one was proposed to the log.
        LeaseCheckpointed = "lease-checkpointed",
        /// Leases: a renewal had to wait until the log gave the lease its full time back.
        RenewalWaited = "renewal-waited",
        /// Leases: a new leader began with leases of its predecessor.
        LeasesTakenOver = "leases-taken-over",
        /// Watches: one was given less than there is, because its stream was full.
        WatchFellBehind = "watch-fell-behind",
        /// Watches: history was read.
        HistoryRead = "history-read",
        /// Watches: one came back from history into the present.
        WatchCaughtUp = "watch-caught-up",
        /// Watches: one was canceled because what it wants was compacted.
        WatchCompacted = "watch-compacted",
        /// Watches: a snapshot was installed under one that was live.
        WatchOverSnapshot = "watch-over-snapshot",
        /// Log: a torn tail was cut off.
        TailCut = "tail-cut",
        /// Log: what was read but not proven to be durable was written once more.
        UnprovenRewritten = "unproven-rewritten",
        /// Log: records that were carried forward were needed.
        CarriedRead = "carried-read",
        /// Log: a segment was kept for use again.
        SegmentRecycled = "segment-recycled",
        /// Log: a segment was deleted.
        SegmentDeleted = "segment-deleted",
        /// Log: what was appended at once took several batches.
        SeveralBatches = "several-batches",
        /// Log: there was no room left on the disk.
        DiskFull = "disk-full",
        /// Log: a write or a sync failed, and the log was poisoned.
        LogPoisoned = "log-poisoned",
    }
}
