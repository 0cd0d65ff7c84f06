//! Golden scripts: the protocol as a trace. `UPDATE_GOLDENFILES=1 cargo test` writes what the replicas do now.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::error::Error;
use std::fmt::Write as _;

use althing_consensus::{Change, ConfState, Input};
use althing_types::NodeId;
use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use support::world::{Syncing, World, conf};

/// Runs one script against one group.
struct Script {
    world: World,
}

type Outcome = Result<(), Box<dyn Error>>;

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        self.world.trace.clear();
        let outcome = self.command(&command.name, &mut args);
        args.reject_next()?;
        self.world.check();
        if let Err(error) = outcome {
            writeln!(self.world.trace, "refused: {error}")?;
        }
        Ok(std::mem::take(&mut self.world.trace))
    }
}

impl Script {
    fn command(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
        match name {
            "group" => self.group(args),
            "tick" => self.tick(args),
            "run" => self.run_ticks(args),
            "campaign" => self.input(args, Input::Campaign),
            "wake" => self.input(args, Input::Wake),
            "propose" => self.propose(args),
            "change" => self.change(args),
            "read" => self.read(args),
            "transfer" => self.transfer(args),
            "deliver" => self.deliver(args),
            "settle" => self.settle(args),
            "drop" => self.drop_messages(),
            "cut" => self.cut(args),
            "heal" => self.heal(),
            "crash" => self.each(args, World::crash),
            "restart" => self.each(args, World::restart),
            "join" => self.each(args, World::join),
            "disk" => self.disk(args),
            "sync" => self.each(args, |world, id| world.sync(id, usize::MAX)),
            "truncate" => self.each(args, |world, id| world.truncate(id, 0)),
            "stream" => self.stream(),
            "status" => self.status(),
            other => Err(format!("unknown command {other}").into()),
        }
    }

    /// `group 1 2 3 learners=4 hibernate=5`: starts a group.
    fn group(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        self.world = World::new(1, 10..20);
        self.world.hibernate_after_ticks = args.take_key("hibernate").map(str::parse).transpose()?;
        let learners = nodes(args.take_key("learners").unwrap_or_default())?;
        let conf_state = ConfState { learners, ..ConfState::of_voters(rest(args)?) };
        self.world.bootstrap(&conf_state);
        Ok(())
    }

    /// `tick 1 2 n=5`: ticks nodes in turn and keeps what they send.
    fn tick(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let count: u32 = args.take_key("n").unwrap_or("1").parse()?;
        let ids = rest(args)?;
        for _ in 0..count {
            for id in &ids {
                self.world.turn(*id, Input::Tick)?;
            }
        }
        self.sent()
    }

    /// `run n=30`: ticks every node, delivers everything, and so on. Only who leads in the end is told.
    fn run_ticks(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let count: u32 = args.take_key("n").unwrap_or("1").parse()?;
        for _ in 0..count {
            for id in self.world.nodes.keys().copied().collect::<Vec<_>>() {
                self.world.turn(id, Input::Tick)?;
            }
            self.world.settle();
        }
        self.world.trace.clear();
        match self.world.leader() {
            Some(leader) => {
                writeln!(self.world.trace, "{leader} leads term {}", self.world.nodes[&leader].replica.term())?
            }
            None => writeln!(self.world.trace, "nobody leads")?,
        }
        Ok(())
    }

    fn input(&mut self, args: &mut ArgumentConsumer<'_>, input: Input) -> Outcome {
        for id in rest(args)? {
            self.world.turn(id, input.clone())?;
        }
        self.sent()
    }

    fn each(&mut self, args: &mut ArgumentConsumer<'_>, action: impl Fn(&mut World, NodeId)) -> Outcome {
        for id in rest(args)? {
            action(&mut self.world, id);
        }
        self.sent()
    }

    /// `propose 1 a b c`: one turn each.
    fn propose(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let id = one(args)?;
        while let Some(data) = args.next_pos() {
            self.world.propose(id, data)?;
        }
        self.sent()
    }

    /// `change 1 voter=4 learner=5 promote=6 remove=2`: the steps of one change.
    fn change(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let id = one(args)?;
        let mut steps = Vec::new();
        while let Some((kind, node)) = args.next_key() {
            let node = NodeId(node.parse()?);
            steps.push(match kind {
                "voter" => Change::AddVoter(node),
                "learner" => Change::AddLearner(node),
                "promote" => Change::Promote(node),
                "remove" => Change::Remove(node),
                other => return Err(format!("unknown step {other}").into()),
            });
        }
        self.world.change(id, steps)?;
        self.sent()
    }

