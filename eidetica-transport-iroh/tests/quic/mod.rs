mod contract;
mod floods;
mod hostile_callers;
mod hostile_servers;
mod kit;
#[path = "../../../eidetica-transport-http/tests/sockets/obedient.rs"]
mod obedient;
mod restarts;
mod stable;
mod stopping;
