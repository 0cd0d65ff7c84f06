//! Replicas as a flow of least cost.
//!
//! ```text
//!            R            quota            1              share
//!   (source) ──► shard ─────────► shard's ───────► node ─────────► sink
//!                                 part in a zone
//! ```
//!
//! One unit for each replica. Each arc has a least and a most; the one from a shard's zone to a node costs 1 if the node
//! does not hold the shard yet, and nothing else costs anything. A flow within all bounds is a placement, and its cost is
//! the number of copies.
//!
//! The start is what is held: each held replica flows, and the other arcs carry what their bounds allow of it. Where in- and
//! outflow of a vertex differ, it has an *excess*, positive or negative. All that flows is free, so the start is the cheapest of its
//! kind; from there each excess is sent to the nearest lack along the cheapest path of the residual graph, which
//! keeps it the cheapest (successive shortest paths with potentials, for example in Ahuja, Magnanti and Orlin, *Network
//! Flows*, section 9.7). Costs are 0 and 1, so the queue is a row of buckets. When no excess is left, all bounds are kept.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};

use super::shares::Share;
use crate::hash;
use crate::node::ShardId;
use crate::spread::{Members, Quota};

/// What is to be solved. The bounds must leave room for a placement, as those of [`super::shares`] do.
#[derive(Clone, Debug)]
pub struct Problem<'a> {
    /// The shards; what follows says "shard" for a place in here.
    pub ids: Vec<ShardId>,
    /// The nodes that may hold replicas; "node" and "zone" mean places in here.
    pub members: &'a Members,
    /// For each zone what it may hold of a shard.
    pub quotas: Vec<Quota>,
    /// For each node what it may hold in all.
    pub shares: Vec<Share>,
    /// Replicas of each shard.
    pub replicas: usize,
    /// For each shard the nodes that hold it now, without duplicates.
    pub held: Vec<Vec<usize>>,
}

/// For each shard the nodes that should hold it: of all placements within the bounds one with the fewest that do not hold
/// their shard yet.
///
/// # Panics
///
/// If the bounds leave room for no placement.
#[must_use]
pub fn solve(problem: &Problem<'_>) -> Vec<Vec<usize>> {
    let mut flow = Flow::start(problem);
    for source in 0..flow.excess.len() {
        while flow.excess[source] > 0 {
            let target =
                flow.search(source).expect("the bounds leave room for a placement, so what is over has a place");
            flow.send(source, target);
        }
    }
    flow.placed
}

/// A vertex of the graph, numbered for the tables of the search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Vertex {
    Node(usize),
    Sink,
    Shard(usize),
    /// A shard's part in a zone.
    Part(usize, usize),
}

/// The present flow, and the tables of the search.
struct Flow<'a> {
    problem: &'a Problem<'a>,
    zones: usize,
    /// Shard's zone to node: which carry their unit, seen from the shard and from the node.
    placed: Vec<Vec<usize>>,
    on_node: Vec<BTreeSet<usize>>,
    /// Shard to its part in a zone: `shard * zones + zone`.
    in_zone: Vec<usize>,
    /// Node to sink.
    of_node: Vec<usize>,
    /// By number of the vertex: inflow less outflow.
    excess: Vec<i64>,
    /// By number of the vertex: the potential, against which every residual arc's cost is at least 0.
    potential: Vec<i64>,
    search: Search,
}

/// What a search has found so far; vertices of other searches have another `round`.
struct Search {
    round: u32,
    rounds: Vec<u32>,
    distance: Vec<i64>,
    parent: Vec<usize>,
    seen: Vec<usize>,
    buckets: Vec<VecDeque<usize>>,
    /// A lack that was reached and than which nothing is nearer.
    found: Option<usize>,
}

impl Search {
    fn new(vertices: usize) -> Self {
        Self {
            round: 0,
            rounds: vec![0; vertices],
            distance: vec![0; vertices],
            parent: vec![0; vertices],
            seen: Vec::new(),
            buckets: Vec::new(),
            found: None,
        }
    }

