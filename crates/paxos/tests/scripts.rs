//! Golden scripts: the classic runs as traces. `UPDATE_GOLDENFILES=1 cargo test` writes what the cores do now.
//!
//! | command | what happens |
//! |---|---|
//! | `replicas 1 2 3` | a new shard |
//! | `add 1 5`, `cas 1 none 5`, `delete 1`, `read 1`, `forget 1` | a client calls at a node |
//! | `deliver [from=] [to=]` | messages that are on their way now, in order; their answers stay on their way |
//! | `drop [from=] [to=]` | messages that are on their way now are lost |
//! | `keep` and `late` | takes all messages off the network, and puts them back |
//! | `sync 1` | all that the replica handed over is durable |
//! | `settle` | syncs and delivers until nothing is left |
//! | `pass 100` | milliseconds, with their timers |
//! | `restart 1` | a process dies and comes back |
//! | `join 4 epoch=2 old=1-2-3 new=1-2-4`, `configure 1 …`, `copy 1 4`, `fill 4`, `leave 3` | a move |
//! | `registers` | what everybody remembers |

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::error::Error;

use althing_paxos::{Config, Peer};
use althing_types::Duration;
use goldenscript::{ArgumentConsumer, Command, Context, Runner};
use support::history::{Call, is_linearizable};
use support::world::{Message, Tracing, World, peer};

type Outcome = Result<(), Box<dyn Error>>;

struct Script {
    world: World,
    kept: Vec<Message>,
}

impl Runner for Script {
    type Command = Command;

    fn run(&mut self, command: &Command, _: &Context) -> Result<String, Box<dyn Error>> {
        let mut args = command.consume_args();
        self.world.trace.clear();
        self.command(&command.name, &mut args)?;
        args.reject_next()?;
        Ok(std::mem::take(&mut self.world.trace))
    }
}

fn node(args: &mut ArgumentConsumer<'_>) -> Result<Peer, Box<dyn Error>> {
    Ok(peer(args.next_pos().ok_or("which node?")?.parse()?))
}

fn number(args: &mut ArgumentConsumer<'_>) -> Result<u64, Box<dyn Error>> {
    Ok(args.next_pos().ok_or("which number?")?.parse()?)
}

fn peers(list: &str) -> Result<Vec<Peer>, Box<dyn Error>> {
    list.split('-').map(|id| Ok(peer(id.parse()?))).collect()
}

/// `epoch=2 old=1-2-3 new=1-2-4`, or without `old` what stands alone.
fn config(args: &mut ArgumentConsumer<'_>) -> Result<Config, Box<dyn Error>> {
    let epoch = args.take_key("epoch").ok_or("which epoch?")?.parse()?;
    let old = args.take_key("old");
    let new = peers(args.take_key("new").ok_or("which set?")?)?;
    Ok(match old {
        Some(old) => Config::moving(epoch, &peers(old)?, &new),
        None => Config::stable(epoch, &new),
    })
}

impl Script {
    fn command(&mut self, name: &str, args: &mut ArgumentConsumer<'_>) -> Outcome {
        match name {
            "replicas" => self.replicas(args),
            "add" => self.call(args, |args| Ok(Call::Add(number(args)?))),
            "cas" => self.call(args, |args| {
                let expected = args.next_pos().ok_or("which value?")?.parse().ok();
                Ok(Call::Cas { expected, new: number(args)? })
            }),
            "delete" => self.call(args, |_| Ok(Call::Delete)),
            "read" => self.call(args, |_| Ok(Call::Read)),
            "forget" => self.each(args, World::forget),
            "restart" => self.each(args, World::restart),
            "leave" => self.each(args, World::leave),
            "sync" => self.each(args, |world, at| world.sync(at, usize::MAX)),
            "deliver" => self.deliver(args),
            "drop" => self.take(args).map(drop),
            "keep" => self.take(args).map(|taken| self.kept = taken),
            "late" => self.late(),
            "settle" => self.settle(),
            "pass" => self.pass(args),
            "join" => self.each_with(args, World::join),
            "configure" => self.each_with(args, World::configure),
            "copy" => self.copy(args),
            "fill" => self.fill(args),
            "registers" => self.registers(),
            "judge" => self.judge(),
            other => Err(format!("no such command: {other}").into()),
        }
    }

