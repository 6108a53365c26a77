//! Whatever an application begins with has an example in its documentation, which `cargo test` runs.

use super::root;

/// Where applications begin: the file, and what it defines.
const ENTRY_POINTS: [(&str, &str); 33] = [
    ("src/instance.rs", "Instance"),
    ("src/user/session.rs", "User"),
    ("src/user/invitations.rs", "Terms"),
    ("src/user/types.rs", "TrackedDatabase"),
    ("src/user/types.rs", "SyncSettings"),
    ("src/testing/mod.rs", "Testbed"),
    ("src/testing/peer.rs", "Peer"),
    ("eidetica-contract/src/registry.rs", "Registry"),
    ("eidetica-contract/src/error.rs", "Error"),
    ("eidetica-contract/src/backend.rs", "WriteBatch"),
    ("eidetica-core/src/engine.rs", "Engine"),
    ("eidetica-core/src/db/database.rs", "Database"),
    ("eidetica-core/src/db/transaction.rs", "Transaction"),
    ("eidetica-core/src/db/view.rs", "View"),
    ("eidetica-core/src/db/changes.rs", "Watch"),
    ("eidetica-core/src/db/changes.rs", "Cursor"),
    ("eidetica-core/src/doc.rs", "Doc"),
    ("eidetica-core/src/value.rs", "Value"),
    ("eidetica-core/src/store/doc/store.rs", "DocStore"),
    ("eidetica-core/src/store/table/store.rs", "Table"),
    ("eidetica-core/src/store/table/range.rs", "RowRange"),
    ("eidetica-core/src/store/settings.rs", "SettingsStore"),
    ("eidetica-core/src/store/cells/store.rs", "Cells"),
    ("eidetica-core/src/store/lattice.rs", "Lattice"),
    ("eidetica-core/src/memory.rs", "Memory"),
    ("eidetica-backend-sqlite/src/store.rs", "Sqlite"),
    ("eidetica-backend-redb/src/store.rs", "Redb"),
    ("eidetica-transport-http/src/builder.rs", "HttpTransportBuilder"),
    ("eidetica-transport-iroh/src/builder.rs", "IrohTransportBuilder"),
    ("eidetica-sync/src/node/syncer.rs", "Syncer"),
    ("eidetica-sync/src/node/handle.rs", "SyncHandle"),
    ("eidetica-sync/src/peers/info.rs", "SyncPeerInfo"),
    ("eidetica-sync/src/ticket.rs", "DatabaseTicket"),
];

/// The documentation directly above a type; `None` without the type.
fn documentation<'s>(source: &'s str, name: &str) -> Option<Vec<&'s str>> {
    let lines: Vec<&str> = source.lines().collect();
    let of_it = |line: &&str| {
        let after = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        after.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
    };
    let at = lines.iter().position(of_it)?;
    let above = lines[..at].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
    Some(above.copied().filter(|line| line.starts_with("///")).collect())
}

#[test]
fn every_entry_point_has_an_example() {
    for (file, name) in ENTRY_POINTS {
        let source = std::fs::read_to_string(root().join(file)).unwrap();
        let documentation = documentation(&source, name).unwrap_or_else(|| panic!("{name} is not in {file}"));
        let examples = documentation.iter().filter(|line| **line == "/// ```").count();
        assert!(examples >= 2, "{name} in {file} has no example that runs");
    }
    assert_eq!(documentation("/// ```\n#[derive(Debug)]\npub struct Names;\n", "Name"), None);
    assert_eq!(documentation("/// a\n\n/// b\npub struct Name<T>(T);\n", "Name"), Some(vec!["/// b"]));
}
