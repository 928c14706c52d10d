//! The nodes of a cluster and which slots they have.
//!
//! Each node has a [`Link`] of its own. Where a slot is we know from `CLUSTER SLOTS`, asked again when a node says that a
//! slot has moved or cannot be reached, at most once a second. Not the crate's own client for clusters: it repeats calls
//! whose answer was lost, which would queue jobs twice without a word, and hides its dials from our time limits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use redis::Value;
use tidemark_model::Clock;
use tokio::time::timeout;

use super::{
    address::Endpoint,
    command::Command,
    dial::{Dialler, Login},
    link::{Failure, Link, Place},
    slot::SLOTS,
    trouble::{Redirect, meaning_of, redirect_of},
};
use crate::BrokerError;

/// How often the map is asked for at most.
const REFRESH_EVERY: Duration = Duration::from_secs(1);
/// How long a call waits for the map.
const REFRESH_WAIT: Duration = Duration::from_millis(900);
/// How often one call is sent elsewhere.
const REDIRECTS_MAX: usize = 5;

pub(super) struct Cluster {
    seeds: Vec<Endpoint>,
    login: Login,
    dialler: Arc<Dialler>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    refreshing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    links: HashMap<Endpoint, Arc<Link>>,
    /// First slot of a range to its last slot and the node that has it.
    ranges: BTreeMap<u16, (u16, Endpoint)>,
    /// Slots of which we heard that they have moved since the map was read.
    moved: HashMap<u16, Endpoint>,
    is_stale: bool,
    not_before: Duration,
    /// Grows with each map.
    version: u64,
}

impl Cluster {
    pub(super) fn new(seeds: Vec<Endpoint>, login: Login, dialler: Arc<Dialler>, clock: Arc<dyn Clock>) -> Self {
        let state = Mutex::new(State { is_stale: true, ..State::default() });
        Self { seeds, login, dialler, clock, state, refreshing: tokio::sync::Mutex::default() }
    }

    /// Runs a command on the node that has its keys, following it when they have moved; on `replicas` also.
    pub(super) async fn run(&self, command: &impl Command, replicas: u32) -> Result<(Value, u32), BrokerError> {
        let slot = command.slot().unwrap_or(0);
        let mut redirect = None;
        for _ in 0..REDIRECTS_MAX {
            let asking = matches!(redirect, Some(Redirect::Ask(_)));
            let link = match redirect.take() {
                Some(Redirect::Ask(endpoint) | Redirect::Moved(endpoint)) => self.link_at(&endpoint),
                None => self.link_of(slot).await?,
            };
            let (failure, endpoint) = if replicas == 0 {
                let lent = link.connection().await.inspect_err(|_| self.mark_stale())?;
                match link.run(&lent, command, asking).await {
                    Ok(answer) => return Ok((answer, 0)),
                    Err(error) => (error, lent.connection.endpoint),
                }
            } else {
                match link.run_replicated(command, asking, replicas).await {
                    Ok(answer) => return Ok(answer),
                    Err(Failure::Before(error)) => {
                        self.mark_stale();
                        return Err(error);
                    }
                    Err(Failure::Redis { error, endpoint }) => (error, endpoint),
                }
            };
            redirect = redirect_of(&failure, &endpoint);
            match &redirect {
                Some(Redirect::Moved(place)) => self.note_moved(slot, place),
                Some(Redirect::Ask(_)) => {}
                None => {
                    self.mark_stale();
                    return Err(meaning_of(&failure, &endpoint));
                }
            }
        }
        Err(BrokerError::Unavailable(format!("the nodes of the cluster disagree about slot {slot}; trying again")))
    }

    /// Waits for a token in a list.
    pub(super) async fn wait_for_signal(
        &self,
        slot: u16,
        signals: &[String],
        wait: Duration,
    ) -> Result<(), BrokerError> {
        let link = self.link_of(slot).await?;
        match link.wait_for_signal(signals, wait).await {
            Ok(()) => Ok(()),
            Err(Failure::Before(error)) => {
                self.mark_stale();
                Err(error)
            }
            Err(Failure::Redis { error, endpoint }) => match redirect_of(&error, &endpoint) {
                Some(Redirect::Moved(place)) => {
                    self.note_moved(slot, &place);
                    Ok(())
                }
                _ => {
                    self.mark_stale();
                    Err(meaning_of(&error, &endpoint))
                }
            },
        }
    }