    fn read(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let id = one(args)?;
        while let Some(context) = args.next_pos() {
            self.world.read(id, context.parse()?);
        }
        self.sent()
    }

    fn transfer(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let (from, to) = (one(args)?, one(args)?);
        self.world.turn(from, Input::TransferLeader { to })?;
        self.sent()
    }

    /// `deliver n=2`: delivers what is on its way, one generation after the other.
    fn deliver(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let count: u32 = args.take_key("n").unwrap_or("1").parse()?;
        for _ in 0..count {
            for _ in 0..self.world.network.len() {
                self.world.deliver(0);
            }
        }
        self.sent()
    }

    /// Delivers until nothing is on its way; `settle quiet=1` does not tell about it.
    fn settle(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let quiet = args.take_key("quiet").is_some();
        self.world.settle();
        if quiet {
            self.world.trace.clear();
        }
        Ok(())
    }

    fn drop_messages(&mut self) -> Outcome {
        writeln!(self.world.trace, "{} messages are lost", self.world.network.len())?;
        self.world.network.clear();
        Ok(())
    }

    /// `cut 1`: nothing reaches the node or leaves it. `cut 1 2`: nothing gets from 1 to 2.
    fn cut(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let ids = rest(args)?;
        match ids[..] {
            [one] => {
                for other in self.world.nodes.keys().copied().filter(|id| *id != one).collect::<Vec<_>>() {
                    self.world.cut.extend([(one, other), (other, one)]);
                }
            }
            [from, to] => {
                self.world.cut.insert((from, to));
            }
            _ => return Err("cut takes one node or two".into()),
        }
        Ok(())
    }

    fn heal(&mut self) -> Outcome {
        self.world.cut.clear();
        Ok(())
    }

    /// `disk 1 manual`: the disk syncs when told to.
    fn disk(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let id = one(args)?;
        let syncing = if args.next_pos() == Some("manual") { Syncing::Manual } else { Syncing::AtOnce };
        self.world.nodes.get_mut(&id).ok_or("no such node")?.syncing = syncing;
        Ok(())
    }

    fn stream(&mut self) -> Outcome {
        while !self.world.wanted.is_empty() {
            self.world.stream(0);
        }
        self.sent()
    }

    fn sent(&mut self) -> Outcome {
        if !self.world.network.is_empty() {
            writeln!(self.world.trace, "{} on their way", self.world.network.len())?;
        }
        Ok(())
    }

    fn status(&mut self) -> Outcome {
        for (id, node) in &self.world.nodes {
            let replica = &node.replica;
            let asleep = if replica.is_hibernating() { " asleep" } else { "" };
            writeln!(
                self.world.trace,
                "{id}: {:?} term={} log={}..{} commit={} applied={} {}{asleep}",
                replica.role(),
                replica.term(),
                replica.truncated().index,
                replica.last_index(),
                replica.commit(),
                replica.applied(),
                conf(replica.conf_state()),
            )?;
        }
        Ok(())
    }
}

fn one(args: &mut ArgumentConsumer<'_>) -> Result<NodeId, Box<dyn Error>> {
    Ok(NodeId(args.next_pos().ok_or("a node is missing")?.parse()?))
}

fn rest(args: &mut ArgumentConsumer<'_>) -> Result<Vec<NodeId>, Box<dyn Error>> {
    let mut ids = Vec::new();
    while let Some(id) = args.next_pos() {
        ids.push(NodeId(id.parse()?));
    }
    Ok(ids)
}

fn nodes(list: &str) -> Result<Vec<NodeId>, Box<dyn Error>> {
    list.split(',').filter(|id| !id.is_empty()).map(|id| Ok(NodeId(id.parse()?))).collect()
}

fn run(name: &str) {
    let path = format!("{}/tests/scripts/{name}", env!("CARGO_MANIFEST_DIR"));
    goldenscript::run(&mut Script { world: World::new(1, 10..20) }, path).unwrap();
}

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*
    };
}

scripts! {
    an_election,
    replication_and_its_disk,
    a_partition_and_pre_vote,
    a_leader_without_a_quorum_steps_down,
    a_joint_change,
    a_learner_is_promoted,
    a_leader_removes_itself,
    one_of_two_voters_leaves,
    a_sole_voter,
    a_transfer,
    reads,
    truncation_and_a_snapshot,
    sleep,
}
