//! Peers between which nothing but a relay lies: one of them speaks IPv4 alone, the other IPv6 alone, so that no packet can go
//! from one to the other directly.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use eidetica::auth::Permission;
use eidetica::backend::database::Memory;
use eidetica::crdt::Doc;
use eidetica::store::{DocStore, SettingsStore};
use eidetica::sync::transports::iroh::{IrohTransport, RelayMode};
use eidetica::sync::{Address, SyncPeerInfo, Syncer};
use eidetica::user::KeyId;
use eidetica::{Database, Instance, User};
use iroh_relay::server::{RelayConfig, Server, ServerConfig};
use iroh_tickets::endpoint::EndpointTicket;

/// The longest that anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

struct Device {
    instance: Instance,
    user: User,
    key: KeyId,
    sync: Syncer,
}

impl Device {
    async fn new(name: &str, bind: &str, relay: &str) -> Device {
        let instance = Instance::open(Box::new(Memory::new())).await.unwrap();
        instance.create_user(name, None).await.unwrap();
        instance.enable_sync().await.unwrap();
        let user = instance.login_user(name, None).await.unwrap();
        let (key, sync) = (user.get_default_key().unwrap(), instance.sync().unwrap());
        let iroh = IrohTransport::builder().relay_mode(RelayMode::Custom(vec![relay.to_owned()]));
        sync.register_transport("iroh", iroh.discovery(false).bind(bind)).await.unwrap();
        sync.accept_connections().await.unwrap();
        Device { instance, user, key, sync }
    }

    /// Where it is reached, once it has found its relay.
    async fn address(&self) -> Address {
        let began = Instant::now();
        loop {
            let address = self.sync.get_server_address_async().await.unwrap();
            let ticket: EndpointTicket = address.address.parse().unwrap();
            if ticket.endpoint_addr().relay_urls().next().is_some() {
                return address;
            }
            assert!(began.elapsed() < PATIENCE, "no relay was found");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn relay(at: SocketAddr) -> (Server, String) {
    let mut config = ServerConfig::default();
    config.relay = Some(RelayConfig::new(at));
    let server = Server::spawn(config).await.unwrap();
    let url = format!("http://{}", server.http_addr().unwrap());
    (server, url)
}

async fn shared(of: &mut Device, with: &KeyId) -> Database {
    let database = of.user.create_database(Doc::new(), &of.key).await.unwrap();
    let transaction = database.new_transaction().await.unwrap();
    let settings = transaction.get_store::<SettingsStore>("_settings").await.unwrap();
    settings.set_auth_key(with, Permission::Write, 0).await.unwrap();
    transaction.commit().await.unwrap();
    database
}

async fn set(database: &Database, key: &str, value: &str) {
    let transaction = database.new_transaction().await.unwrap();
    transaction.get_store::<DocStore>("notes").await.unwrap().set(key, value).await.unwrap();
    transaction.commit().await.unwrap();
}

async fn has(database: &Database, key: &str, value: &str) {
    let began = Instant::now();
    loop {
        let notes = database.get_store_viewer::<DocStore>("notes").await.unwrap();
        if notes.get_string(key).await.is_ok_and(|found| found == value) {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "{key} has not come");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_goes_by_the_relay_and_waits_for_it_to_come_back() {
    let (server, url) = relay((Ipv4Addr::LOCALHOST, 0).into()).await;
    let at = server.http_addr().unwrap();
    let mut anna = Device::new("anna", "127.0.0.1:0", &url).await;
    let ben = Device::new("ben", "[::1]:0", &url).await;

    // A history of which nothing compresses well: the relay has to carry at least as many bytes.
    let here = shared(&mut anna, &ben.key).await;
    for number in 0..200_u64 {
        let noise: String = (0..16).map(|part| blake(number * 16 + part)).collect();
        set(&here, &format!("key {number}"), &noise).await;
    }
    let address = anna.address().await;
    let before = server.metrics().server.bytes_sent.get();
    let refused =
        ben.user.request_database_access(&ben.sync, &address, here.root_id(), &ben.key, Permission::Write).await;
    refused.unwrap();
    ben.sync.sync_with_peer(&address, Some(here.root_id())).await.unwrap();
    let there = ben.user.open_database(here.root_id()).await.unwrap();
    assert_eq!(there.get_tips().await.unwrap(), here.get_tips().await.unwrap());
    let relayed = server.metrics().server.bytes_sent.get() - before;
    // 200 values of 256 random hexadecimal digits are 25 KB.
    assert!(relayed > 25_000, "{relayed} bytes went by the relay: the peers have found another way");

    // In the background, both ways.
    let info = SyncPeerInfo {
        peer_pubkey: anna.instance.device_id().to_string(),
        tree_id: here.root_id().clone(),
        addresses: vec![address],
        auth: None,
        display_name: None,
    };
    ben.sync.register_sync_peer(info).await.unwrap();
    set(&here, "of anna", "live").await;
    has(&there, "of anna", "live").await;
    set(&there, "of ben", "live").await;
    has(&here, "of ben", "live").await;

    // Without the relay nothing comes; when it is there again, all of it does by itself.
    server.shutdown().await.unwrap();
    set(&here, "meanwhile", "kept").await;
    set(&there, "meanwhile, too", "kept").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let notes = there.get_store_viewer::<DocStore>("notes").await.unwrap();
    assert!(notes.get_string("meanwhile").await.is_err(), "there is another way than the relay");
    let (server, _) = relay(at).await;
    has(&there, "meanwhile", "kept").await;
    has(&here, "meanwhile, too", "kept").await;

    anna.instance.close().await.unwrap();
    ben.instance.close().await.unwrap();
    server.shutdown().await.unwrap();
}

/// Sixteen hexadecimal digits that look random.
fn blake(number: u64) -> String {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0xd1b5_4a32_d192_ed03;
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{:016x}", state ^ (state >> 31))
}