    fn begin(&mut self, source: usize) {
        self.round += 1;
        self.seen.clear();
        self.found = None;
        self.buckets.iter_mut().for_each(VecDeque::clear);
        self.reach(source, source, 0);
    }

    /// Notes a way to a vertex if it is shorter than those known.
    fn reach(&mut self, vertex: usize, parent: usize, distance: i64) {
        if self.rounds[vertex] != self.round {
            self.rounds[vertex] = self.round;
            self.seen.push(vertex);
        } else if self.distance[vertex] <= distance {
            return;
        }
        self.distance[vertex] = distance;
        self.parent[vertex] = parent;
        let bucket = usize::try_from(distance).expect("costs against potentials are not negative");
        if self.buckets.len() <= bucket {
            self.buckets.resize_with(bucket + 1, VecDeque::new);
        }
        self.buckets[bucket].push_back(vertex);
    }
}

impl<'a> Flow<'a> {
    fn start(problem: &'a Problem<'a>) -> Self {
        let (shards, nodes, zones) = (problem.ids.len(), problem.members.nodes().len(), problem.quotas.len());
        let vertices = nodes + 1 + shards + shards * zones;
        let mut flow = Self {
            problem,
            zones,
            placed: problem.held.clone(),
            on_node: vec![BTreeSet::new(); nodes],
            in_zone: vec![0; shards * zones],
            of_node: vec![0; nodes],
            excess: vec![0; vertices],
            potential: vec![0; vertices],
            search: Search::new(vertices),
        };
        for (shard, held) in problem.held.iter().enumerate() {
            for node in held {
                flow.on_node[*node].insert(shard);
                flow.in_zone[shard * zones + problem.members.zone_of(*node)] += 1;
            }
        }
        flow.press_into_bounds();
        flow
    }

    /// Lets every arc carry what its bounds allow of what is held, and notes what each vertex is left with.
    fn press_into_bounds(&mut self) {
        let total = self.problem.ids.len() * self.problem.replicas;
        let mut into_sink = 0;
        for (node, share) in self.problem.shares.iter().enumerate() {
            let held = self.on_node[node].len();
            self.of_node[node] = held.clamp(share.least, share.most);
            into_sink += self.of_node[node];
            self.excess[node] = difference(held, self.of_node[node]);
        }
        let sink = self.number(Vertex::Sink);
        self.excess[sink] = difference(into_sink, total);
        for shard in 0..self.problem.ids.len() {
            let mut out = 0;
            for (zone, quota) in self.problem.quotas.iter().enumerate() {
                let held = self.in_zone[shard * self.zones + zone];
                let carried = held.clamp(quota.least, quota.most);
                self.in_zone[shard * self.zones + zone] = carried;
                out += carried;
                let part = self.number(Vertex::Part(shard, zone));
                self.excess[part] = difference(carried, held);
            }
            let vertex = self.number(Vertex::Shard(shard));
            self.excess[vertex] = difference(self.problem.replicas, out);
        }
    }

    fn number(&self, vertex: Vertex) -> usize {
        let (nodes, shards) = (self.on_node.len(), self.placed.len());
        match vertex {
            Vertex::Node(node) => node,
            Vertex::Sink => nodes,
            Vertex::Shard(shard) => nodes + 1 + shard,
            Vertex::Part(shard, zone) => nodes + 1 + shards + shard * self.zones + zone,
        }
    }

    fn vertex(&self, number: usize) -> Vertex {
        let (nodes, shards) = (self.on_node.len(), self.placed.len());
        if number < nodes {
            Vertex::Node(number)
        } else if number == nodes {
            Vertex::Sink
        } else if number <= nodes + shards {
            Vertex::Shard(number - nodes - 1)
        } else {
            let part = number - nodes - 1 - shards;
            Vertex::Part(part / self.zones, part % self.zones)
        }
    }

