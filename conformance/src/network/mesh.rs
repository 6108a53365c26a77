//! More than two nodes.

use super::{Ground, Node, let_in, rows, write};
use crate::case::case;
use crate::{Budget, Case, seed};
use eidetica::Database;
use proptest::prelude::Rng as _;

pub(super) const CASES: &[Case] = &[
    case!(Network, must "network.mesh.a-relay-brings-both-ways",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.", a_relay),
    case!(Network, must "network.mesh.all-with-all",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.", all_with_all),
    case!(Network, must "network.mesh.who-comes-late-gets-all",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.", who_comes_late),
    case!(Network, must "network.mesh.random-calls-converge",
        "Brings a database, or with `None` every one that both sides share, to the same state here and there: all of it at the first time, what is new later, in both directions.", random_calls),
];

/// So many nodes, with a database of the first that all may write; by hand, they have got nothing of it yet.
async fn nodes(ground: &Ground, count: usize, live: bool) -> (Vec<Node>, Database) {
    let mut nodes = Vec::new();
    for number in 0..count {
        nodes.push(ground.node(number).await);
    }
    let database = nodes[0].database(10).await;
    let keys: Vec<_> = nodes.iter().map(|node| node.key).collect();
    let_in(&database, &keys[1..]).await;
    for node in &mut nodes {
        node.track(database.root_id(), live).await;
    }
    (nodes, database)
}

async fn open(node: &Node, database: &Database) -> Database {
    node.user.open_database(database.root_id()).await.expect("it is there")
}

async fn call(from: &Node, to: &Node, database: &Database) {
    let address = to.address().await;
    from.sync.sync_with_peer(&address, Some(database.root_id())).await.expect("it syncs");
}

/// The first and the last never meet.
async fn a_relay(ground: Ground) {
    let (nodes, database) = nodes(&ground, 3, false).await;
    call(&nodes[1], &nodes[0], &database).await;
    call(&nodes[2], &nodes[1], &database).await;
    let last = open(&nodes[2], &database).await;
    ground.converged(&[&database, &last]).await;
    write(&last, "from the last", "x").await;
    write(&database, "from the first", "x").await;
    call(&nodes[1], &nodes[2], &database).await;
    call(&nodes[1], &nodes[0], &database).await;
    call(&nodes[2], &nodes[1], &database).await;
    ground.converged(&[&database, &last, &open(&nodes[1], &database).await]).await;
    assert_eq!(rows(&database).await.len(), 12);
}

async fn all_with_all(ground: Ground) {
    let (nodes, database) = nodes(&ground, 4, true).await;
    for node in &nodes[1..] {
        call(node, &nodes[0], &database).await;
    }
    let mut all = vec![database.clone()];
    for node in &nodes[1..] {
        all.push(open(node, &database).await);
    }
    for (number, one) in all.iter().enumerate() {
        for n in 0..5 {
            write(one, &format!("{number} {n}"), "x").await;
        }
    }
    // Each has others to call; what has come is told on.
    ground.converged(&all.iter().collect::<Vec<_>>()).await;
    assert_eq!(rows(&database).await.len(), 10 + 20);
}

async fn who_comes_late(ground: Ground) {
    let (nodes, database) = nodes(&ground, 3, false).await;
    call(&nodes[1], &nodes[0], &database).await;
    let other = open(&nodes[1], &database).await;
    for n in 0..30 {
        write(if n % 2 == 0 { &database } else { &other }, &format!("late {n}"), "x").await;
    }
    call(&nodes[1], &nodes[0], &database).await;
    // From one that has it all, though it is not where it was made.
    call(&nodes[2], &nodes[1], &database).await;
    ground.converged(&[&database, &other, &open(&nodes[2], &database).await]).await;
}

/// Whoever writes, and whoever calls whom: in the end all have the same.
async fn random_calls(ground: Ground) {
    let (nodes, database) = nodes(&ground, 4, false).await;
    for node in &nodes[1..] {
        call(node, &nodes[0], &database).await;
    }
    let mut all = vec![database.clone()];
    for node in &nodes[1..] {
        all.push(open(node, &database).await);
    }
    let mut random = seed::rng(ground.seed);
    let steps = if ground.budget == Budget::Quick { 60 } else { 1000 };
    let mut pick = |below: usize| random.next_u32() as usize % below;
    for step in 0..steps {
        let (one, other) = (pick(nodes.len()), pick(nodes.len()));
        match pick(3) {
            0 if one != other => call(&nodes[one], &nodes[other], &database).await,
            _ => write(&all[one], &format!("row {}", pick(20)), &format!("{step}")).await,
        }
    }
    // Twice around, so that everything has been everywhere.
    for _ in 0..2 {
        for number in 0..nodes.len() {
            call(&nodes[number], &nodes[(number + 1) % nodes.len()], &database).await;
        }
    }
    ground.converged(&all.iter().collect::<Vec<_>>()).await;
}
