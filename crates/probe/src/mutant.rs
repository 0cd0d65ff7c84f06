//! The mistakes that have names.

use crate::names::named;

named! {
    /// A deliberate mistake, made where the real one would be.
    pub enum Mutant {
        /// Host: what is written to the log is reported as durable without a sync.
        AcknowledgeBeforeSync = "acknowledge-before-sync",
        /// Host: a checkpoint is reported as durable before it is.
        ReportCheckpointEarly = "report-checkpoint-early",
        /// Host: terms and votes are not written to the log.
        SkipHardStates = "skip-hard-states",
        /// Host: every read is answered from what the node has applied.
        SerializableReads = "serializable-reads",
        /// Host: every write is handed to the node twice.
        RepeatWrites = "repeat-writes",
        /// Host: the applier is not given one entry in a hundred.
        SkipEntries = "skip-entries",
        /// Host: one response of a watch in fifty is lost.
        LoseWatchEvents = "lose-watch-events",
        /// Host: the comparisons of transactions are left out.
        IgnoreComparisons = "ignore-comparisons",
        /// Host: all pages of a list are read as of now.
        ReadPagesNow = "read-pages-now",
        /// Host: the events of watches come without the versions before.
        ForgetVersionsBefore = "forget-versions-before",
        /// Host: a compaction goes a little further than was asked for.
        CompactTooMuch = "compact-too-much",
        /// Host: nobody asks who connects which data directory it runs on.
        BelieveAnyDirectory = "believe-any-directory",
        /// Host: its clock is a quarter too fast.
        RushClocks = "rush-clocks",
        /// Consensus: messages that promise what the disk does not hold yet are sent at once.
        PromiseBeforeDurable = "promise-before-durable",
        /// Consensus: appends keep the place that the raft crate gives them (seed 5027).
        MisplacedAppends = "misplaced-appends",
        /// Consensus: a voter does not compare its log with the candidate's.
        VoteForShortLogs = "vote-for-short-logs",
        /// Consensus: a leader answers reads without asking a quorum whether it still leads.
        ReadWithoutQuorum = "read-without-quorum",
        /// Consensus: a leader commits entries of earlier terms by counting (figure 8 of the Raft paper).
        CommitEarlierTerm = "commit-earlier-term",
        /// Consensus: a learner is given a vote from the beginning.
        LearnerVotes = "learner-votes",
        /// Node: a hard state of which only the commit index has moved is never written, whatever it commits (seeds 1897 and 243).
        ForgetCommit = "forget-commit",
        /// Node: the vote is forgotten at a restart.
        ForgetVoteAtRestart = "forget-vote-at-restart",
        /// Node: entries are applied once they are in the log, committed or not.
        ApplyUncommitted = "apply-uncommitted",
        /// Node: a change of the members takes effect once it is in the log, committed or not.
        EarlyMembership = "early-membership",
        /// Node: a read is served as soon as its index is known, applied or not.
        ReadBeforeApply = "read-before-apply",
        /// Node: a proposal that is not answered at once is sent again.
        ResendOnSilence = "resend-on-silence",
        /// Node: a refusal counts however late it comes.
        BelieveLateRefusal = "believe-late-refusal",
        /// Node: the log is truncated as far as entries are applied, whether a checkpoint covers that or not.
        TruncateApplied = "truncate-applied",
        /// Node: a snapshot is sent without its last page.
        SnapshotWithoutEnd = "snapshot-without-end",
        /// Node: a replica that does not lead any more goes on counting leases, and has the leader end them.
        FollowerEndsLeases = "follower-ends-leases",
        /// Node: a stream that is closed is not forgotten.
        LeakStreams = "leak-streams",
        /// Node: a proposal that is answered is not forgotten.
        LeakProposals = "leak-proposals",
        /// Control: a replica leaves as soon as a map, be it an old one, does not name it.
        LeaveAtOnce = "leave-at-once",
        /// Control: a replica that comes to a shard that lives founds it anew.
        FoundAgain = "found-again",
        /// Control: a leader takes a replica away before its successor votes.
        RemoveFirst = "remove-first",
        /// Control: a routed write whose connection broke is sent to another replica.
        ResendRoutedWrites = "resend-routed-writes",
        /// Control: keys are routed to the shard beside their own.
        RouteAstray = "route-astray",
        /// Control: what a reconciler writes is written whatever has become of what it was decided upon.
        ReconcileBlindly = "reconcile-blindly",
        /// Control: a leader carries out what a map wants, however old that is.
        ConformToOldMap = "conform-to-old-map",
        /// Control: a replica that comes back is not bound by what the first one has promised.
        ForgetPromise = "forget-promise",
        /// Control: a replica of a shard that is no more goes at once, and comes back if an old map says so.
        ReturnByOldMap = "return-by-old-map",
        /// Splits: children are given up while nobody says that their parent is barred from them.
        GiveUpInSilence = "give-up-in-silence",
        /// Splits: a child is activated without the last page.
        ActivateShort = "activate-short",
        /// Splits: a parent retires as soon as it is sealed.
        HandOverEarly = "hand-over-early",
        /// Splits: a parent that is sealed goes on serving.
        ServeSealed = "serve-sealed",
        /// Convergent: what rests on a delta leaves its replica before the delta is durable.
        TellBeforeDurable = "tell-before-durable",
        /// Convergent: a write is acknowledged once its coordinator has it, whatever its level.
        AcknowledgeAlone = "acknowledge-alone",
        /// Convergent: a replica that comes back to a node takes the name of the one that was there before, and one that comes back
        /// after a crash the name of the run before.
        ReuseActor = "reuse-actor",
        /// Convergent: a delta is joined as if nothing that is gone had ever been known.
        ForgetContext = "forget-context",
        /// Convergent: a concurrent value that is older by the clock is dropped.
        LatestWins = "latest-wins",
        /// Convergent: one write in twenty is executed twice.
        ExecuteTwice = "execute-twice",
        /// Convergent: a read is answered once one replica has answered, whatever its level.
        ReadFirstAnswer = "read-first-answer",
        /// Convergent: a delta that was not acknowledged is not sent again.
        DropRetries = "drop-retries",
        /// Convergent: a replica says that it knows what another one does before it has compared its keys.
        AttestFirst = "attest-first",
        /// State machine: the place in the log that is stored is that before the last slice, which a restart applies again.
        ApplyTwice = "apply-twice",
        /// State machine: leases are forgotten at a restart.
        ForgetLeases = "forget-leases",
        /// State machine: a snapshot has no leases.
        SnapshotWithoutLeases = "snapshot-without-leases",
        /// State machine: a transaction compares with what it puts itself.
        CompareAfterPut = "compare-after-put",
        /// State machine: a removal makes no revision.
        DeleteKeepsRevision = "delete-keeps-revision",
        /// State machine: the version before a change is told to be the one after it.
        WrongPrevious = "wrong-previous",
        /// Leases: a renewal is answered although the log gives a new leader less.
        RenewWithoutRestoring = "renew-without-restoring",
        /// Leases: a new leader gives each lease half of what the log says.
        ShortTakeover = "short-takeover",
        /// Leases: a lease ends when it was granted to end, however often it is renewed.
        IgnoreRenewals = "ignore-renewals",
        /// Watches: compaction passes over a watch in silence.
        CompactPastWatch = "compact-past-watch",
        /// Watches: the first change after history is lost.
        LoseHandover = "lose-handover",
        /// Watches: progress is told while a watch is behind.
        ProgressWhileBehind = "progress-while-behind",
        /// Watches: what did not fit into a full stream is not given later.
        DropWhenFull = "drop-when-full",
        /// Watches: what a snapshot brought is not told.
        SilentSnapshot = "silent-snapshot",
        /// Paxos: an acceptor accepts below what it has promised.
        PaxosAcceptBelowPromise = "paxos-accept-below-promise",
        /// Paxos: an acceptor promises and does not say what it has accepted.
        PaxosHideAccepted = "paxos-hide-accepted",
        /// Paxos: an acceptor's answers do not wait for its disk.
        PaxosSendBeforeDurable = "paxos-send-before-durable",
        /// Paxos: an acceptor that forgets a key does not raise its floor.
        PaxosForgetFloor = "paxos-forget-floor",
        /// Paxos: an absence that only a quorum has accepted is forgotten.
        PaxosEraseWithQuorum = "paxos-erase-with-quorum",
        /// Paxos: a change whose earlier try may have been applied is made again.
        PaxosRetrySuperseded = "paxos-retry-superseded",
        /// Paxos: an acceptor that went and came back goes on with what it had.
        PaxosKeepSeat = "paxos-keep-seat",
        /// Log: checksums are not compared.
        IgnoreChecksums = "ignore-checksums",
        /// Log: segments are freed that are still needed.
        RecycleNeeded = "recycle-needed",
        /// Log: batches claim that they are durable themselves.
        ClaimDurable = "claim-durable",
        /// Log: a sync that failed is tried again.
        RetrySync = "retry-sync",
        /// Log: segments begin without the latest small records.
        ForgetCarry = "forget-carry",
    }
}
