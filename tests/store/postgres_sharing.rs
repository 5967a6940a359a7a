//! What nodes share: owners of destinations, circuits and their probes.

use std::sync::Arc;
use std::time::Duration;

use postrider::domain::clock::Clock as _;
use postrider::domain::id::{DestinationId, NodeId};
use postrider::domain::source_limiter::{SourceUsage, UsageOfOthers, day_of};
use postrider::store::{
    CircuitChanges, Claim, ClaimRequest, ClaimWant, ConnectionChange, ConnectionState, NewEvent,
    RefreshTurn, SharedCircuit, Store, Takeover,
};

use super::StoreFactory as _;
use super::postgres::PostgresFactory;
use super::world::{LEASE, Target, World};

const SECOND: Duration = Duration::from_secs(1);

/// A world with a second node on its database.
struct Two {
    world: World,
    other: Arc<dyn Store>,
    other_node: NodeId,
}

impl Two {
    async fn new() -> Self {
        let factory = PostgresFactory::new();
        let world = World::new(factory.clone()).await;
        let other = factory.open(Arc::clone(&world.clock)).await;
        let other_node = other.register_node("two", world.moment()).await.expect("a node");
        Self { world, other, other_node }
    }

    fn takeover(&self, seen: Option<(i64, i64)>) -> Vec<Takeover> {
        let destination_id = self.world.c.destination_id;
        vec![Takeover { destination_id, seen, attempt: 5 * SECOND }]
    }

    async fn owner(&self) -> Option<NodeId> {
        let owners = self.other.shared_state().await.expect("the state").owners;
        owners.first().and_then(|it| it.node_id)
    }

    async fn renewed(&self, store: &dyn Store, node_id: NodeId) -> Vec<DestinationId> {
        let owned = vec![(self.world.c.destination_id, 5 * SECOND)];
        store.renew_owners(node_id, owned).await.expect("renewed")
    }

    async fn claim(&self, store: &dyn Store, node_id: NodeId, want: ClaimWant) -> Claim {
        let now = self.world.clock.moment();
        store.claim_due(ClaimRequest { node_id, now, wants: vec![want] }).await.expect("a claim")
    }
}

#[tokio::test]
async fn the_owner_before_neither_renews_nor_leases() {
    let two = Two::new().await;
    let (world, first, second) = (&two.world, two.world.node, two.other_node);
    world.store.take_over(first, two.takeover(None)).await.expect("taken");
    two.other.take_over(second, two.takeover(None)).await.expect("not taken");
    assert_eq!(two.owner().await, Some(first), "one of two");
    assert_eq!(two.renewed(&*world.store, first).await, [world.c.destination_id]);
    two.other.take_over(second, two.takeover(Some((1, 0)))).await.expect("not taken");
    assert_eq!(two.owner().await, Some(first), "it has renewed since");
    two.other.take_over(second, two.takeover(Some((1, 1)))).await.expect("taken");
    assert_eq!(two.owner().await, Some(second));
    assert!(two.renewed(&*world.store, first).await.is_empty());
    world.accept_pending("m-1", world.c).await;
    let want = ClaimWant { as_owner: true, ..world.want(world.c, 10) };
    assert!(two.claim(&*world.store, first, want).await.deliveries.is_empty());
    assert_eq!(two.claim(&*two.other, second, want).await.deliveries.len(), 1);
    world.store.release_owners(first, vec![world.c.destination_id]).await.expect("ignored");
    assert_eq!(two.owner().await, Some(second));
    two.other.release_owners(second, vec![world.c.destination_id]).await.expect("released");
    assert_eq!(two.owner().await, None);
    two.other.close().await;
}

#[tokio::test]
async fn a_destination_is_not_taken_over_while_another_node_has_leases_of_it() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.accept_leased("m-1", world.c).await;
    two.other.take_over(two.other_node, two.takeover(None)).await.expect("not taken");
    assert_eq!(two.owner().await, None);
    world.deliver(id, 1).await;
    two.other.take_over(two.other_node, two.takeover(None)).await.expect("taken");
    assert_eq!(two.owner().await, Some(two.other_node));
    two.other.close().await;
}

#[tokio::test]
async fn a_node_that_has_ended_owns_nothing() {
    let two = Two::new().await;
    two.world.store.take_over(two.world.node, two.takeover(None)).await.expect("taken");
    let ended = two.world.node;
    // Registering again ends the node before.
    two.world.store.register_node("one", two.world.moment()).await.expect("a node");
    assert!(two.renewed(&*two.world.store, ended).await.is_empty());
    two.world.store.take_over(ended, two.takeover(Some((1, 0)))).await.expect("not taken");
    let state = two.other.shared_state().await.expect("the state");
    assert_eq!((state.owners[0].term, state.nodes), (1, 2));
    two.other.close().await;
}