    /// What a replica of a shard on a node costs.
    fn cost(&self, shard: usize, node: usize) -> i64 {
        i64::from(!self.problem.held[shard].contains(&node))
    }

    /// The cheapest way from a vertex to the nearest one that lacks something, which is returned; the way stays in the tables.
    /// Potentials are raised so that its arcs cost nothing against them. `None` if there is no way.
    fn search(&mut self, source: usize) -> Option<usize> {
        self.search.begin(source);
        let mut bucket = 0;
        while bucket < self.search.buckets.len() {
            let Some(number) = self.search.buckets[bucket].pop_front() else {
                bucket += 1;
                continue;
            };
            let distance = bucket as i64;
            if self.search.distance[number] != distance {
                continue;
            }
            if self.excess[number] < 0 {
                self.raise_potentials(distance);
                return Some(number);
            }
            self.relax(number);
            if let Some(found) = self.search.found {
                self.raise_potentials(distance);
                return Some(found);
            }
        }
        None
    }

    fn raise_potentials(&mut self, distance: i64) {
        for number in &self.search.seen {
            self.potential[*number] += self.search.distance[*number].min(distance) - distance;
        }
    }

    /// Looks along every residual arc of a vertex.
    fn relax(&mut self, number: usize) {
        match self.vertex(number) {
            Vertex::Node(node) => self.relax_node(number, node),
            Vertex::Sink => {
                for node in 0..self.on_node.len() {
                    if self.of_node[node] > self.problem.shares[node].least {
                        self.reach(number, Vertex::Node(node), 0);
                    }
                }
            }
            Vertex::Shard(shard) => {
                for zone in self.zones_for(shard) {
                    if self.in_zone[shard * self.zones + zone] < self.problem.quotas[zone].most {
                        self.reach(number, Vertex::Part(shard, zone), 0);
                    }
                }
            }
            Vertex::Part(shard, zone) => self.relax_part(number, shard, zone),
        }
    }

    fn relax_node(&mut self, number: usize, node: usize) {
        if self.of_node[node] < self.problem.shares[node].most {
            self.reach(number, Vertex::Sink, 0);
        }
        let zone = self.problem.members.zone_of(node);
        let shards = std::mem::take(&mut self.on_node[node]);
        for shard in &shards {
            self.reach(number, Vertex::Part(*shard, zone), -self.cost(*shard, node));
        }
        self.on_node[node] = shards;
    }

    /// To the zone's other nodes, and back to the shard.
    fn relax_part(&mut self, number: usize, shard: usize, zone: usize) {
        if self.in_zone[shard * self.zones + zone] > self.problem.quotas[zone].least {
            self.reach(number, Vertex::Shard(shard), 0);
        }
        for node in self.nodes_for(shard, zone) {
            if !self.placed[shard].contains(&node) {
                self.reach(number, Vertex::Node(node), self.cost(shard, node));
            }
        }
    }

    /// The zones in the order in which a shard looks at them. Where a replica is to be placed that is the rendezvous' order,
    /// by the highest draw, so that shards do not all choose the same neighbours; elsewhere any order will do.
    fn zones_for(&self, shard: usize) -> Vec<usize> {
        let mut zones: Vec<usize> = (0..self.zones).collect();
        if self.is_short(Vertex::Shard(shard)) {
            let highest =
                |zone: &usize| self.problem.members.zones()[*zone].iter().map(|node| self.draw(shard, *node)).max();
            zones.sort_by_cached_key(|zone| Reverse(highest(zone)));
        }
        zones
    }

    /// The nodes of a zone in the order in which a shard looks at them, by the same rule.
    fn nodes_for(&self, shard: usize, zone: usize) -> Vec<usize> {
        let mut nodes = self.problem.members.zones()[zone].clone();
        if self.is_short(Vertex::Part(shard, zone)) || self.is_short(Vertex::Shard(shard)) {
            nodes.sort_by_cached_key(|node| Reverse(self.draw(shard, *node)));
        }
        nodes
    }