    /// The nodes that have slots.
    pub(super) async fn masters(&self) -> Result<Vec<Arc<Link>>, BrokerError> {
        self.refresh_when_stale().await?;
        let endpoints: std::collections::BTreeSet<Endpoint> =
            self.state.lock().ranges.values().map(|(_, endpoint)| endpoint.clone()).collect();
        Ok(endpoints.iter().map(|endpoint| self.link_at(endpoint)).collect())
    }

    pub(super) fn close(&self) {
        self.state.lock().links.values().for_each(|link| link.close());
    }

    async fn link_of(&self, slot: u16) -> Result<Arc<Link>, BrokerError> {
        self.refresh_when_stale().await?;
        let endpoint = self.state.lock().owner(slot).cloned();
        match endpoint {
            Some(endpoint) => Ok(self.link_at(&endpoint)),
            None => {
                self.mark_stale();
                Err(BrokerError::Unavailable(format!("no node of the redis cluster has slot {slot}")))
            }
        }
    }

    fn link_at(&self, endpoint: &Endpoint) -> Arc<Link> {
        let mut state = self.state.lock();
        let link = state.links.entry(endpoint.clone()).or_insert_with(|| {
            let place = Place::Fixed(endpoint.clone());
            Arc::new(Link::new(place, self.login.clone(), Arc::clone(&self.dialler), Arc::clone(&self.clock)))
        });
        Arc::clone(link)
    }

    fn note_moved(&self, slot: u16, to: &Endpoint) {
        let mut state = self.state.lock();
        state.moved.insert(slot, to.clone());
        state.is_stale = true;
    }

    fn mark_stale(&self) {
        self.state.lock().is_stale = true;
    }

    /// Reads the map again if there is reason to, unless that was done within the last second. Fails only when there is
    /// no map at all.
    async fn refresh_when_stale(&self) -> Result<(), BrokerError> {
        let version = {
            let state = self.state.lock();
            let is_due = state.is_stale && self.clock.monotonic() >= state.not_before;
            if !is_due && !state.ranges.is_empty() {
                return Ok(());
            }
            state.version
        };
        let outcome = timeout(REFRESH_WAIT, self.refresh(version)).await;
        if !self.state.lock().ranges.is_empty() {
            return Ok(());
        }
        match outcome {
            Ok(outcome) => outcome,
            Err(_) => Err(BrokerError::Unavailable("no node of the redis cluster answers so far".to_owned())),
        }
    }

    async fn refresh(&self, version: u64) -> Result<(), BrokerError> {
        let _one_asks = self.refreshing.lock().await;
        if self.state.lock().version != version {
            return Ok(());
        }
        let mut last = BrokerError::Unavailable("the address names no node of a redis cluster".to_owned());
        for endpoint in self.candidates() {
            match self.map_of(&endpoint).await {
                Ok(ranges) => {
                    self.take_map(ranges);
                    return Ok(());
                }
                Err(error) => last = error,
            }
        }
        let mut state = self.state.lock();
        state.not_before = self.clock.monotonic() + REFRESH_EVERY;
        Err(last)
    }

    /// Whom to ask for the map: nodes that are connected first.
    fn candidates(&self) -> Vec<Endpoint> {
        let state = self.state.lock();
        let mut known: Vec<(bool, &Endpoint)> =
            state.links.iter().map(|(endpoint, link)| (!link.is_up(), endpoint)).collect();
        known.sort();
        let mut candidates: Vec<Endpoint> = known.into_iter().map(|(_, endpoint)| endpoint.clone()).collect();
        let more: Vec<&Endpoint> = self.seeds.iter().filter(|seed| !candidates.contains(seed)).collect();
        candidates.extend(more.into_iter().cloned().collect::<Vec<_>>());
        candidates
    }

