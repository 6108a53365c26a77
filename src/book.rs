//! The blocks of Rust in the README and the book, compiled and run as documentation tests. `tests/house/book.rs` sees to it that no page
//! is forgotten.

macro_rules! pages {
    ($($page:literal as $name:ident),+ $(,)?) => {
        $(#[doc = include_str!($page)] mod $name {})+
    };
}

pages! {
    "../README.md" as readme,
    "../docs/backends.md" as backends,
    "../docs/bootstrap.md" as bootstrap,
    "../docs/concepts.md" as concepts,
    "../docs/getting-started.md" as getting_started,
    "../docs/history.md" as history,
    "../docs/presence.md" as presence,
    "../docs/stores.md" as stores,
    "../docs/synchronization.md" as synchronization,
    "../docs/testing.md" as testing,
    "../docs/tickets.md" as tickets,
    "../docs/transports.md" as transports,
    "../docs/write-a-backend.md" as write_a_backend,
    "../docs/write-a-transport.md" as write_a_transport,
}