    /// Whether fewer replicas are placed below this vertex than should be, so that a search may begin with it.
    fn is_short(&self, vertex: Vertex) -> bool {
        self.excess[self.number(vertex)] > 0
    }

    fn draw(&self, shard: usize, node: usize) -> u64 {
        hash::draw(self.problem.ids[shard], self.problem.members.nodes()[node].id)
    }

    /// Goes along an arc. One that ends at a lack and costs nothing against the potentials ends the search: whatever else is
    /// still queued is not nearer.
    fn reach(&mut self, from: usize, to: Vertex, cost: i64) {
        let to = self.number(to);
        let reduced = cost + self.potential[from] - self.potential[to];
        let distance = self.search.distance[from] + reduced;
        self.search.reach(to, from, distance);
        if reduced == 0 && self.excess[to] < 0 {
            self.search.found = self.search.found.or(Some(to));
        }
    }

    /// Sends one unit along the way that the last search found.
    fn send(&mut self, source: usize, target: usize) {
        self.excess[source] -= 1;
        self.excess[target] += 1;
        let mut to = target;
        while to != source {
            let from = self.search.parent[to];
            self.shift(self.vertex(from), self.vertex(to));
            to = from;
        }
    }

    fn shift(&mut self, from: Vertex, to: Vertex) {
        match (from, to) {
            (Vertex::Node(node), Vertex::Sink) => self.of_node[node] += 1,
            (Vertex::Sink, Vertex::Node(node)) => self.of_node[node] -= 1,
            (Vertex::Shard(shard), Vertex::Part(_, zone)) => self.in_zone[shard * self.zones + zone] += 1,
            (Vertex::Part(_, zone), Vertex::Shard(shard)) => self.in_zone[shard * self.zones + zone] -= 1,
            (Vertex::Part(shard, _), Vertex::Node(node)) => {
                self.placed[shard].push(node);
                self.on_node[node].insert(shard);
            }
            (Vertex::Node(node), Vertex::Part(shard, _)) => {
                self.placed[shard].retain(|other| *other != node);
                self.on_node[node].remove(&shard);
            }
            (Vertex::Node(_) | Vertex::Sink | Vertex::Shard(_) | Vertex::Part(..), _) => {
                unreachable!("the graph has no arc from {from:?} to {to:?}")
            }
        }
    }
}

fn difference(inflow: usize, outflow: usize) -> i64 {
    inflow as i64 - outflow as i64
}

#[cfg(test)]
mod tests {
    use althing_types::NodeId;
    use proptest::prelude::*;

    use super::super::shares;
    use super::*;
    use crate::node::Node;
    use crate::spread::quotas;

