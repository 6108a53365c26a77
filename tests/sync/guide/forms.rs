//! What the guide writes that a test does not run as it stands: fixed ports, and iroh with the public relays. It compiles as
//! written, and what it makes is what the other tests run.
#![allow(clippy::clone_on_copy)]

use eidetica::sync::Syncer;
use eidetica::{Id, Instance, Result, User};

#[allow(dead_code, reason = "compiled, and not run")]
async fn as_written(instance: Instance, tree_id: Id, user: User, database_id: Id) -> Result<()> {
    start_a_server(&instance).await?;
    let sync = instance.sync().unwrap();
    connect_and_sync(&sync, tree_id).await?;
    iroh(&sync).await?;
    multiple_transports(&sync).await?;
    let key_id = user.get_default_key()?;

    use eidetica::sync::Address;

    // Request database access through User API
    user.request_database_access(
        &sync,
        &Address::http("127.0.0.1:8080"),
        &database_id,
        &key_id, // User's key ID from user.add_private_key()
        eidetica::auth::Permission::Write,
    )
    .await?;
    Ok(())
}

async fn start_a_server(instance: &Instance) -> Result<()> {
    use eidetica::sync::transports::http::HttpTransport;

    let sync = instance.sync().unwrap();

    // Register transport with bind address and start accepting connections
    sync.register_transport("http", HttpTransport::builder().bind("127.0.0.1:8080")).await?;
    sync.accept_connections().await?;
    Ok(())
}

async fn connect_and_sync(sync: &Syncer, tree_id: Id) -> Result<()> {
    use eidetica::sync::Address;

    // Single API handles both bootstrap (new) and incremental (existing) sync
    sync.sync_with_peer(&Address::http("127.0.0.1:8080"), Some(&tree_id)).await?;
    Ok(())
}

async fn iroh(sync: &Syncer) -> Result<()> {
    use eidetica::sync::transports::iroh::IrohTransport;

    sync.register_transport("iroh", IrohTransport::builder()).await?;
    sync.accept_connections().await?;
    let my_address = sync.get_server_address_async().await?; // Share this with peers
    drop(my_address);
    Ok(())
}

async fn multiple_transports(sync: &Syncer) -> Result<()> {
    use eidetica::sync::transports::http::HttpTransport;
    use eidetica::sync::transports::iroh::IrohTransport;

    // Register both HTTP (for local network) and Iroh (for P2P)
    sync.register_transport("http", HttpTransport::builder().bind("127.0.0.1:0")).await?;
    sync.register_transport("iroh", IrohTransport::builder()).await?;

    // Start servers on all transports
    sync.accept_connections().await?;

    // Get all server addresses
    let addresses = sync.get_all_server_addresses_async().await?;
    for (transport_name, addr) in addresses {
        println!("{}: {}", transport_name, addr);
    }
    Ok(())
}

#[tokio::test]
async fn without_a_transport_the_error_names_the_call() -> Result<()> {
    use eidetica::sync::Address;

    let instance = Instance::open_url("memory:").await?;
    assert!(instance.sync().is_none());
    instance.enable_sync().await?;
    instance.enable_sync().await?;
    let sync = instance.sync().unwrap();
    for address in [Address::http("127.0.0.1:8080"), Address::iroh("endpoint")] {
        let outbound = sync.sync_with_peer(&address, None).await.unwrap_err();
        let inbound = sync.accept_connections().await.unwrap_err();
        for error in [outbound, inbound] {
            let text = error.to_string();
            assert!(text.contains("No transport enabled") && text.contains("register_transport()"), "{text}");
        }
    }
    instance.close().await
}