#[tokio::test]
async fn one_probe_at_a_time_is_leased_whichever_nodes_claim() {
    let two = Two::new().await;
    let world = &two.world;
    let circuit = |target: Target| SharedCircuit {
        mapping_id: target.mapping_id,
        opened_at: world.service_now(),
        probe_at: world.service_now() + SECOND,
        interval: 4 * SECOND,
    };
    let open = CircuitChanges { open: vec![circuit(world.c)], closed: Vec::new() };
    world.store.put_circuits(open).await.expect("stored");
    assert_eq!(two.other.shared_state().await.expect("the state").circuits, [circuit(world.c)]);
    for number in 0..3 {
        world.accept_pending(&format!("m-{number}"), world.c).await;
    }
    let want = ClaimWant { is_probe: true, lease: LEASE, ..world.want(world.c, 1) };
    let claim = async |store: &dyn Store, node| two.claim(store, node, want).await;
    let early = claim(&*world.store, world.node).await;
    assert!(early.deliveries.is_empty(), "not before its time");
    assert!(early.next_due[0].1 > world.service_now(), "it is not asked for again at once");
    world.clock.advance(SECOND);
    let probe = claim(&*world.store, world.node).await.deliveries;
    assert_eq!(probe.len(), 1);
    world.clock.advance(5 * SECOND);
    assert!(claim(&*two.other, two.other_node).await.deliveries.is_empty(), "one is in flight");
    world.fail(probe[0].id, probe[0].token, SECOND).await;
    let next = claim(&*two.other, two.other_node).await.deliveries;
    assert_eq!(next.len(), 1, "it has ended");
    world.fail(next[0].id, next[0].token, SECOND).await;
    assert!(claim(&*world.store, world.node).await.deliveries.is_empty(), "after the interval");
    let closed = CircuitChanges { open: Vec::new(), closed: vec![world.c.mapping_id] };
    two.other.put_circuits(closed).await.expect("stored");
    assert!(world.store.shared_state().await.expect("the state").circuits.is_empty());
    two.other.close().await;
}

#[tokio::test]
async fn one_node_at_a_time_refreshes_a_token() {
    let two = Two::new().await;
    let (world, id) = (&two.world, two.world.c.destination_id);
    let turn =
        async |store: &dyn Store, number| store.begin_refresh(id, number).await.expect("told");
    assert_eq!(turn(&*world.store, 0).await, RefreshTurn::Mine);
    assert_eq!(turn(&*two.other, 0).await, RefreshTurn::Others);
    assert_eq!(turn(&*world.store, 0).await, RefreshTurn::Mine, "it tries again");
    let state = ConnectionState::Lost { fault: "revoked".to_owned() };
    let change = ConnectionChange { destination_id: id, expected_number: 0, state };
    world.store.change_connection(change, world.act()).await.expect("changed");
    assert_eq!(turn(&*two.other, 0).await, RefreshTurn::Replaced);
    assert_eq!(turn(&*two.other, 1).await, RefreshTurn::Mine);
    assert_eq!(turn(&*world.store, 1).await, RefreshTurn::Others);
    two.other.close().await;
    assert_eq!(turn(&*world.store, 1).await, RefreshTurn::Mine, "the other node has ended");
}

#[tokio::test]
async fn nodes_tell_each_other_what_they_admit_from_sources() {
    let two = Two::new().await;
    let world = &two.world;
    let day = day_of(world.now());
    let exchange = async |store: &dyn Store, node, admitted| {
        let admitted = vec![(world.web, admitted)];
        store.exchange_usage(node, admitted, day).await.expect("exchanged")
    };
    assert_eq!(exchange(&*world.store, world.node, 5).await, UsageOfOthers::default());
    let new = |id: &str| NewEvent {
        event: Arc::new(world.event(id)),
        deliveries: Vec::new(),
        skips: Vec::new(),
    };
    world.store.accept_counted(vec![new("m-1"), new("m-2")]).await.expect("accepted");
    let told = exchange(&*two.other, two.other_node, 3).await;
    let days = vec![SourceUsage { source_id: world.web, day, events: 2 }];
    assert_eq!(told, UsageOfOthers { admitted: vec![(world.web, 5)], days });
    let told = exchange(&*world.store, world.node, 6).await;
    let own = UsageOfOthers { admitted: vec![(world.web, 3)], days: Vec::new() };
    assert_eq!(told, own, "what this node accepted is not of the others");
    two.other.close().await;
}

#[tokio::test]
async fn a_lease_is_left_to_its_node_while_that_lives() {
    let two = Two::new().await;
    let world = &two.world;
    let id = world.accept_leased("m-1", world.c).await;
    world.clock.advance(LEASE + SECOND);
    let found = async |store: &dyn Store| {
        let found = store.expired_leases(world.service_now(), 10).await.expect("found");
        found.iter().map(|it| it.delivery_id).collect::<Vec<_>>()
    };
    assert_eq!(found(&*world.store).await, [id]);
    assert!(found(&*two.other).await.is_empty(), "it may have it in hand");
    world.clock.advance(600 * SECOND);
    assert_eq!(found(&*two.other).await, [id], "it has had its time");
    two.other.close().await;
}
