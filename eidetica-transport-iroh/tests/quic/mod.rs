mod contract;
mod floods;
mod hostile_callers;
mod hostile_servers;
mod kit;
mod restarts;
mod stable;
mod stopping;