    fn replicas(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let mut nodes = Vec::new();
        while let Some(node) = args.next_pos() {
            nodes.push(node.parse()?);
        }
        self.world = World::new(&nodes, 1);
        self.world.tracing = Tracing::On;
        Ok(())
    }

    fn call(
        &mut self,
        args: &mut ArgumentConsumer<'_>,
        call: impl Fn(&mut ArgumentConsumer<'_>) -> Result<Call, Box<dyn Error>>,
    ) -> Outcome {
        let at = node(args)?;
        let call = call(args)?;
        self.world.call(at, call);
        Ok(())
    }

    fn each(&mut self, args: &mut ArgumentConsumer<'_>, act: impl Fn(&mut World, Peer)) -> Outcome {
        while let Some(arg) = args.next_pos() {
            act(&mut self.world, peer(arg.parse()?));
        }
        Ok(())
    }

    fn each_with(&mut self, args: &mut ArgumentConsumer<'_>, act: impl Fn(&mut World, Peer, &Config)) -> Outcome {
        let config = config(args)?;
        self.each(args, |world, at| act(world, at, &config))
    }

    fn take(&mut self, args: &mut ArgumentConsumer<'_>) -> Result<Vec<Message>, Box<dyn Error>> {
        let from: Option<u64> = args.take_key("from").map(str::parse).transpose()?;
        let to: Option<u64> = args.take_key("to").map(str::parse).transpose()?;
        let is_meant = |message: &Message| {
            from.is_none_or(|from| message.from == peer(from)) && to.is_none_or(|to| message.to == peer(to))
        };
        let (taken, left) = std::mem::take(&mut self.world.network).into_iter().partition(is_meant);
        self.world.network = left;
        Ok(taken)
    }

    fn deliver(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        self.take(args)?.into_iter().for_each(|message| self.world.deliver(message));
        Ok(())
    }

    fn late(&mut self) -> Outcome {
        std::mem::take(&mut self.kept).into_iter().for_each(|message| self.world.deliver(message));
        Ok(())
    }

    fn pass(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        self.world.pass(Duration::from_millis(number(args)?));
        Ok(())
    }

    fn registers(&mut self) -> Outcome {
        let registers = self.world.registers();
        self.world.trace.push_str(&registers);
        Ok(())
    }

    fn settle(&mut self) -> Outcome {
        while !self.world.is_idle() {
            for at in self.world.peers() {
                self.world.sync(at, usize::MAX);
            }
            std::mem::take(&mut self.world.network).into_iter().for_each(|message| self.world.deliver(message));
        }
        Ok(())
    }

    fn copy(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        let (from, to) = (node(args)?, node(args)?);
        if !self.world.copy(from, to) {
            self.world.trace.push_str("refused\n");
        }
        Ok(())
    }

    fn fill(&mut self, args: &mut ArgumentConsumer<'_>) -> Outcome {
        if !self.world.fill(node(args)?) {
            self.world.trace.push_str("too few are copied\n");
        }
        Ok(())
    }

    fn judge(&mut self) -> Outcome {
        let verdict = if is_linearizable(&self.world.history) { "linearizable\n" } else { "NOT linearizable\n" };
        self.world.trace.push_str(verdict);
        Ok(())
    }
}

fn run(name: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts").join(name);
    let script = &mut Script { world: World::new(&[1], 1), kept: Vec::new() };
    goldenscript::run(script, path).unwrap();
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
    one_proposer_goes_on,
    duelling_proposers,
    a_lost_accept,
    a_read_finishes_a_half_written_value,
    an_acceptor_restarts,
    a_key_is_forgotten,
    a_replica_is_replaced,
    a_replica_comes_back,
    once_or_nobody_knows,
}
