//! One request of each kind.

use std::cell::OnceCell;
use std::rc::Rc;

use althing_etcd_proto::etcdserverpb as pb;
use bytes::Bytes;
use tonic::Status;

use crate::options::{Options, Workload};
use crate::wire::{Connection, Rpc, frame};

/// Transactions that an open loop makes once and sends again and again: to make a great one takes a tenth of a millisecond, which the server that
/// shares the machine would miss.
const PREPARED: usize = 64;

/// One client: its connection, its keys, its part of the workload. Clones share all but the state of chance.
#[derive(Clone)]
pub struct Client {
    connection: Connection,
    rng: fastrand::Rng,
    workload: Workload,
    keys: u64,
    options: Rc<Options>,
    value: Bytes,
    /// An open loop's transactions, as they are sent.
    prepared: Rc<OnceCell<Vec<Bytes>>>,
}

impl Client {
    /// The client with a number, on a connection.
    #[must_use]
    pub fn new(options: &Options, connection: Connection, number: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(options.seed.wrapping_add(number));
        let value: Vec<u8> = (0..options.value_bytes).map(|_| rng.alphanumeric() as u8).collect();
        Self {
            connection,
            rng,
            workload: options.workload,
            keys: options.keys,
            options: Rc::new(options.clone()),
            value: value.into(),
            prepared: Rc::default(),
        }
    }

    /// A client with chance of its own, on a connection.
    #[must_use]
    pub fn fork(&mut self, connection: Connection) -> Self {
        Self { connection, rng: self.rng.fork(), ..self.clone() }
    }

    /// A key of the run, at random.
    pub fn random_key(&mut self) -> Bytes {
        let number = self.rng.u64(0..self.keys);
        self.options.key(number).into()
    }

    /// A number from 0 up to 1, at random.
    pub fn chance(&mut self) -> f64 {
        self.rng.f64()
    }

    /// Sends one request and waits for its answer.
    pub async fn step(&mut self) -> Result<(), Status> {
        match self.workload {
            Workload::Put | Workload::Watch => self.put().await,
            Workload::Get => self.get(false).await,
            Workload::GetSerializable => self.get(true).await,
            Workload::Mixed if self.rng.u8(0..10) == 0 => self.put().await,
            Workload::Mixed => self.get(false).await,
            Workload::Txn => self.txn().await,
        }
    }

    async fn put(&mut self) -> Result<(), Status> {
        let (key, value) = (self.random_key(), self.value.clone());
        self.put_value(key, value).await
    }

    async fn get(&mut self, serializable: bool) -> Result<(), Status> {
        let key = self.random_key();
        let range = pb::RangeRequest { key, serializable, ..pb::RangeRequest::default() };
        self.connection.call::<pb::RangeResponse>(Rpc::Range, &range).await.map(drop)
    }

    /// If the first key exists, put it and those after it; else put them, too: every transaction writes, whatever was there.
    async fn txn(&mut self) -> Result<(), Status> {
        let Self { prepared, options, rng, value, .. } = self;
        let txn = if options.rate.is_some() {
            let at = rng.usize(0..PREPARED);
            let make = |rng: &mut fastrand::Rng| frame(&transaction(options, rng, value));
            prepared.get_or_init(|| (0..PREPARED).map(|_| make(rng)).collect())[at].clone()
        } else {
            frame(&transaction(options, rng, value))
        };
        self.connection.call_framed::<pb::TxnResponse>(Rpc::Txn, txn).await.map(drop)
    }

    /// Puts a key with a value that the caller made.
    pub async fn put_value(&mut self, key: Bytes, value: Bytes) -> Result<(), Status> {
        let put = pb::PutRequest { key, value, ..pb::PutRequest::default() };
        self.connection.call::<pb::PutResponse>(Rpc::Put, &put).await.map(drop)
    }
}

/// A transaction with as many puts as are asked for.
fn transaction(options: &Options, rng: &mut fastrand::Rng, value: &Bytes) -> pb::TxnRequest {
    let first = rng.u64(0..options.keys);
    let count = u64::from(options.txn_puts).min(options.keys);
    let key = |number: u64| Bytes::from(options.key(number % options.keys));
    let put = |number| {
        let put = pb::PutRequest { key: key(number), value: value.clone(), ..pb::PutRequest::default() };
        pb::RequestOp { request: Some(pb::request_op::Request::RequestPut(put)) }
    };
    let puts: Vec<_> = (first..first + count).map(put).collect();
    let compare = pb::Compare {
        result: pb::compare::CompareResult::Greater as i32,
        target: pb::compare::CompareTarget::Version as i32,
        key: key(first),
        target_union: Some(pb::compare::TargetUnion::Version(0)),
        ..pb::Compare::default()
    };
    pb::TxnRequest { compare: vec![compare], success: puts.clone(), failure: puts }
}