    async fn map_of(&self, endpoint: &Endpoint) -> Result<BTreeMap<u16, (u16, Endpoint)>, BrokerError> {
        let link = self.link_at(endpoint);
        let lent = link.connection().await?;
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let answer = link.run(&lent, &&command, false).await.map_err(|error| {
            if error.detail().is_some_and(|detail| detail.contains("cluster support disabled")) {
                let text = format!("redis at {endpoint} is no node of a cluster: name it with `redis://`");
                return BrokerError::Unavailable(text);
            }
            meaning_of(&error, endpoint)
        })?;
        let ranges = read_slots(answer, endpoint);
        if ranges.is_empty() {
            return Err(BrokerError::Unavailable(format!("redis at {endpoint} belongs to a cluster without slots")));
        }
        Ok(ranges)
    }

    fn take_map(&self, ranges: BTreeMap<u16, (u16, Endpoint)>) {
        let mut state = self.state.lock();
        let in_use = |endpoint: &Endpoint| ranges.values().any(|(_, owner)| owner == endpoint);
        state.links.retain(|endpoint, _| in_use(endpoint) || self.seeds.contains(endpoint));
        state.ranges = ranges;
        state.moved.clear();
        state.is_stale = false;
        state.not_before = self.clock.monotonic() + REFRESH_EVERY;
        state.version += 1;
    }
}

impl State {
    fn owner(&self, slot: u16) -> Option<&Endpoint> {
        self.moved.get(&slot).or_else(|| {
            let (_, (last, endpoint)) = self.ranges.range(..=slot).next_back()?;
            (slot <= *last).then_some(endpoint)
        })
    }
}

/// Reads the answer to `CLUSTER SLOTS`: for each range its first and last slot, then its master and its replicas, each as
/// host, port and more. A host that is missing is the one that was asked.
fn read_slots(answer: Value, asked: &Endpoint) -> BTreeMap<u16, (u16, Endpoint)> {
    let read = |range: Value| -> Option<(u16, (u16, Endpoint))> {
        let Value::Array(range) = range else { return None };
        let mut range = range.into_iter();
        let first: u16 = redis::from_redis_value(range.next()?).ok()?;
        let last: u16 = redis::from_redis_value(range.next()?).ok()?;
        let Value::Array(master) = range.next()? else { return None };
        let mut master = master.into_iter();
        let host: Option<String> = redis::from_redis_value(master.next()?).ok()?;
        let port: u16 = redis::from_redis_value(master.next()?).ok()?;
        let host = match (host.filter(|host| !host.is_empty() && host != "?"), asked) {
            (Some(host), _) => host,
            (None, Endpoint::Tcp { host, .. }) => host.clone(),
            (None, Endpoint::Unix(_)) => return None,
        };
        (first <= last && last < SLOTS).then_some((first, (last, Endpoint::Tcp { host, port })))
    };
    let Value::Array(ranges) = answer else { return BTreeMap::new() };
    ranges.into_iter().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_is_read_and_slots_that_moved_are_remembered() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let node = |host: Value, port| Value::Array(vec![host, Value::Int(port), text("id"), Value::Array(Vec::new())]);
        let range = |first, last, node| Value::Array(vec![Value::Int(first), Value::Int(last), node]);
        let asked = Endpoint::Tcp { host: "seed".to_owned(), port: 1 };
        let answer = Value::Array(vec![
            range(0, 99, node(text("a"), 7_000)),
            range(100, 199, node(Value::Nil, 7_001)),
            range(300, 99_999, node(text("b"), 7_002)),
            Value::Int(5),
        ]);
        let ranges = read_slots(answer, &asked);
        let mut state = State { ranges, ..State::default() };
        let at = |host: &str, port| Endpoint::Tcp { host: host.to_owned(), port };
        assert_eq!(state.owner(99), Some(&at("a", 7_000)));
        assert_eq!(state.owner(100), Some(&at("seed", 7_001)));
        assert_eq!(state.owner(200), None);
        state.moved.insert(99, at("b", 1));
        assert_eq!(state.owner(99), Some(&at("b", 1)));
        assert!(read_slots(Value::Nil, &asked).is_empty());
    }
}