    fn problem<'a>(members: &'a Members, replicas: usize, held: &[Vec<usize>]) -> Problem<'a> {
        let sizes: Vec<usize> = members.zones().iter().map(Vec::len).collect();
        let replicas = replicas.min(members.nodes().len());
        let quotas = quotas(&sizes, replicas);
        Problem {
            ids: (0..held.len() as u64).map(ShardId).collect(),
            shares: shares::shares(members, &quotas, held.len(), replicas),
            members,
            quotas,
            replicas,
            held: held.to_vec(),
        }
    }

    fn members(nodes: &[(u32, u32)]) -> Members {
        let node = |(id, (zone, capacity)): (u64, &(u32, u32))| {
            Node::new(NodeId(id), &zone.to_string()).with_capacity(*capacity)
        };
        Members::new((1..).zip(nodes).map(node))
    }

    /// Every placement of one shard that keeps the quotas, as sets of bits.
    fn choices(problem: &Problem<'_>) -> Vec<u32> {
        let nodes = problem.members.nodes().len();
        let keeps = |set: &u32| {
            problem.quotas.iter().enumerate().all(|(zone, quota)| {
                let held = problem.members.zones()[zone].iter().filter(|node| set >> **node & 1 == 1).count();
                (quota.least..=quota.most).contains(&held)
            })
        };
        (0..1_u32 << nodes).filter(|set| set.count_ones() as usize == problem.replicas && keeps(set)).collect()
    }

    /// The fewest copies of all placements, by trying them all.
    fn fewest(problem: &Problem<'_>, choices: &[u32], shard: usize, loads: &mut [usize]) -> Option<u32> {
        if shard == problem.held.len() {
            let fits = |(load, share): (&usize, &Share)| (share.least..=share.most).contains(load);
            return loads.iter().zip(&problem.shares).all(fits).then_some(0);
        }
        let held = problem.held[shard].iter().fold(0_u32, |set, node| set | 1 << node);
        let mut best: Option<u32> = None;
        for set in choices {
            let change = |loads: &mut [usize], amount: isize| {
                for node in (0..loads.len()).filter(|node| set >> node & 1 == 1) {
                    loads[node] = loads[node].wrapping_add_signed(amount);
                }
            };
            change(loads, 1);
            if loads.iter().zip(&problem.shares).all(|(load, share)| *load <= share.most)
                && let Some(rest) = fewest(problem, choices, shard + 1, loads)
            {
                let copies = rest + (set & !held).count_ones();
                best = Some(best.map_or(copies, |best| best.min(copies)));
            }
            change(loads, -1);
        }
        best
    }

    fn check(problem: &Problem<'_>) -> u32 {
        let placed = solve(problem);
        let choices = choices(problem);
        let mut loads = vec![0; problem.members.nodes().len()];
        let mut copies = 0;
        for (nodes, held) in placed.iter().zip(&problem.held) {
            let set = nodes.iter().fold(0_u32, |set, node| set | 1 << node);
            assert!(choices.contains(&set), "{nodes:?} breaks the quotas");
            nodes.iter().for_each(|node| loads[*node] += 1);
            copies += nodes.iter().filter(|node| !held.contains(node)).count() as u32;
        }
        for (load, share) in loads.iter().zip(&problem.shares) {
            assert!((share.least..=share.most).contains(load), "{load} is not within {share:?}");
        }
        copies
    }

    #[test]
    fn what_is_balanced_stays() {
        let members = members(&[(0, 100), (0, 100), (0, 100)]);
        let held = [vec![0, 1], vec![1, 2], vec![2, 0]];
        assert_eq!(solve(&problem(&members, 2, &held)), held);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(400))]
        #[test]
        fn no_placement_within_the_bounds_needs_fewer_copies(
            nodes in prop::collection::vec((0_u32..3, prop_oneof![3 => Just(100_u32), 1 => 50_u32..300]), 1..6),
            replicas in 1_usize..4,
            held in prop::collection::vec(prop::collection::btree_set(0_usize..5, 0..4), 0..5),
        ) {
            let members = members(&nodes);
            let held: Vec<Vec<usize>> =
                held.into_iter().map(|held| held.into_iter().filter(|node| *node < nodes.len()).collect()).collect();
            let problem = problem(&members, replicas, &held);
            let copies = check(&problem);
            let fewest = fewest(&problem, &choices(&problem), 0, &mut vec![0; nodes.len()]);
            prop_assert_eq!(Some(copies), fewest);
        }

        #[test]
        fn larger_problems_keep_their_bounds(
            nodes in prop::collection::vec((0_u32..5, 1_u32..300), 1..14),
            replicas in 1_usize..6,
            held in prop::collection::vec(prop::collection::btree_set(0_usize..14, 0..6), 0..60),
        ) {
            let members = members(&nodes);
            let held: Vec<Vec<usize>> =
                held.into_iter().map(|held| held.into_iter().filter(|node| *node < nodes.len()).collect()).collect();
            check(&problem(&members, replicas, &held));
        }
    }
}
