mod connections;
mod contract;
mod floods;
mod hostile_clients;
mod hostile_servers;
mod kit;
mod mounted;
mod obedient;
mod speed;
mod stopping;
#[cfg(feature = "tls")]
mod tls;
